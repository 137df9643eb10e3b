"""Own new data that wait in a file: receiving them, hashed on the way, until they are published or discarded.

Where they wait and where they go is said by the directory of the store.

>>> import tempfile
>>> incoming = StagedIncoming(tempfile.mkdtemp() + "/1.data", "/absent", lambda descriptor: 0)
>>> incoming.write(b"data")
>>> incoming.finish().size
4
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.files.modes import copy_modes
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.store.digesting import BlockHasher
from holdfast.store.moving import BlockDigester, Steps, move
from holdfast.store.names import DATA
from holdfast.store.value import FileReader, Value
from holdfast.types import Buffer

__all__ = ["Staged", "StagedIncoming", "blocks_of", "give_up", "new_file", "write_all"]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Staged(msgspec.Struct):
    """Hold new data in a file that waits to be published.

    Parameters
    ----------
    path, name : str
        The file, and its name without suffix.
    size, time_ns : int
        Its size in bytes and its modification time.
    digest : bytes
        Its blake3 digest.
    blocks : bytes or None
        The blake3 digests of its blocks, where it has several.
    replaces : bool
        Whether there was a file in its place.
    """

    path: str
    name: str
    size: int
    time_ns: int
    digest: bytes
    blocks: bytes | None
    replaces: bool

    def value(self, key: str, text: str, modified: float) -> Value:
        """Return what a store would give for a key with this data."""
        reader = FileReader(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
        digests = BlockDigests(Digest("blake3", self.digest.hex()), self.size, self.blocks or self.digest)
        return Value(key, text, self.size, modified, None, True, self.digest, reader, digests)

    def discard(self) -> None:
        """Delete the file, unless it was published."""
        files.remove(self.path, missing_ok=True, durability="os")


class StagedIncoming:
    """Receive new data in a waiting file, hashed on the way.

    Parameters
    ----------
    path : str
        The file to be made.
    target : str
        The file that it will replace.
    settle : callable
        Takes the complete open file, makes it as durable as it must be, returns its time in nanoseconds.
    """

    __slots__ = ("_allocated", "_descriptor", "_hasher", "_path", "_settle", "_taken", "_target")

    def __init__(self, path: str, target: str, settle: Callable[[int], int]) -> None:
        self._path, self._target, self._settle = path, target, settle
        self._hasher = BlockHasher()
        self._taken: BlockDigests | None = None
        self._allocated = 0
        self._descriptor = -1
        self._descriptor = new_file(path)

    def allocate(self, size: int) -> None:
        """Reserve space, so that a full disk shows at once.

        Raises
        ------
        StorageFullError
            There is not that much left; nothing stays behind.
        """
        try:
            files.reserve(self._descriptor, size)
        except OSError:
            self.abort()
            with files.os_errors(self._target, "write"):
                raise
        self._allocated = size

    def write(self, piece: Buffer) -> None:
        """Take the next bytes.

        Raises
        ------
        StorageFullError, StorageError
            The disk is full or failing.
        """
        self._hasher.update(piece)
        try:
            write_all(self._descriptor, piece)
        except OSError:
            with files.os_errors(self._target, "write"):
                raise

    def take(self, descriptor: int, buffer_size: int, progress: Callable[[int], object]) -> None:
        """Take all of a file from its position on, instead of `write`.

        Parameters
        ----------
        descriptor : int
            The file.
        buffer_size : int
            Bytes between two calls of `progress`.
        progress : callable
            Takes the bytes so far.

        Raises
        ------
        StorageFullError, StorageError
            The disk is full or failing.
        """

        def read(view: memoryview, offset: int) -> int:
            """Fill the view: a system may give less at a time."""
            done = 0
            while done < len(view) and (count := os.readv(descriptor, [view[done:]])):
                done += count
            return done

        def write(piece: memoryview) -> None:
            """Write all, or tell why not."""
            with files.os_errors(self._target, "write"):
                write_all(self._descriptor, piece)

        digester = BlockDigester()
        move(read, write, digester, Steps(buffer_size, progress))
        self._taken = digester.digests()

    def finish(self) -> Staged:
        """Return the data, complete and as durable as the directory asks."""
        try:
            digests = self._taken or self._hasher.digests()
            if self._allocated > digests.size_bytes:
                os.ftruncate(self._descriptor, digests.size_bytes)
            replaces = copy_modes(self._target, self._descriptor)
            time_ns = self._settle(self._descriptor)
        except OSError:
            with files.os_errors(self._target, "write"):
                raise
        self._close()
        name = os.path.basename(self._path).removesuffix(DATA)
        return Staged(
            self._path, name, digests.size_bytes, time_ns, digests.whole.raw, blocks_of(digests), replaces
        )

    def abort(self) -> None:
        """Delete the file."""
        self._close()
        files.remove(self._path, missing_ok=True, durability="os")

    def _close(self) -> None:
        self._hasher.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self._close()


def blocks_of(digests: BlockDigests) -> bytes | None:
    """Return the list of block digests as it is recorded: none for data of one block."""
    return digests.blocks if digests.size_bytes > BLOCK_BYTES else None


def new_file(path: str) -> int:
    """Make a file that must not exist yet, open for reading and writing."""
    try:
        return os.open(path, _FLAGS, 0o666)
    except OSError:
        with files.os_errors(path, "write"):
            raise


def give_up(path: str, error: BaseException) -> None:
    """Delete a new file that could not be completed, and raise the system's error as ours."""
    files.remove(path, missing_ok=True, durability="os")
    if isinstance(error, OSError) and not isinstance(error, HoldfastError):
        with files.os_errors(path, "write"):
            raise error


def write_all(descriptor: int, piece: Buffer) -> int:
    """Write bytes to a file and return how many they were."""
    total = len(piece)
    done = os.write(descriptor, piece)
    while done < total:
        done += os.write(descriptor, memoryview(piece)[done:])
    return total
