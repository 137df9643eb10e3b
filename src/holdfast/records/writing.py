"""Own the writing of entries: arrays, copied files, and directories built aside and exchanged.

It does not change what an entry is (array, file, directory): where that is needed it raises
`KindChangesError`, and ``transactions`` does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, nullcontext

from blake3 import blake3

from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.files import build_directory, make_directories, open_atomic, os_errors
from holdfast.formats.sealed import (
    SUFFIX,
    SealedView,
    Values,
    locked_directory,
    sync_content,
    values_of,
    write,
)
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.records import sidecars
from holdfast.records.foreign import open_array
from holdfast.records.names import child_names, kind_of
from holdfast.records.places import in_directory, locked_tree, make_parents
from holdfast.records.values import Content, FileCopy, RecordCopy, Tree, file_key
from holdfast.types import Durability

__all__ = ["KindChangesError", "copy_entries", "copy_file", "fill", "hash_while", "write_content"]


class KindChangesError(Exception):
    """Say inside this room that the entry is of another kind now."""


def write_content(root: str, path: str, what: str, content: Content, durability: Durability) -> None:
    """Write an entry anew: readers see the old one or the new one.

    Parameters
    ----------
    root : str
        The record's directory.
    path : str
        The entry, without suffix.
    what : str
        The entry, for messages.
    content : Content
        What to write.
    durability : {"sync", "group", "os"}
        When it must be on the disk.

    Raises
    ------
    KindChangesError
        When the entry is of another kind now; nothing has changed.
    InvalidInputError
        When it would lie below an array.
    StorageFullError, StorageError, ReadOnlyError
        When the disk is full, fails or may not be written; the old entry is intact.
    """
    if isinstance(content, Values):
        values = content

        def action() -> None:
            write(path + SUFFIX, what, values, durability, lambda: _refuse(path))

    elif isinstance(content, FileCopy):
        source = content

        def action() -> None:
            _write_file(path, what, source, durability)

    else:
        tree = content

        def action() -> None:
            _write_directory(path, what, tree)

    in_directory(root, os.path.dirname(path), action)


def _refuse(path: str) -> None:
    if os.path.lexists(path):
        raise KindChangesError


def _write_file(path: str, what: str, source: FileCopy, durability: Durability) -> None:
    target = file_key(path, source)
    other = path if target != path else path + SUFFIX
    _refuse(other)
    if os.path.isdir(target):
        raise KindChangesError
    copy_file(source.path, target, what, durability, lambda: _refuse(other))


def copy_file(
    source: str, target: str, what: str, durability: Durability, before: Callable[[], None] | None
) -> BlockDigests:
    """Copy a file with its digests: what is read is verified against those that the source has.

    Parameters
    ----------
    source, target : str
        The files.
    what : str
        The entry, for messages.
    durability : {"sync", "group", "os"}
        When it must be on the disk.
    before : callable or None
        Called under the directory's lock, just before the publication; None takes no lock, for a
        directory that nobody else sees.

    Returns
    -------
    BlockDigests
        What was written.

    Raises
    ------
    HashError
        When the source is not what was recorded for it.
    """
    with (
        os_errors(source, "read"),
        open(source, "rb", buffering=0) as file,
        open_atomic(target, durability=durability, size_hint=os.stat(source).st_size) as out,
    ):
        digests = hash_while(file.read, out.write)
        recorded = sidecars.find(source, source)
        if recorded and digests not in recorded:
            sidecars.verify(source, source)  # raises, unless the source was replaced meanwhile
            raise NotFoundError(f"{source} was replaced while it was copied; try again")
        if durability != "os":
            sync_content(out)
        sidecar = sidecars.publish(target, digests, durability)
        with locked_directory(os.path.dirname(target)) if before else nullcontext():
            if before:
                before()
            out.publish()
        sidecars.prune(target, keep=sidecar)
    return digests


def hash_while(read: Callable[[int], bytes], write_piece: Callable[[bytes], object]) -> BlockDigests:
    """Copy a stream block by block and return its digests."""
    whole, blocks, size = blake3(), bytearray(), 0
    while piece := read(BLOCK_BYTES):
        while len(piece) < BLOCK_BYTES and (more := read(BLOCK_BYTES - len(piece))):
            piece += more
        whole.update(piece)
        blocks += blake3(piece).digest()
        write_piece(piece)
        size += len(piece)
    return BlockDigests(Digest("blake3", whole.hexdigest()), size, bytes(blocks))


def _write_directory(path: str, what: str, content: Tree | RecordCopy) -> None:
    if os.path.lexists(path + SUFFIX) or os.path.isfile(path):
        raise KindChangesError
    with ExitStack() as locks, build_directory(path, replace=True) as staging:
        fill(str(staging), content, what)
        locks.enter_context(locked_directory(os.path.dirname(path)))
        if os.path.lexists(path + SUFFIX) or os.path.isfile(path):
            raise KindChangesError
        locks.enter_context(locked_tree(path))


def fill(directory: str, content: Tree | RecordCopy, what: str) -> None:
    """Write a tree into an empty directory that nobody else sees.

    Parameters
    ----------
    directory : str
        Exists.
    content : Tree or RecordCopy
        What to write.
    what : str
        The entry, for messages.

    Raises
    ------
    InvalidInputError
        When a key lies below another that is an array.
    """
    if isinstance(content, RecordCopy):
        copy_entries(content.path, directory, what)
        return
    for parts, inner in content.children.items():
        target, below = os.path.join(directory, *parts), f"{what}/{'/'.join(parts)}"
        make_parents(directory, os.path.dirname(target))
        if kind_of(target) in {"array", "file"} or (isinstance(inner, Values | FileCopy) and kind_of(target)):
            raise InvalidInputError(f"{below} is given twice, once as an array or file; leave one out")
        if isinstance(inner, Values):
            write(target + SUFFIX, below, inner, "os", None)
        elif isinstance(inner, FileCopy):
            copy_file(inner.path, file_key(target, inner), below, "os", None)
        else:
            make_directories(target)
            fill(target, inner, below)


def copy_entries(source: str, target: str, what: str) -> None:
    """Copy every entry of a directory, verified, into another one.

    Parameters
    ----------
    source : str
        A record's directory; what is deleted meanwhile is left out.
    target : str
        An empty directory that nobody else sees.
    what : str
        The entry, for messages.

    Raises
    ------
    HashError
        When something is damaged.
    """
    for name in child_names(source):
        old, new = os.path.join(source, name), os.path.join(target, name)
        kind = kind_of(old)
        if kind == "directory":
            make_directories(new)
            copy_entries(old, new, f"{what}/{name}")
        elif kind is not None:
            _copy_entry(old, new, kind == "array")


def _copy_entry(old: str, new: str, is_array: bool) -> None:
    try:
        if not is_array:
            copy_file(old, new, old, "os", None)
            return
        with open_array(old + SUFFIX, old) as view:
            if isinstance(view, SealedView):
                write(new + SUFFIX, old, values_of(view), "os", None)
                return
        _copy_foreign(old + SUFFIX, new + SUFFIX)
    except NotFoundError:
        if kind_of(old) is not None:
            raise


def _copy_foreign(old: str, new: str) -> None:
    """Copy an HDF5 file of other origin byte by byte; it stays foreign unless it has digests beside it."""
    copy_file(old, new, old, "os", None)
    if not sidecars.sidecars(old):
        sidecars.prune(new)
