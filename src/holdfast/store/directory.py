"""Own the files of a store directory: staging, publishing, deleting, and what a crash left behind.

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
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from holdfast import files
from holdfast.errors import ForbiddenError, UnreadableError
from holdfast.files.modes import copy_modes
from holdfast.paths import resolve_below
from holdfast.store.names import DATA, ESCAPED, METADATA, literal_name, name_of
from holdfast.store.staging import Staged, StagedIncoming, give_up, new_file, write_all
from holdfast.types import Durability

__all__ = [
    "HIDDEN",
    "OPEN_TO_READ",
    "Look",
    "StoreDirectory",
    "new_name",
]

HIDDEN = ".holdfast"
"""The directory, inside the store, of everything that encore does not know."""

_numbers = itertools.count()
OPEN_TO_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
"""How the files of a key are opened first; a symbolic link is looked at more closely."""

LOCK_TIMEOUT_S = 60.0
_ALLOCATE_FROM = 1 << 20


class Look(NamedTuple):
    """Say what the files of a key are now: sizes in bytes, times in nanoseconds, -1 for what is not there."""

    size: int
    data_time: int
    text_size: int
    text_time: int


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
        path = f"{self.staging}/{new_name()}{DATA}"
        incoming = StagedIncoming(path, self.base(key) + DATA, self.finish_file)
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
        descriptor = new_file(path)
        try:
            write_all(descriptor, content)
            # To ask first is quicker: most files are new, and an exception takes its time.
            replaces = bool(target) and os.access(target, os.F_OK) and copy_modes(target, descriptor)
            return self.finish_file(descriptor), replaces
        except BaseException as error:
            give_up(path, error)
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
