"""Own what users assign: values, files, and trees of them, all checked before anything is written.

It does not write: ``writing`` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.errors import InvalidTypeError, NotFoundError
from holdfast.formats.sealed import SUFFIX, SealedView, Values, prepare, values_of
from holdfast.records.names import split, writable

__all__ = ["Content", "FileCopy", "RecordCopy", "Tree", "as_content", "file_key", "leaves"]


@dataclass(frozen=True, slots=True)
class FileCopy:
    """Name a file whose content becomes an entry; ``name`` is what it was called where it came from."""

    path: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class RecordCopy:
    """Name a directory of this machine whose entries are copied."""

    path: str


@dataclass(frozen=True, slots=True)
class Tree:
    """Hold contents by key."""

    children: dict[tuple[str, ...], Content] = field(default_factory=dict)


Content = Values | FileCopy | RecordCopy | Tree


def as_content(value: Any) -> Content:
    """Return what a value writes.

    Parameters
    ----------
    value : object
        A record, a (nested) dict, a path, or anything that `holdfast.formats.sealed.prepare` takes.

    Returns
    -------
    Content
        The checked content.

    Raises
    ------
    InvalidTypeError
        When something in it cannot be held.
    NotFoundError
        When a path names no file.
    """
    if isinstance(value, np.ndarray):
        return prepare(value)
    directory = getattr(value, "local_directory", None)
    if directory is not None:
        return RecordCopy(directory())
    if isinstance(value, Mapping):
        return Tree({_parts(key): as_content(inner) for key, inner in value.items()})
    if isinstance(value, os.PathLike):
        return _file(os.fspath(value))
    if isinstance(value, SealedView):
        return values_of(value)
    return prepare(value)


def _parts(key: Any) -> tuple[str, ...]:
    if not isinstance(key, str):
        raise InvalidTypeError(f"a dict's key must be text, not {type(key).__name__} {key!r}; rename it")
    return writable(split(key))


def _file(path: str) -> FileCopy:
    if os.path.isdir(path):
        raise InvalidTypeError(f"{path!r} is a directory; assign Record({path!r}) to copy its entries")
    if not os.path.isfile(path):
        raise NotFoundError(f"no file {path!r} to copy; check the path")
    return FileCopy(path)


def file_key(path: str, source: FileCopy) -> str:
    """Return where a copied file goes: an HDF5 file without suffix in its key becomes an array entry."""
    is_array = (source.name or source.path).endswith(SUFFIX) and "." not in os.path.basename(path)
    return path + SUFFIX if is_array else path


def leaves(content: Content, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Content]]:
    """Yield everything in a tree that is not a tree, with its key."""
    if isinstance(content, Tree):
        for key, inner in content.children.items():
            yield from leaves(inner, at + key)
    else:
        yield at, content
