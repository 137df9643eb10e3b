"""Own the sealed format: HDF5 files whose last data set holds the digests of all bytes before it.

Appended rows go to a log beside the file. ``docs/format/record.md`` draws every byte. Records are made of
such files, and the catalog reads them through `open_sealed`; neither knows what is inside.

>>> import tempfile
>>> path = tempfile.mkdtemp() + "/x.h5"
>>> _ = write(path, "x", prepare([1.5, 2.5]), "sync")
>>> open_sealed(path).read()
array([1.5, 2.5])
"""

from holdfast.formats.sealed.appends import Appends
from holdfast.formats.sealed.entry import (
    SUFFIX,
    change_token,
    is_log_name,
    is_sealed,
    log_path,
    open_prefix,
    open_sealed,
    try_open,
)
from holdfast.formats.sealed.fold import compact, values_of
from holdfast.formats.sealed.keys import key_bytes
from holdfast.formats.sealed.lazy import ArrayView
from holdfast.formats.sealed.publish import delete, locked_directory, present_log, sync_content, write
from holdfast.formats.sealed.rows import NewRows, as_rows
from holdfast.formats.sealed.sweeper import sweep_logs
from holdfast.formats.sealed.values import Values, prepare
from holdfast.formats.sealed.view import SealedView

__all__ = [
    "SUFFIX",
    "Appends",
    "ArrayView",
    "NewRows",
    "SealedView",
    "Values",
    "as_rows",
    "change_token",
    "compact",
    "delete",
    "is_log_name",
    "is_sealed",
    "key_bytes",
    "locked_directory",
    "log_path",
    "open_prefix",
    "open_sealed",
    "prepare",
    "present_log",
    "sweep_logs",
    "sync_content",
    "try_open",
    "values_of",
    "write",
]
