"""Own the schemas of the documents, as published with the original and corrected, and their validation.

>>> validate("analysis_header", {"uid": "a", "time": 1.0, "provenance": {}})
>>> SCHEMAS["analysis_tail"]["required"]
['uid', 'analysis_header', 'time', 'exit_status']

References
----------
analysisstore, ``analysisstore/schemas/*.json``. Corrected: ``exit_status`` is declared, ``seq_num`` is filled
by the server, further fields are welcome everywhere as the seed says, and bulk is a list of data references.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from holdfast.errors import InvalidInputError, TooLargeError
from holdfast.queries.values import check_json, is_plain
from holdfast.types import Json

__all__ = ["MAX_DOCUMENT_BYTES", "SCHEMAS", "check_content", "check_data", "check_size", "validate"]

MAX_DOCUMENT_BYTES = 16 << 20
"""The size of the largest document, as JSON text."""

_UID = {"type": "string", "pattern": "^[^/\\x00-\\x1f]{1,200}$"}
_TIME = {"type": "number"}
_DATA_KEY = {
    "type": "object",
    "properties": {
        "source": {"type": "string"},
        "dtype": {"type": "string", "enum": ["string", "number", "array", "boolean", "integer"]},
        "shape": {"type": "array", "items": {"type": ["integer", "null"]}},
        "external": {"type": "string", "pattern": "^[A-Z]+:?"},
    },
    "required": ["source", "dtype", "shape"],
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "analysis_header": {
        "type": "object",
        "properties": {
            "uid": _UID,
            "time": _TIME,
            "provenance": {"type": "object"},
            "config": {"type": "object"},
            "project": {"type": "string"},
            "sample": {"type": ["string", "object"]},
            "beamline_id": {"type": "string"},
            "scan_id": {"type": "integer"},
            "group": {"type": "string"},
            "owner": {"type": "string"},
        },
        "required": ["uid", "time", "provenance"],
    },
    "analysis_tail": {
        "type": "object",
        "properties": {
            "uid": _UID,
            "time": _TIME,
            "analysis_header": _UID,
            "exit_status": {"type": "string"},
            "reason": {"type": "string"},
            "analysis_status": {"type": "string", "enum": ["final", "raw"]},
        },
        "required": ["uid", "analysis_header", "time", "exit_status"],
    },
    "data_reference_header": {
        "type": "object",
        "properties": {
            "uid": _UID,
            "time": _TIME,
            "analysis_header": _UID,
            "data_keys": {"type": "object", "additionalProperties": _DATA_KEY},
        },
        "required": ["uid", "data_keys", "analysis_header", "time"],
    },
    "data_reference": {
        "type": "object",
        "properties": {
            "uid": _UID,
            "time": _TIME,
            "data_reference_header": _UID,
            "data": {"type": "object"},
            "timestamps": {"type": "object", "additionalProperties": {"type": "number"}},
            "seq_num": {"type": "integer"},
        },
        "required": ["uid", "data", "timestamps", "time", "data_reference_header"],
    },
}
SCHEMAS["bulk_data_reference"] = {"type": "array", "items": SCHEMAS["data_reference"]}

Check = Callable[[Json], str | None]
"""Tell what is wrong with a value, in words that go on after its name, or None."""

_INT_RANGE = (-(2**63), 2**64 - 1)

_TYPES: dict[str, Callable[[Json], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}
_EXACT: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def validate(name: str, document: Json) -> None:
    """Check a document by its schema.

    Parameters
    ----------
    name : str
        One of `SCHEMAS`.
    document : JSON
        The document.

    Raises
    ------
    InvalidInputError
        For the first fault; the message says where it is and what is wanted there.
    """
    fault = _CHECKS[name](document)
    if fault is not None:
        raise InvalidInputError(name + fault)


def _compiled(schema: dict[str, Any]) -> Check:
    closely = _compiled_closely(schema)
    if schema.keys() != {"type", "pattern"} or schema["type"] != "string":
        return closely
    fits = re.compile(schema["pattern"]).search
    return lambda value: None if type(value) is str and fits(value) else closely(value)


def _compiled_closely(schema: dict[str, Any]) -> Check:
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    exact = frozenset(each for name in types for each in _EXACT[name])
    further = [make(schema) for word, make in _WORDS.items() if word in schema]
    wanted = " or ".join(types)

    def check(value: Json) -> str | None:
        if type(value) not in exact and not any(_TYPES[name](value) for name in types):
            return f" must be of type {wanted}, not {value!r:.80}"
        for each in further:
            fault = each(value)
            if fault is not None:
                return fault
        return None

    return check


def _enum(schema: dict[str, Any]) -> Check:
    words, wanted = frozenset(schema["enum"]), ", ".join(schema["enum"])
    return lambda value: None if value in words else f" must be one of {wanted}, not {value!r:.80}"


def _pattern(schema: dict[str, Any]) -> Check:
    pattern = re.compile(schema["pattern"])

    def check(value: Json) -> str | None:
        if isinstance(value, str) and not pattern.search(value):
            return f" must match {schema['pattern']}, which {value!r:.80} does not"
        return None

    return check


def _required(schema: dict[str, Any]) -> Check:
    names = schema["required"]
    all_names = frozenset(names)

    def check(value: Json) -> str | None:
        if value.keys() >= all_names:
            return None
        for name in names:
            if name not in value:
                return f" lacks the field {name!r}"
        return None

    return check


def _properties(schema: dict[str, Any]) -> Check:
    checks = {name: _compiled(each) for name, each in schema["properties"].items()}
    plain = {name: _plain_types(each) for name, each in schema["properties"].items()}

    def is_right(value: Json) -> bool:
        """Tell fast that nothing is wrong: most values are of a type that says it all."""
        for name, item in value.items():
            types = plain.get(name)
            if types is not None and type(item) not in types and checks[name](item) is not None:
                return False
        return True

    def check(value: Json) -> str | None:
        if is_right(value):
            return None
        for name, each in checks.items():
            if name in value:
                fault = each(value[name])
                if fault is not None:
                    return f".{name}{fault}"
        return None

    return check


def _plain_types(schema: dict[str, Any]) -> frozenset[type]:
    """Return the types whose values are right whatever they are."""
    if schema.keys() != {"type"}:
        return frozenset()
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return frozenset(each for name in names for each in _EXACT[name])


def _additional(schema: dict[str, Any]) -> Check:
    each = _compiled(schema["additionalProperties"])
    return lambda value: _first_fault(each, value.items())


def _items(schema: dict[str, Any]) -> Check:
    each = _compiled(schema["items"])
    return lambda value: _first_fault(each, enumerate(value))


def _first_fault(check: Check, items: Iterable[tuple[object, Json]]) -> str | None:
    for name, item in items:
        fault = check(item)
        if fault is not None:
            return f".{name}{fault}"
    return None


_WORDS: dict[str, Callable[[dict[str, Any]], Check]] = {
    "enum": _enum,
    "pattern": _pattern,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
}
_CHECKS = {name: _compiled(schema) for name, schema in SCHEMAS.items()}


def check_content(name: str, document: dict[str, Json]) -> None:
    """Check that the values of a document can be kept and found again.

    Parameters
    ----------
    name : str
        What it is, for the message.
    document : dict
        The document.

    Raises
    ------
    InvalidInputError
        For NaN, an infinity, NUL, text that is not Unicode, a whole number outside -2**63 … 2**64-1.
    TooLargeError
        For a document that nests too deeply.
    """
    if is_plain(document):
        return
    check_json(document, name)
    waiting: list[Json] = [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, int) and not _INT_RANGE[0] <= each <= _INT_RANGE[1]:
            raise InvalidInputError(
                f"{name} holds the whole number {each}, outside -2**63 … 2**64-1; use text"
            )


def check_data(data: dict[str, Json], data_keys: dict[str, Any], where: object) -> None:
    """Check the data of a reference against what its header declares.

    Parameters
    ----------
    data : dict
        The values by key.
    data_keys : dict
        The declared keys; none declare nothing.
    where : object
        What is checked; its text goes into the message.

    Raises
    ------
    InvalidInputError
        For a key too many or too few, or a value of another type; null and links are welcome everywhere.
    """
    if not data_keys:
        return
    if data.keys() != data_keys.keys():
        unknown, missing = sorted(data.keys() - data_keys.keys()), sorted(data_keys.keys() - data.keys())
        raise InvalidInputError(
            f"{where}.data does not match the data_keys of its header: "
            f"{f'unknown {unknown} ' if unknown else ''}{f'missing {missing}' if missing else ''}".rstrip()
        )
    for key, value in data.items():
        declared = data_keys[key]
        is_free = value is None or "external" in declared or (isinstance(value, dict) and "uri" in value)
        if not is_free and not _TYPES[declared["dtype"]](value):
            raise InvalidInputError(
                f"{where}.data.{key} must be of type {declared['dtype']}, not {value!r:.80}"
            )


def check_size(name: object, size: int) -> None:
    """Check the size of a document's text in bytes; `TooLargeError` names the limit."""
    if size > MAX_DOCUMENT_BYTES:
        raise TooLargeError(
            f"{name} has {size} bytes, over the limit of {MAX_DOCUMENT_BYTES}; keep data in files"
        )
