"""Own records: a directory as a dict of arrays, safe under any number of readers and writers.

>>> import tempfile
>>> import holdfast.records as cg
>>> record = cg.Record(tempfile.mkdtemp())
>>> record["file/path"] = [1.0, 2.0]
>>> record["file/path"]
array([1., 2.])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.records.command import Command, require
    from holdfast.records.record import LocalRecord as Record  # the base cannot be instantiated
    from holdfast.records.serving import serve

__all__ = ["Command", "Record", "require", "serve"]

_HOMES = {
    "Command": "holdfast.records.command",
    "Record": "holdfast.records.handle",
    "require": "holdfast.records.command",
    "serve": "holdfast.records.serving",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.records' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
