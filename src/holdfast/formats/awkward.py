"""Awkward arrays: nested lists and records of uneven length, as a form and flat buffers.

Owns the structure, which buffers a form needs, and the contract of readers; needs no library.

>>> lists_of("float64")["class"], [buffer.key for buffer in buffers_of(lists_of("float64"))]
('ListOffsetArray', ['node0-offsets', 'node1-data'])

References
----------
Awkward Array 2, "How to convert to/from generic buffers": ``ak.to_buffers``, ``ak.from_buffers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import InvalidInputError, MissingDependencyError, TooLargeError, UnreadableError

__all__ = ["AwkwardReader", "AwkwardStructure", "Buffer", "assembled", "buffers_of", "lists_of", "too_large"]

Form = Mapping[str, Any]

_MAX_DEPTH = 64
_MAX_NODES = 10_000
_INDEXES = {"i8": "i1", "u8": "u1", "i32": "<i4", "u32": "<u4", "i64": "<i8"}
# The attributes of each class of form that are buffers of integers, with the member that names their type.
_INTEGERS: dict[str, dict[str, str]] = {
    "ListOffsetArray": {"offsets": "offsets"},
    "ListArray": {"starts": "starts", "stops": "stops"},
    "IndexedArray": {"index": "index"},
    "IndexedOptionArray": {"index": "index"},
    "ByteMaskedArray": {"mask": "mask"},
    "BitMaskedArray": {"mask": "mask"},
    "UnionArray": {"tags": "tags", "index": "index"},
}
_WITHOUT_BUFFERS = frozenset({"RecordArray", "RegularArray", "UnmaskedArray", "EmptyArray"})


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer that a form needs: its name, and the type of its elements."""

    key: str
    dtype: np.dtype

    @property
    def form_key(self) -> str:
        """The key of the node of the form that it belongs to."""
        return self.key.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class AwkwardStructure:
    """Length and form of an awkward array.

    Parameters
    ----------
    length : int
        Number of outermost items.
    form : mapping
        How it is nested, as Awkward Array writes a form in JSON.
    """

    length: int
    form: Form

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        return {"length": self.length, "form": dict(self.form)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AwkwardStructure:
        """Read the wire form.

        Raises
        ------
        InvalidInputError
            No length, or a form that is none.
        """
        length, form = value.get("length"), value.get("form")
        if type(length) is not int or length < 0 or not isinstance(form, Mapping):
            raise InvalidInputError("an awkward array has a length and a form")
        buffers_of(form)
        return cls(length, form)


class AwkwardReader(ABC):
    """One awkward array of an open file; safe across threads.

    Attributes
    ----------
    structure : AwkwardStructure
        Length and form.
    is_verified : bool
        Whether what is read is checked against digests.
    """

    structure: AwkwardStructure
    is_verified: bool = False

    @abstractmethod
    def buffer(self, buffer: Buffer, most_bytes: int) -> np.ndarray:
        """Return one buffer in the type that the form says.

        Raises
        ------
        TooLargeError
            It has more than `most_bytes`.
        UnreadableError
            It is not there, or of another type.
        """

    def buffers(
        self, form_keys: Collection[str] | None = None, most_bytes: int = 300_000_000
    ) -> dict[str, np.ndarray]:
        """Return buffers by their names.

        Parameters
        ----------
        form_keys : collection of str, optional
            Those of these nodes of the form; all when None.
        most_bytes : int
            The most that is returned.

        Raises
        ------
        TooLargeError
            They are larger together.
        """
        found: dict[str, np.ndarray] = {}
        left = most_bytes
        for each in buffers_of(self.structure.form):
            if form_keys is None or each.form_key in form_keys or each.key in form_keys:
                found[each.key] = self.buffer(each, left)
                left -= found[each.key].nbytes
                if left < 0:
                    raise too_large(most_bytes)
        return found


def too_large(most_bytes: int) -> TooLargeError:
    """Return the error of an answer that would be too large."""
    return TooLargeError(f"these buffers have more than {most_bytes} bytes; ask for some of the fields")


def assembled(structure: AwkwardStructure, buffers: Mapping[str, Any]) -> Any:
    """Return the ``awkward.Array`` that buffers make up.

    Parameters
    ----------
    structure : AwkwardStructure
        Length and form.
    buffers : mapping of str to ndarray or bytes
        By their names; those of all nodes of the form.

    Raises
    ------
    MissingDependencyError
        Awkward Array is not installed.
    UnreadableError
        They do not fit the form.
    """
    try:
        import awkward
    except ImportError as error:
        raise MissingDependencyError(
            "awkward arrays need Awkward Array: pip install 'holdfast[awkward]'"
        ) from error
    try:
        array = awkward.from_buffers(dict(structure.form), structure.length, dict(buffers))
        problem = awkward.validity_error(array)
    except (ValueError, TypeError, IndexError, KeyError, RecursionError) as error:
        problem = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
    if problem:
        raise UnreadableError(f"these buffers make up no awkward array: {str(problem)[:200]}")
    return array


def lists_of(primitive: str) -> dict[str, Any]:
    """Return the form of lists of numbers."""
    content = {"class": "NumpyArray", "primitive": primitive, "inner_shape": [], "parameters": {}}
    return {
        "class": "ListOffsetArray",
        "offsets": "i64",
        "content": {**content, "form_key": "node1"},
        "parameters": {},
        "form_key": "node0",
    }


def buffers_of(form: Form) -> list[Buffer]:
    """Return the buffers that a form needs.

    Raises
    ------
    InvalidInputError
        It is no form, nested too deep, or a node of it has no key.
    """
    found: list[Buffer] = []
    for number, node in enumerate(_nodes(form, 0)):
        if number >= _MAX_NODES:
            raise InvalidInputError(f"a form has at most {_MAX_NODES} nodes")
        found.extend(_own_buffers(node))
    return found


def _nodes(form: Any, depth: int) -> Iterator[Form]:
    if depth > _MAX_DEPTH:
        raise InvalidInputError(f"a form is nested at most {_MAX_DEPTH} deep")
    if not isinstance(form, Mapping) or not isinstance(form.get("class"), str):
        raise InvalidInputError(f"{str(form)[:80]!r} is no form of an awkward array")
    yield form
    below = form.get("contents", form.get("content"))
    for each in below if isinstance(below, list) else [] if below is None else [below]:
        yield from _nodes(each, depth + 1)


def _own_buffers(node: Form) -> Iterator[Buffer]:
    kind, key = node["class"], node.get("form_key")
    if kind in _WITHOUT_BUFFERS:
        return
    if not isinstance(key, str) or "/" in key or "\0" in key or not 0 < len(key) <= 255:
        raise InvalidInputError(f"a node of class {kind[:40]!r} has no form_key that can name a buffer")
    if kind == "NumpyArray":
        yield Buffer(f"{key}-data", _primitive(node.get("primitive")))
        return
    if kind not in _INTEGERS:
        raise InvalidInputError(f"forms of class {kind[:40]!r} are not read")
    for attribute, member in _INTEGERS[kind].items():
        yield Buffer(f"{key}-{attribute}", _index(node.get(member)))


def _primitive(name: Any) -> np.dtype:
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in "biufcmM":
        raise InvalidInputError(f"{str(name)[:40]!r} is no type of numbers in an awkward array")
    return dtype.newbyteorder("<")


def _index(name: Any) -> np.dtype:
    if not isinstance(name, str) or name not in _INDEXES:
        raise InvalidInputError(f"{str(name)[:40]!r} is no type of the indexes of an awkward array")
    return np.dtype(_INDEXES[name])
