"""Own records: a directory as a dict of arrays, safe under any number of readers and writers.

>>> import tempfile
>>> import holdfast.records as cg
>>> record = cg.Record(tempfile.mkdtemp())
>>> record["file/path"] = [1.0, 2.0]
>>> record["file/path"]
array([1., 2.])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lazy import lazy_names

if TYPE_CHECKING:
    from holdfast.records.command import Command, require
    from holdfast.records.record import LocalRecord as Record  # the base cannot be instantiated
    from holdfast.records.serving import serve

__all__ = ["Command", "Record", "require", "serve"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Command": "holdfast.records.command",
        "Record": "holdfast.records.handle",
        "require": "holdfast.records.command",
        "serve": "holdfast.records.serving",
    },
)
