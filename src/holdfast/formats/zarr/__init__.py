"""Zarr stores, versions 2 and 3: a directory that is one array, or a tree of them.

Owns the format; documents, codecs, chunks and the walk stand in the modules beside.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from holdfast.errors import NotFoundError, UnreadableError
from holdfast.formats.base import ArrayReader, Description, Format, OpenFile
from holdfast.formats.source import FileState, Source
from holdfast.formats.zarr.arrays import ZarrArray
from holdfast.formats.zarr.store import Store
from holdfast.formats.zarr.tree import DOCUMENTS, array_meta, describe, node_at
from holdfast.paths import parse_key

__all__ = ["ZARR", "ZarrFile", "ZarrFormat"]

_KEPT_ARRAYS = 256
_State = tuple[FileState | None, ...]


class ZarrFormat(Format):
    """A directory of chunks, recognised by its ``zarr.json``, ``.zgroup`` or ``.zarray``."""

    name = "zarr"
    media_types = ("application/x-zarr",)
    suffixes = (".zarr",)
    entries = ("zarr.json", ".zgroup", ".zarray")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the name of the file."""
        return source.path.name in self.entries

    def describe(self, source: Source) -> Description:
        """Return groups and arrays with their attributes.

        Raises
        ------
        UnreadableError
            The store's own document is damaged.
        """
        self._check(source)
        return Description(describe(Store(source)), self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the store."""
        with source.closed_on_failure():
            self._check(source)
            return ZarrFile(source)

    def _check(self, source: Source) -> None:
        """Refuse a file that only has the suffix: what lies beside it is not its content."""
        if source.path.name not in self.entries:
            raise UnreadableError(
                f"{source.name} is a file, and a Zarr store is a directory with {', '.join(self.entries)}; "
                "unpack it, or give it another suffix"
            )

    def layout_files(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the files that say what shape an array has."""
        key = str(parameters.get("dataset", ""))
        return tuple(f"{key}/{name}" if key else name for name in ("zarr.json", ".zarray"))


class ZarrFile(OpenFile):
    """An open store; what an array's document says is looked at anew when its file changed.

    Parameters
    ----------
    source : Source
        The file by which the directory was recognised; closed with the store.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._store = Store(source)
        self._arrays: OrderedDict[str, tuple[_State, ZarrArray]] = OrderedDict()
        self._lock = threading.Lock()

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the array under ``parameters["dataset"]``.

        Raises
        ------
        NotFoundError
            There is no such array.
        UnreadableError
            Its document is damaged, or says something that is not read.
        """
        name = str(parameters.get("dataset", ""))
        key = "/".join(parse_key(name, "dataset")) if name else ""
        state = tuple(self._store.state(f"{key}/{each}" if key else each) for each in DOCUMENTS)
        with self._lock:
            kept = self._arrays.get(key)
            if kept is None or kept[0] != state:
                kept = self._arrays[key] = (state, self._open(key))
                if len(self._arrays) > _KEPT_ARRAYS:
                    self._arrays.popitem(last=False)
            return kept[1]

    def _open(self, key: str) -> ZarrArray:
        node = node_at(self._store, key)
        if node is None or not node.is_array:
            raise NotFoundError(f"{self._store.name} has no array {key!r}")
        return ZarrArray(self._store, key, array_meta(self._store, key, node))

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        self._source.close()


ZARR = ZarrFormat()
