"""Files and objects that an HDF5 file leads to, found by us before HDF5 opens anything.

Owns links of every kind and the rule where a named file may lie; reads no data.

Notes
-----
HDF5 would follow an external link wherever it leads and look in the working directory too. Here each name is
resolved first: relative to the file that names it; an absolute one as it stands, else its last part there.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

import h5py
from h5py import h5f, h5g, h5i, h5l, h5o, h5p

from holdfast.errors import ForbiddenError, HoldfastError, MissingFileError, NotFoundError, UnreadableError
from holdfast.formats.base import Linked
from holdfast.formats.source import Source, SourceStream
from holdfast.paths import is_below

__all__ = ["FileSet", "OpenedFile", "Place", "find_signature", "hdf5_errors", "locate"]

_MAX_LINKS = 32
_MAX_FILES = 4096
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SWMR_FLAG = 0x04
_WAYS = (
    (h5f.CLOSE_WEAK, False),
    (h5f.CLOSE_STRONG, False),
    (h5f.CLOSE_STRONG, True),
    (h5f.CLOSE_WEAK, True),
)


@dataclass(slots=True)
class OpenedFile:
    """One HDF5 file that is open.

    Parameters
    ----------
    source : Source
        Its bytes.
    file : h5py.h5f.FileID
        Its handle in HDF5.
    stream : SourceStream, optional
        What HDF5 reads through, when every byte is checked; None when it opened the path itself.
    is_swmr : bool
        Whether somebody may write while it is read.
    """

    source: Source
    file: h5f.FileID
    stream: SourceStream | None
    is_swmr: bool = False

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.source.path

    @property
    def name(self) -> str:
        """What errors call the file."""
        return self.source.name


@dataclass(frozen=True, slots=True)
class Place:
    """An object and the file it is in."""

    opened: OpenedFile
    object: h5g.GroupID | h5py.h5d.DatasetID | h5py.h5t.TypeID


class FileSet:
    """The files that reading one HDF5 file opens; safe across threads.

    Parameters
    ----------
    source : Source
        The first one; it stays open when the set is closed.

    Attributes
    ----------
    linked : dict of tuple to Linked
        Every file that was named, once.
    noticed : list of Linked
        The same, each time it was named, in order.

    Raises
    ------
    UnreadableError
        It is no HDF5 file, or is damaged.
    """

    def __init__(self, source: Source) -> None:
        self._lock = threading.RLock()
        self._opened: dict[tuple[Path, bool], OpenedFile] = {}
        self._raw: dict[Path, Source] = {}
        self.noticed: list[Linked] = []
        self.linked: dict[tuple[str, str, str], Linked] = {}
        _sets.add(self)
        self.root = self._keep((source.path, True), source)

    def find(self, path: str, start: Place | None = None) -> Place:
        """Follow a path of names through links of every kind.

        Parameters
        ----------
        path : str
            Names separated by slashes; from the root of the first file, or from `start`.
        start : Place, optional
            A group.

        Raises
        ------
        NotFoundError
            There is no such object.
        MissingFileError, ForbiddenError
            A linked file is absent, or lies outside.
        UnreadableError
            Links that lead in circles.
        """
        with self._lock:
            return self._walk(start or self.top(self.root), path, _MAX_LINKS)

    def top(self, opened: OpenedFile) -> Place:
        """Return the root group of a file."""
        with hdf5_errors(opened):
            return Place(opened, h5o.open(opened.file, b"/"))

    def open_link(self, place: Place, name: bytes, left: int = _MAX_LINKS) -> Place:
        """Open what a link of a group leads to."""
        if left <= 0:
            raise UnreadableError(f"{place.opened.name}: links lead in circles at {name!r}")
        with hdf5_errors(place.opened):
            kind = place.object.links.get_info(name).type
            if kind == h5l.TYPE_HARD:
                return Place(place.opened, h5o.open(place.object, name))
            if kind not in (h5l.TYPE_SOFT, h5l.TYPE_EXTERNAL):
                raise UnreadableError(f"{place.opened.name}: the link {name!r} is of an unknown kind")
            value = place.object.links.get_val(name)
        if kind == h5l.TYPE_EXTERNAL:
            opened = self.open_named(place.opened, os.fsdecode(value[0]), "external")
            return self._walk(self.top(opened), os.fsdecode(value[1]), left - 1)
        return self._walk(place, os.fsdecode(value), left - 1)

    def open_named(self, opened: OpenedFile, name: str, kind: str) -> OpenedFile:
        """Open a file that another one names, or raise without touching it."""
        path = self.locate(opened, name, kind)
        with self._lock:
            if path == self.root.path.resolve():
                return self.root
            key = (path, True)
            return self._opened.get(key) or self._keep_new(key, opened.source.related(path))

    def by_path(self, opened: OpenedFile) -> OpenedFile:
        """Return the same file opened by HDF5 itself, which virtual data sets need."""
        if opened.stream is None:
            return opened
        with self._lock:
            key = (opened.path, False)
            source = (
                None
                if key in self._opened
                else Source(opened.path, roots=opened.source.roots, name=opened.name)
            )
            return self._opened[key] if source is None else self._keep_new(key, source)

    def raw(self, opened: OpenedFile, path: Path) -> Source:
        """Open a file of raw bytes that an HDF5 file names."""
        with self._lock:
            if path not in self._raw:
                self._raw[path] = opened.source.related(path)
            return self._raw[path]

    def locate(self, opened: OpenedFile, name: str, kind: str) -> Path:
        """Return where a named file is, and remember it as linked."""
        try:
            path = locate(name, opened.source)
        except MissingFileError:
            self._remember(Linked(name, kind, str(opened.path.parent / name), is_present=False))
            raise
        self._remember(Linked(name, kind, str(path), is_present=True))
        return path

    def _remember(self, linked: Linked) -> None:
        self.linked[linked.kind, linked.name, linked.path] = linked
        self.noticed.append(linked)

    def _walk(self, place: Place, path: str, left: int) -> Place:
        if path.startswith("/"):
            place = self.top(place.opened)
        for part in path.split("/"):
            if part in ("", "."):
                continue
            with hdf5_errors(place.opened):
                is_there = isinstance(place.object, h5g.GroupID) and os.fsencode(part) in place.object
            if not is_there:
                raise NotFoundError(f"{place.opened.name} has no object {path!r}")
            place = self.open_link(place, os.fsencode(part), left)
        return place

    def _keep_new(self, key: tuple[Path, bool], source: Source) -> OpenedFile:
        with source.closed_on_failure():
            return self._keep(key, source)

    def _keep(self, key: tuple[Path, bool], source: Source) -> OpenedFile:
        if len(self._opened) >= _MAX_FILES:
            raise UnreadableError(f"{source.name}: more than {_MAX_FILES} files are linked")
        opened = _open(source, SourceStream(source) if source.is_verified else None)
        self._opened[key] = opened
        return opened

    def close(self) -> None:
        """Close every file; a second time does nothing."""
        with self._lock:
            opened, self._opened = list(self._opened.values()), {}
            raw, self._raw = list(self._raw.values()), {}
        for each in opened:
            _close_handle(each.file)
            if each is not self.root:
                each.source.close()
        for source in raw:
            source.close()


_sets: weakref.WeakSet[FileSet] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what is open when Python ends: later HDF5 would do it and call a stream that is gone."""
    for files in list(_sets):
        files.close()


def locate(name: str, source: Source) -> Path:
    """Return where a file named inside another one is.

    Parameters
    ----------
    name : str
        As written there.
    source : Source
        The file that names it; its roots are where the other may lie.

    Raises
    ------
    MissingFileError
        It is absent.
    ForbiddenError
        It lies outside the roots.
    """
    if "\0" in name or not name:
        raise UnreadableError(f"{source.name} names a file {name!r}, which is no name")
    directory = source.path.parent
    # HDF5 itself falls back to the last part of absolute names only; what we find it must find too.
    candidates = [directory / name, *([directory / Path(name).name] if Path(name).is_absolute() else [])]
    inside = [path for path in candidates if any(is_below(path, root) for root in source.roots)]
    for path in inside:
        if path.is_file():
            return path.resolve()
    if candidates[0] not in inside and candidates[0].exists():
        raise ForbiddenError(
            f"{source.name} names {name!r}, which leads outside the served directory; "
            "allow it with --allow-outside DIR"
        )
    raise MissingFileError(f"{source.name} needs the file {name!r}, which is not there; restore it beside it")


class hdf5_errors:
    """Turn what HDF5 raises inside a ``with`` block into ours, and bring back the cause of a failed read.

    Parameters
    ----------
    opened : OpenedFile
        The file that is read.
    """

    __slots__ = ("_opened",)

    def __init__(self, opened: OpenedFile) -> None:
        self._opened = opened

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, HoldfastError):
            return
        if isinstance(error, OSError | RuntimeError | KeyError | ValueError | TypeError):
            stream = self._opened.stream
            if stream is not None and stream.failure is not None:
                failure, stream.failure = stream.failure, None
                raise failure from error
            raise UnreadableError(
                f"{self._opened.name} cannot be read: {str(error).strip()[:300]}"
            ) from error


def find_signature(source: Source) -> int | None:
    """Return where HDF5's signature is: at 0, 512, 1024, 2048 and so on, behind a user block.

    A tar archive is none, though its first member may be.
    """
    if bytes(source.head()[257:262]) == b"ustar":
        return None
    offset = 0
    while offset + len(_SIGNATURE) <= source.size:
        if bytes(source.read(offset, len(_SIGNATURE))) == _SIGNATURE:
            return offset
        offset = max(512, offset * 2)
    return None


def _open(source: Source, stream: SourceStream | None) -> OpenedFile:
    at = find_signature(source)
    if at is None:
        raise UnreadableError(f"{source.name} {_what_is_it(source)}")
    is_swmr = _is_swmr(source, at)
    flags = h5f.ACC_RDONLY | (h5f.ACC_SWMR_READ if is_swmr else 0)
    with hdf5_errors(OpenedFile(source, None, stream)):
        return OpenedFile(source, _open_handle(source, stream, flags), stream, is_swmr)


def _open_handle(source: Source, stream: SourceStream | None, flags: int) -> h5f.FileID:
    """Open without locks, so that a writer can always open it too.

    A file that this process has open already must be opened the same way: sources of virtual data sets as
    HDF5 opens them itself, files of the user's as h5py does, with its locks.
    """
    path = os.fsencode(source.path)
    failures: list[OSError] = []
    for degree, is_locked in _WAYS:
        try:
            return h5f.open(path, flags, _access(stream, degree, is_locked=is_locked))
        except OSError as error:
            failures.append(error)
            if "don't match" not in str(error) and "doesn't match" not in str(error):
                break
    raise failures[-1]


def _access(stream: SourceStream | None, degree: int, *, is_locked: bool) -> h5p.PropFAID:
    if stream is None:
        return _plain_access(degree, is_locked=is_locked)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fclose_degree(degree)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, stream)
    return access


@cache
def _plain_access(degree: int, *, is_locked: bool) -> h5p.PropFAID:
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fclose_degree(degree)
    if not is_locked:
        access.set_file_locking(False, True)
    return access


def _close_handle(file: h5f.FileID) -> None:
    """Close a file with all that is open in it, also what a reader still holds."""
    if not file.valid:
        return
    kinds = h5f.OBJ_DATASET | h5f.OBJ_GROUP | h5f.OBJ_ATTR | h5f.OBJ_DATATYPE
    for each in h5f.get_obj_ids(file, kinds | h5f.OBJ_LOCAL):
        while each.valid:
            h5i.dec_ref(each)
    file.close()


def _is_swmr(source: Source, at: int) -> bool:
    """Whether the superblock says that somebody writes while others read."""
    block = bytes(source.read(at, min(12, source.size - at))).ljust(12, b"\0")
    return block[8] == 3 and bool(block[11] & _SWMR_FLAG)


def _what_is_it(source: Source) -> str:
    head = source.head()
    if not head:
        return "is empty: it has a suffix of HDF5 and no content"
    if head.startswith(b"\x0e\x03\x13\x01"):
        return "is HDF4, not HDF5; convert it with h4toh5"
    if head.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05")):
        return "is NetCDF-3, not HDF5; index the directory again"
    return "is not HDF5: its signature is missing"
