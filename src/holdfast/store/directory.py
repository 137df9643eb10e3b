"""Own the files of a store directory: receiving, publishing, deleting, and what a crash left behind.

Which file is which, and what was decided, is said by the index; here names are only moved. New files wait in
``.holdfast/staging`` under names that say whose they are: ``HOST.PROCESS.NUMBER``.

>>> import tempfile
>>> directory = StoreDirectory(tempfile.mkdtemp(), "os")
>>> directory.prepare()
>>> directory.hold(b"data", "k").size
4
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3

from holdfast import files
from holdfast.errors import ForbiddenError, HoldfastError, UnreadableError
from holdfast.files.modes import copy_modes
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.paths import resolve_below
from holdfast.store.copying import BlockHasher, copy_inside
from holdfast.store.names import DATA, ESCAPED, METADATA, literal_name, name_of
from holdfast.store.value import FileReader, Value
from holdfast.types import Buffer, Durability

__all__ = [
    "HIDDEN",
    "OPEN_TO_READ",
    "Look",
    "Staged",
    "StagedIncoming",
    "StoreDirectory",
    "blocks_of",
    "new_name",
]

HIDDEN = ".holdfast"
"""The directory, inside the store, of everything that encore does not know."""

_numbers = itertools.count()
OPEN_TO_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
"""How the files of a key are opened first; a symbolic link is looked at more closely."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
LOCK_TIMEOUT_S = 60.0
_ALLOCATE_FROM = 1 << 20


class Look(NamedTuple):
    """Say what the files of a key are now: sizes in bytes, times in nanoseconds, -1 for what is not there."""

    size: int
    data_time: int
    text_size: int
    text_time: int


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
    directory : StoreDirectory
        The store's.
    path : str
        The file to be made.
    target : str
        The file that it will replace.
    """

    __slots__ = ("_allocated", "_descriptor", "_directory", "_hasher", "_path", "_target")

    def __init__(self, directory: StoreDirectory, path: str, target: str) -> None:
        self._directory, self._path, self._target = directory, path, target
        self._hasher = BlockHasher()
        self._allocated = 0
        self._descriptor = -1
        self._descriptor = _new_file(path)

    def allocate(self, size: int) -> None:
        """Reserve space, so that a full disk shows at once.

        Raises
        ------
        StorageFullError
            There is not that much left; nothing stays behind.
        """
        try:
            os.posix_fallocate(self._descriptor, 0, size)
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
            _write(self._descriptor, piece)
        except OSError:
            with files.os_errors(self._target, "write"):
                raise

    def take(self, descriptor: int, buffer_size: int, progress: Callable[[int], object]) -> int:
        """Take a file from its position on, as far as the kernel can copy it.

        Parameters
        ----------
        descriptor : int
            The file.
        buffer_size : int
            Bytes between two calls of `progress`.
        progress : callable
            Takes the bytes so far.

        Returns
        -------
        int
            How many bytes were taken; the rest, if there is one, must be read and written.

        Raises
        ------
        StorageFullError
            The disk is full.
        """
        done = 0
        with files.os_errors(self._target, "write"):
            while count := copy_inside(descriptor, self._descriptor, buffer_size):
                self._hasher.update_written(self._descriptor, done, count)
                done += count
                progress(done)
        return done

    def finish(self) -> Staged:
        """Return the data, complete and as durable as the directory asks."""
        try:
            digests = self._hasher.digests()
            if self._allocated > digests.size_bytes:
                os.ftruncate(self._descriptor, digests.size_bytes)
            replaces = copy_modes(self._target, self._descriptor)
            time_ns = self._directory.finish_file(self._descriptor)
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


class StoreDirectory:
    """Move the files of a store.

    Parameters
    ----------
    root : str
        The directory, absolute.
    durability : {"sync", "group", "os"}
        What publishing waits for.
    """

    def __init__(self, root: str, durability: Durability) -> None:
        self.root = root
        self.hidden = f"{root}/{HIDDEN}"
        self.staging = f"{root}/{HIDDEN}/staging"
        self._escaped = f"{root}/{ESCAPED}/"
        self.durability: Durability = durability
        self.lock = files.KeptLock(self.staging, LOCK_TIMEOUT_S)
        """The right to write: one holder at a time, in any process of this host."""

    def prepare(self) -> None:
        """Make the hidden directories."""
        if Path(self._escaped).is_symlink():
            raise ForbiddenError(
                f"{self._escaped[:-1]} is a symbolic link; a store's own directory must not be"
            )
        files.require_writer(self.root, "change a store")
        if not os.path.isdir(self.staging):
            files.make_directories(self.staging)

    # Names ---------------------------------------------------------------------------------------------

    def base(self, key: str) -> str:
        """Return the path, without suffix, under which the files of a key lie or would lie."""
        name = name_of(key)
        if name[0] == ESCAPED and name[1:2] == "/":
            literal = literal_name(key)
            if literal is not None and os.path.lexists(f"{self.root}/{literal}{METADATA}"):
                name = literal
        return f"{self.root}/{name}"

    def look(self, base: str) -> Look:
        """Return what the files of a key are now."""
        return Look(*_facts(base + DATA), *_facts(base + METADATA))

    def escaped_directories(self) -> list[str]:
        """Return the directories in which escaped names lie."""
        top = f"{self.root}/{ESCAPED}"
        return [path for path, _, _ in os.walk(top)] if os.path.isdir(top) else []

    def names(self) -> Iterator[str]:
        """Yield the name, without suffix, of every metadata file."""
        cut = -len(METADATA)
        for name in os.listdir(self.root):
            if name.endswith(METADATA) and len(name) > len(METADATA):
                yield name[:cut]
        for path in self.escaped_directories():
            prefix = path[len(self.root) + 1 :]
            yield from (f"{prefix}/{name[:cut]}" for name in os.listdir(path) if name.endswith(METADATA))

    # Receiving -----------------------------------------------------------------------------------------

    def incoming(self, key: str, size: int = -1) -> StagedIncoming:
        """Return what receives new data for a key in a waiting file.

        Parameters
        ----------
        key : str
            The key, whose present file gives the mode.
        size : int
            The bytes to come, -1 where unknown; space for many is reserved at once.

        Raises
        ------
        StorageFullError, StorageError, ReadOnlyError
            The disk is full or failing, or may not be written.
        """
        incoming = StagedIncoming(self, f"{self.staging}/{new_name()}{DATA}", self.base(key) + DATA)
        if size >= _ALLOCATE_FROM:
            incoming.allocate(size)
        return incoming

    def hold(self, data: bytes, key: str) -> Staged:
        """Write new data of one block, which are in memory, to a waiting file.

        Parameters
        ----------
        data : bytes
            At most one block.
        key : str
            The key, whose present file gives the mode.
        """
        name = new_name()
        path = f"{self.staging}/{name}{DATA}"
        time_ns, replaces = self._written(path, data, self.base(key) + DATA)
        return Staged(path, name, len(data), time_ns, blake3(data).digest(), None, replaces)

    def stage_text(self, name: str, text: bytes, base: str, *, replaces: bool) -> tuple[int, int]:
        """Write a waiting metadata file and return its size and time.

        Parameters
        ----------
        name : str
            The temporary name, shared with the data.
        text : bytes
            The content.
        base : str
            Where it goes, without suffix.
        replaces : bool
            Whether there may be a file in its place.
        """
        target = base + METADATA if replaces else ""
        return len(text), self._written(f"{self.staging}/{name}{METADATA}", text, target)[0]

    def _written(self, path: str, content: bytes, target: str) -> tuple[int, bool]:
        """Write a whole waiting file; return its time, and whether there is a file in its place."""
        descriptor = _new_file(path)
        try:
            _write(descriptor, content)
            # To ask first is quicker: most files are new, and an exception takes its time.
            replaces = bool(target) and os.access(target, os.F_OK) and copy_modes(target, descriptor)
            return self.finish_file(descriptor), replaces
        except BaseException as error:
            _give_up(path, error)
            raise
        finally:
            os.close(descriptor)

    def finish_file(self, descriptor: int) -> int:
        """Give a waiting file a time of its own, and sync it.

        The kernel's clock ticks every few milliseconds; a time read from the fine clock is one that no later
        write of another program can leave behind, so that such a write never goes unnoticed.
        """
        now = time.time_ns()
        os.utime(descriptor, ns=(now, now))
        if self.durability != "os":
            os.fsync(descriptor)
        return now

    def sync_staging(self) -> None:
        """Make the waiting names durable, as they are about to be written down."""
        if self.durability != "os":
            files.sync_directory(self.staging)

    # Publishing ----------------------------------------------------------------------------------------

    def make_room(self, base: str) -> None:
        """Make the directory of an escaped name."""
        if base.startswith(self._escaped):
            parent = os.path.dirname(base)
            if not os.path.isdir(parent):
                files.make_directories(parent)

    def publish(self, name: str, base: str) -> None:
        """Move the waiting files of a name to their places; what was moved already is left alone.

        Parameters
        ----------
        name : str
            The temporary name.
        base : str
            Where they go, without suffix.
        """
        for suffix in (DATA, METADATA):
            try:
                os.replace(f"{self.staging}/{name}{suffix}", base + suffix)
            except FileNotFoundError:
                continue
            except OSError:
                with files.os_errors(base + suffix, "publish"):
                    raise

    def remove(self, base: str) -> None:
        """Delete the files of a key, the metadata first: without them it is no key."""
        for suffix in (METADATA, DATA):
            files.remove(base + suffix, missing_ok=True, durability="os")

    def settle(self, bases: Iterable[str]) -> None:
        """Make the published names as durable as this directory asks."""
        if self.durability == "os":
            return
        for parent in {os.path.dirname(base) for base in bases}:
            if self.durability == "sync":
                files.sync_directory(parent)
            else:
                files.flush_later(("store", parent), partial(files.sync_directory, parent))

    # After a crash -------------------------------------------------------------------------------------

    def waiting(self) -> set[str]:
        """Return the temporary names of all waiting files."""
        return {name.removesuffix(DATA).removesuffix(METADATA) for name in os.listdir(self.staging)}

    def sweep(self, names: Iterable[str]) -> None:
        """Delete waiting files whose writer is dead."""
        self.discard(name for name in names if not _is_alive(name))

    def discard(self, names: Iterable[str]) -> None:
        """Delete the waiting files of temporary names."""
        for name in names:
            for suffix in (DATA, METADATA):
                files.remove(f"{self.staging}/{name}{suffix}", missing_ok=True, durability="os")

    # Reading -------------------------------------------------------------------------------------------

    def open_data(self, base: str) -> int:
        """Open the data file of a key.

        Raises
        ------
        FileNotFoundError
            There is none.
        ForbiddenError
            It is a symbolic link that leads out of the store.
        """
        return self._open_inside(base + DATA)

    def _open_inside(self, path: str) -> int:
        try:
            return os.open(path, OPEN_TO_READ)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno != errno.ELOOP:
                with files.os_errors(path, "read"):
                    raise
        return os.open(resolve_below(path, self.root, "the file"), os.O_RDONLY | os.O_CLOEXEC)

    def read_text(self, base: str) -> tuple[bytes, int, int] | None:
        """Return the content, size and time of a metadata file, of one moment; None when it is not there."""
        try:
            descriptor = self._open_inside(base + METADATA)
            with files.os_errors(base + METADATA, "read"), open(descriptor, "rb", buffering=0) as file:
                facts = os.fstat(file.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise UnreadableError(f"{base + METADATA} is no ordinary file; move it away")
                return file.readall(), facts.st_size, facts.st_mtime_ns
        except FileNotFoundError:
            return None


def new_name() -> str:
    """Return a new temporary name; it says which process made it."""
    return f"{_owner(os.getpid())}-{next(_numbers):x}"


@lru_cache(maxsize=1)
def _owner(process: int) -> str:
    return f"{files.host_id()[:12]}.{process}.{time.time_ns():x}"


def _is_alive(name: str) -> bool:
    """Tell whether the process that made a name may still go on with it; that of another host always may."""
    owner = name.partition("-")[0]
    host, _, rest = owner.partition(".")
    if host != files.host_id()[:12]:
        return True
    process = rest.partition(".")[0]
    if process == str(os.getpid()):
        return owner == _owner(os.getpid())
    return os.path.exists(f"/proc/{process}")


def _facts(path: str) -> tuple[int, int]:
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def blocks_of(digests: BlockDigests) -> bytes | None:
    """Return the list of block digests as it is recorded: none for data of one block."""
    return digests.blocks if digests.size_bytes > BLOCK_BYTES else None


def _new_file(path: str) -> int:
    try:
        return os.open(path, _FLAGS, 0o666)
    except OSError:
        with files.os_errors(path, "write"):
            raise


def _give_up(path: str, error: BaseException) -> None:
    """Delete a new file that could not be completed, and raise the system's error as ours."""
    files.remove(path, missing_ok=True, durability="os")
    if isinstance(error, OSError) and not isinstance(error, HoldfastError):
        with files.os_errors(path, "write"):
            raise error


def _write(descriptor: int, piece: Buffer) -> int:
    total = len(piece)
    done = os.write(descriptor, piece)
    while done < total:
        done += os.write(descriptor, memoryview(piece)[done:])
    return total
