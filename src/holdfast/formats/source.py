"""Sources: a file that is read, with every byte checked where its digests are known.

Owns positioned reads of one file; knows no format.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt"); _ = path.write_bytes(b"hello")
>>> with Source(path) as source:
...     source.size, bytes(source.read(1, 3)), source.is_verified
(5, b'ell', False)
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from holdfast.errors import (
    ChangedError,
    ForbiddenError,
    HoldfastError,
    InvalidInputError,
    MissingFileError,
    StorageError,
    UnreadableError,
)
from holdfast.hashing import BLOCK_BYTES, BlockDigests
from holdfast.types import PathLike

__all__ = ["HEAD_BYTES", "Extent", "FileState", "FindDigests", "Source", "SourceStream"]

HEAD_BYTES = 4096
"""How much of a file's start is looked at to recognise its format."""

_PIECE_BYTES = 1 << 20
_KEPT_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one content of a file from another without reading it.

    Parameters
    ----------
    size : int
        Size in bytes.
    mtime_ns, ctime_ns : int
        Times of the last change of content and of the file's record, ns since the epoch.
    inode : int
        Number of the file in its file system.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Take what `os.stat` answers."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of one file that are an array in C order.

    Parameters
    ----------
    path : Path
        The file.
    offset, size : int
        Where the bytes start and how many they are.
    """

    path: Path
    offset: int
    size: int


FindDigests = Callable[[Path], BlockDigests | None]
"""What answers with the recorded digests of a path, None where it has none."""


class Source:
    """One file, open for positioned reads; safe across threads.

    Parameters
    ----------
    path : path-like
        The file.
    roots : sequence of path-like
        Directories that files named inside this one (links, external storage, virtual data sets) may
        lie in; the file's own directory when empty.
    digests : BlockDigests, optional
        Digests that every byte read is checked against.
    find_digests : callable, optional
        Answers with the digests of a path, or None; asked for this file when `digests` is not given, and
        for the files named inside it.
    name : str
        What errors call the file; its path when empty.

    Raises
    ------
    MissingFileError
        There is no such file.
    UnreadableError
        It is no regular file.
    ForbiddenError
        It may not be read.
    ChangedError
        Its size is not that of the digests.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        roots: Sequence[PathLike] = (),
        digests: BlockDigests | None = None,
        find_digests: FindDigests | None = None,
        name: str = "",
    ) -> None:
        self.path = Path(path)
        self.name = name or str(path)
        self._find_digests = find_digests
        if digests is None and find_digests is not None:
            digests = find_digests(self.path)
        self.roots = tuple(Path(root) for root in roots) or (self.path.parent,)
        self.digests = digests
        self.fd = _open(self.path, self.name)
        self.state = FileState.of(os.fstat(self.fd))
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        if digests is not None and digests.size_bytes != self.state.size:
            self.close()
            raise ChangedError(
                f"{self.name} has {self.state.size} bytes, recorded were {digests.size_bytes}; index it again"
            )

    @property
    def size(self) -> int:
        """Size in bytes when the file was opened."""
        return self.state.size

    @property
    def is_verified(self) -> bool:
        """Whether every byte read is checked against a digest."""
        return self.digests is not None

    @property
    def is_closed(self) -> bool:
        """Whether the descriptor was given back."""
        return self.fd < 0

    def head(self) -> bytes:
        """Return the first bytes of the file."""
        return bytes(self.read(0, min(self.size, HEAD_BYTES)))

    def read(self, offset: int = 0, size: int | None = None) -> memoryview:
        """Return `size` bytes from `offset` on; all that are left when `size` is None.

        Raises
        ------
        ChangedError
            The file has become shorter.
        HashError
            The bytes are not those that were recorded.
        StorageError
            The disk failed.
        """
        buffer = np.empty(self.size - offset if size is None else size, np.uint8)
        self.read_into(buffer.data, offset)
        return buffer.data

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill a writable buffer with the bytes from `offset` on.

        Raises
        ------
        ChangedError, HashError, StorageError
            As `read`.
        """
        target = target.cast("B")
        if self.digests is None:
            self._pread(target, offset)
            return
        for start, stop in _runs(offset, len(target)):
            view = target[start - offset : stop - offset]
            if start % BLOCK_BYTES == 0 and (stop % BLOCK_BYTES == 0 or stop == self.size):
                self._read_blocks(view, start, self.digests)
            else:
                at = start % BLOCK_BYTES
                view[:] = self._block(start // BLOCK_BYTES, self.digests)[at : at + len(view)]

    def pieces(self, size: int = _PIECE_BYTES) -> Iterator[memoryview]:
        """Read the whole file in pieces of `size` bytes."""
        for offset in range(0, self.size, size):
            yield self.read(offset, min(size, self.size - offset))

    def _read_blocks(self, view: memoryview, offset: int, digests: BlockDigests) -> None:
        """Read whole blocks straight into place and check each while it is in the cache."""
        for start in range(0, len(view), _PIECE_BYTES):
            piece = view[start : start + _PIECE_BYTES]
            self._pread(piece, offset + start)
            for at in range(0, len(piece), BLOCK_BYTES):
                number = (offset + start + at) // BLOCK_BYTES
                digests.check(number, piece[at : at + BLOCK_BYTES], self.name)

    def _block(self, number: int, digests: BlockDigests) -> bytes:
        """Return one checked block; the last few are kept, since small reads come in runs."""
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
        start = number * BLOCK_BYTES
        data = bytearray(max(min(BLOCK_BYTES, self.size - start), 0))
        self._pread(memoryview(data), start)
        digests.check(number, data, self.name)
        block = bytes(data)
        with self._lock:
            self._blocks[number] = block
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return block

    def _pread(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self.fd, [view[done:]], offset + done)
            except OSError as error:
                raise StorageError(f"reading {self.name} failed: {error.strerror}") from error
            if not count:
                raise ChangedError(f"{self.name} ends at byte {offset + done}, before the data read from it")
            done += count

    def related(self, path: Path, name: str = "") -> Source:
        """Open a file that this one names, under the same rules."""
        return Source(path, roots=self.roots, find_digests=self._find_digests, name=name or path.name)

    def require(self, path: Path) -> None:
        """Refuse that a file is absent which is on record; one that never was may be.

        Raises
        ------
        MissingFileError
            It was there.
        """
        if self._find_digests is not None:
            self._find_digests(path)

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Close the source if the block raises: what opens a file with it owns it either way."""
        with ExitStack() as stack:
            stack.callback(self.close)
            yield
            stack.pop_all()

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        with self._lock:
            fd, self.fd = self.fd, -1
            self._blocks.clear()
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path, name: str) -> int:
    """Open without waiting for a pipe's other end, and refuse what is no file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingFileError(f"{name} is not there") from error
    except PermissionError as error:
        raise ForbiddenError(f"{name} may not be read by this user") from error
    except OSError as error:
        kind = UnreadableError if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV) else StorageError
        raise kind(f"{name} cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"{os.fspath(path)!r} is no path") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnreadableError(f"{name} is no regular file")
    return fd


def _runs(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut a range into the part before the first block boundary, whole blocks, and the rest."""
    stop = offset + size
    first = min(-(-offset // BLOCK_BYTES) * BLOCK_BYTES, stop)
    last = max(stop // BLOCK_BYTES * BLOCK_BYTES, first)
    for low, high in ((offset, first), (first, last), (last, stop)):
        if low < high:
            yield low, high


class SourceStream(io.RawIOBase):
    """A source as a raw binary file object, for libraries that read through one.

    An error raised inside such a library may be lost on the way; it stays in `failure`.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._at = 0
        self.failure: HoldfastError | None = None

    def readable(self) -> bool:
        """Answer yes."""
        return True

    def seekable(self) -> bool:
        """Answer yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on; return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        view = view[: max(min(len(view), self._source.size - self._at), 0)]
        try:
            self._source.read_into(view, self._at)
        except HoldfastError as error:
            self.failure = error
            raise
        self._at += len(view)
        return len(view)
