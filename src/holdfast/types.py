"""Own the plain types that several rooms share; no behaviour.

>>> from holdfast.types import DURABILITIES
>>> DURABILITIES
('sync', 'group', 'os')
"""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias, get_args

__all__ = [
    "DURABILITIES",
    "FAMILIES",
    "SCOPES",
    "Buffer",
    "Durability",
    "Family",
    "Json",
    "PathLike",
    "Scope",
    "VERSION",
]

VERSION = "0.1.0"
"""The release: what files that we write say of their origin, and ``holdfast.__version__``."""

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with str keys."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes."""

PathLike: TypeAlias = str | os.PathLike[str]
"""A path of the local file system."""

Durability: TypeAlias = Literal["sync", "group", "os"]
"""When a write returns: after fsync, with an fsync within 50 ms, or when the system has it."""

Family: TypeAlias = Literal["container", "array", "table", "sparse", "awkward", "ragged", "bytes"]
"""The structure family of a catalog node."""

Scope: TypeAlias = Literal["read", "write"]
"""What an API key allows; ``write`` includes ``read``."""

DURABILITIES: tuple[Durability, ...] = get_args(Durability)
FAMILIES: tuple[Family, ...] = get_args(Family)
SCOPES: tuple[Scope, ...] = get_args(Scope)
