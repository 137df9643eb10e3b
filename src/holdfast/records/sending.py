"""Own what is sent to a server: the leaves of whatever a user assigns, records of this machine included.

It does not send. Views of a local record stay open until the block ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.formats.sealed import SealedView, values_of
from holdfast.records.handle import Record
from holdfast.records.names import split
from holdfast.records.values import Content, RecordCopy, as_content, leaves

__all__ = ["sendable"]

Leaf = tuple[tuple[str, ...], Content]


@contextmanager
def sendable(value: Any) -> Iterator[list[Leaf]]:
    """Give the leaves of a value while they can be read.

    Parameters
    ----------
    value : object
        Anything that can be assigned.

    Yields
    ------
    list of (key, content)
        Arrays, strings and files.

    Raises
    ------
    InvalidTypeError
        When something in it cannot be held.
    """
    with ExitStack() as views:
        if isinstance(value, Record):
            yield list(_of_record(value, (), views))
            return
        found = list(leaves(as_content(value)))
        assert not any(isinstance(content, RecordCopy) for _, content in found)
        yield found


def _of_record(record: Record, at: tuple[str, ...], views: ExitStack) -> Iterator[Leaf]:
    for key in record:
        value = record[key] if _is_plain(record, key) else views.enter_context(record.open(key))
        place = at + split(key)
        if isinstance(value, Record):
            yield from _of_record(value, place, views)
        elif isinstance(value, SealedView):
            yield place, values_of(value)
        elif isinstance(value, Path):
            yield place, as_content(value)
        else:
            yield place, as_content(np.asarray(value))


def _is_plain(record: Record, key: str) -> bool:
    """Tell whether an entry is a directory or file, which is not opened as an array."""
    path = os.path.join(str(record.path), key)
    return os.path.exists(path) and not os.path.isfile(path + ".h5")
