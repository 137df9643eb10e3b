"""Own data that wait in memory while they are small and in a nameless file once they are not.

>>> incoming = SpooledIncoming()
>>> incoming.write(b"data")
>>> incoming.finish().size
4
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from holdfast import files
from holdfast.hashing import BlockDigests
from holdfast.store.changes import HeldContent
from holdfast.store.digesting import BlockHasher
from holdfast.store.value import FileReader, Value
from holdfast.types import Buffer

__all__ = ["HELD_BYTES", "SpooledContent", "SpooledIncoming"]

HELD_BYTES = 1 << 20
"""Up to this size data are held in memory."""


class SpooledContent:
    """Hold large new data in a nameless file.

    Parameters
    ----------
    file : binary file
        The data.
    digests : BlockDigests
        Their size and digests.
    """

    def __init__(self, file: BinaryIO, digests: BlockDigests) -> None:
        self._file, self.digests = file, digests
        self.size = digests.size_bytes

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the data in pieces of a size."""
        self._file.seek(0)
        while piece := self._file.read(size):
            yield piece

    def value(self, key: str, text: str, modified: float) -> Value:
        """Return what a store would give for a key with this data."""
        reader = FileReader(os.dup(self._file.fileno()))
        return Value(key, text, self.size, modified, None, True, self.digests.whole.raw, reader, self.digests)

    def discard(self) -> None:
        """Close the file, which has no name."""
        self._file.close()


class SpooledIncoming:
    """Receive new data in memory, and in a nameless file beyond `HELD_BYTES`.

    Parameters
    ----------
    directory : str, optional
        Where the file would lie; default the system's directory for temporary files.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._directory = directory
        self._held = bytearray()
        self._file: BinaryIO | None = None
        self._hasher: BlockHasher | None = None

    def write(self, piece: Buffer) -> None:
        """Take the next bytes.

        Raises
        ------
        StorageFullError, StorageError
            The disk is full or failing.
        """
        if self._file is None and len(self._held) + len(piece) <= HELD_BYTES:
            self._held += piece
            return
        with files.os_errors(self._directory or tempfile.gettempdir(), "write"):
            if self._file is None:
                self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=self._directory))  # noqa: SIM115
                self._hasher = BlockHasher()
                self._spool(bytes(self._held))
                self._held.clear()
            self._spool(piece)

    def _spool(self, piece: Buffer) -> None:
        assert self._file is not None
        assert self._hasher is not None
        self._hasher.update(piece)
        self._file.write(piece)

    def finish(self) -> HeldContent | SpooledContent:
        """Return the data, complete."""
        if self._file is None or self._hasher is None:
            return HeldContent(bytes(self._held))
        with files.os_errors(self._directory or tempfile.gettempdir(), "write"):
            self._file.flush()
        digests = self._hasher.digests()
        self._hasher.close()
        return SpooledContent(self._file, digests)

    def abort(self) -> None:
        """Leave no trace."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
        if self._hasher is not None:
            self._hasher.close()
