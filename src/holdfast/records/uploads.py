"""Own what arrives at a server: a body is kept aside, unnamed, and becomes an entry when it is complete.

It does not decide who may write. A body that breaks off leaves nothing.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import InvalidInputError, InvalidTypeError
from holdfast.files import os_errors
from holdfast.formats.sealed import SUFFIX, Values
from holdfast.http.receive import Received
from holdfast.http.reply import Reply, empty_reply, json_reply
from holdfast.http.request import Request
from holdfast.records import wire
from holdfast.records.answers import JSON, NPY
from holdfast.records.record import LocalRecord
from holdfast.records.values import Content, FileCopy, as_content

__all__ = ["EntryUpload"]

_NPY_MAGIC, _HDF5_MAGIC = b"\x93NUMPY", b"\x89HDF\r\n\x1a\n"


class EntryUpload:
    """Receive one body and do with it what was asked.

    Parameters
    ----------
    record : LocalRecord
        What is written to.
    parts : tuple of str
        The entry.
    request : Request
        Its ``Content-Type`` says what the body is.
    action : {"put", "append", "extend", "compact", "adopt"}
        What to do.
    """

    def __init__(self, record: LocalRecord, parts: tuple[str, ...], request: Request, action: str) -> None:
        self._record, self._parts, self._action = record, parts, action
        self._key = "/".join(parts)
        self._media_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        self._token = request.idempotency_key
        self._file = self._unnamed()
        self._spilled: list[Any] = []

    def _unnamed(self) -> Any:
        """Return a file without a name, where the entry will be if that is there."""
        directory = str(self._record.path)
        return tempfile.TemporaryFile(dir=directory if os.path.isdir(directory) else None)  # closed by _close

    def write(self, block: memoryview) -> None:
        """Keep a part of the body."""
        with os_errors(self._key, "receive"):
            self._file.write(block)

    def finish(self, received: Received) -> Reply:
        """Do what was asked with the complete body."""
        try:
            self._file.flush()
            return self._done(received.size_bytes)
        finally:
            self._close()

    def abort(self, error: BaseException) -> None:
        """Forget the body."""
        self._close()

    def _close(self) -> None:
        for file in (self._file, *self._spilled):
            file.close()

    def _done(self, size: int) -> Reply:
        if self._action == "compact":
            self._record.compact(self._key or None)
            return empty_reply()
        if self._action == "adopt":
            self._record.adopt(self._key)
            return empty_reply()
        content = self._content(size)
        if self._action == "put":
            self._record.put_content(self._parts, content)
            return empty_reply()
        row = self._record.grow_content(self._parts, content, self._token, is_item=self._action == "append")
        return json_reply({"row": row})

    def _content(self, size: int) -> Content:
        if self._media_type == wire.MEDIA_TYPE:
            leaves = wire.parse(self._mapped(size))
            return wire.as_tree([(key, self._unwrapped(leaf)) for key, leaf in leaves])
        if self._media_type == NPY:
            return as_content(self._npy(size))
        if self._media_type == JSON and not self._has_suffix():
            return as_content(self._json(size))
        if not self._has_suffix() and self._starts_with(_NPY_MAGIC):
            return as_content(self._npy(size))
        if self._has_suffix() or self._action == "put":
            is_hdf5 = not self._has_suffix() and self._starts_with(_HDF5_MAGIC)
            name = self._parts[-1] + (SUFFIX if is_hdf5 else "")
            return FileCopy(f"/proc/self/fd/{self._file.fileno()}", name)
        raise InvalidTypeError(f"a body of type {self._media_type!r} holds no rows; send {NPY} or {JSON}")

    def _starts_with(self, magic: bytes) -> bool:
        """Tell what a body of no known type is: ``curl -T`` names none."""
        return os.pread(self._file.fileno(), len(magic), 0) == magic

    def _has_suffix(self) -> bool:
        return (
            bool(Path(self._parts[-1]).suffix)
            and self._action == "put"
            and self._media_type != wire.MEDIA_TYPE
        )

    def _mapped(self, size: int) -> memoryview:
        if not size:
            return memoryview(b"")
        mapped = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
        return memoryview(mapped)

    def _unwrapped(self, leaf: tuple[Content, str]) -> Content:
        content, name = leaf
        if not (isinstance(content, Values) and content.give == "file"):
            return content
        spilled = self._unnamed()
        self._spilled.append(spilled)
        assert content.array is not None
        spilled.write(content.array.data)
        spilled.flush()
        return FileCopy(f"/proc/self/fd/{spilled.fileno()}", name)

    def _npy(self, size: int) -> np.ndarray[Any, Any]:
        self._file.seek(0)
        try:
            return np.load(self._file, allow_pickle=False)  # type: ignore[no-any-return]  # numpy says Any
        except (ValueError, EOFError, OSError) as error:
            raise InvalidInputError(
                f"the body of {size} bytes is not npy ({error}); send what numpy.save writes"
            ) from error

    def _json(self, size: int) -> Any:
        self._file.seek(0)
        try:
            return json.loads(self._file.read())
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"the body of {size} bytes is not JSON ({error}); send a number, text or lists"
            ) from error
