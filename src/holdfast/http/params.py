"""Own the reading of address parameters into structs, with messages that name the parameter.

It does not percent-decode: it takes decoded pairs.

>>> import msgspec
>>> from holdfast.http.params import decode_params
>>> class Page(msgspec.Struct):
...     limit: int = msgspec.field(default=100, name="page[limit]")
>>> decode_params([("page[limit]", "5")], Page)
Page(limit=5)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from holdfast.errors import InvalidInputError

__all__ = ["ALWAYS_KNOWN", "ParamPlan", "decode_params", "plan_of"]

T = TypeVar("T")

ALWAYS_KNOWN = frozenset({"api_key"})
"""Parameters that every route takes: the edge reads them."""


@dataclass(frozen=True, slots=True)
class ParamPlan:
    """Know the parameters of a struct: their names, and which may be repeated."""

    names: tuple[str, ...]
    repeated: frozenset[str]


@lru_cache(maxsize=256)
def plan_of(kind: type) -> ParamPlan:
    """Return the parameters that a struct describes.

    Parameters
    ----------
    kind : type
        A `msgspec.Struct`.

    Returns
    -------
    ParamPlan
        The plan.
    """
    fields = msgspec.structs.fields(kind)
    repeated = frozenset(
        field.encode_name for field in fields if _is_list(msgspec.inspect.type_info(field.type))
    )
    return ParamPlan(tuple(field.encode_name for field in fields), repeated)


def _is_list(info: Any) -> bool:
    if isinstance(info, msgspec.inspect.Metadata):
        return _is_list(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return any(_is_list(each) for each in info.types)
    return isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType)


def decode_params(pairs: Iterable[tuple[str, str]], kind: type[T], besides: tuple[str, ...] = ()) -> T:
    """Read decoded pairs into a struct.

    Parameters
    ----------
    pairs : iterable of (str, str)
        The parameters of an address.
    kind : type
        A `msgspec.Struct`.
    besides : tuple of str, optional
        Beginnings of names that are passed over.

    Returns
    -------
    msgspec.Struct
        The values; of a single parameter that is repeated the last counts.

    Raises
    ------
    InvalidInputError
        For an unknown parameter or a value of the wrong type; it is named.
    """
    plan = plan_of(kind)  # type: ignore[arg-type]  # every class is hashable
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in plan.repeated:
            values.setdefault(name, []).append(value)
        elif name in plan.names:
            values[name] = value
        elif name not in ALWAYS_KNOWN and not name.startswith(besides or ("\x00",)):
            raise InvalidInputError(
                f"unknown parameter {name[:80]!r}; this address takes {', '.join(plan.names) or 'none'}",
                parameter=name[:80],
            )
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"malformed parameter: {error}") from error
