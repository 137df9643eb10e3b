"""Own the sealed format as one among the formats: an HDF5 file with ``data``, all rows, verified.

It does not show the seal. The log beside a file is a linked file: it holds rows and travels along.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.errors import NotFoundError
from holdfast.formats.base import ArrayReader, Described, Description, Format, Linked, OpenFile
from holdfast.formats.sealed.encoder import SEAL_NAME
from holdfast.formats.sealed.entry import change_token, log_path, open_sealed
from holdfast.formats.sealed.publish import write
from holdfast.formats.sealed.seal import FOOTER_BYTES, has_footer
from holdfast.formats.sealed.selection import forward
from holdfast.formats.sealed.values import prepare
from holdfast.formats.sealed.view import SealedView
from holdfast.formats.slicing import Selection
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure, packed
from holdfast.types import PathLike

__all__ = ["SEALED", "SealedFormat"]

_DATA = "data"


class SealedFormat(Format):
    """One array in an HDF5 file that carries the digests of its bytes."""

    name = "sealed"
    media_types = ("application/x-hdf5-sealed",)
    suffixes = ()

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the seal at the end, or by the link to it where the end is damaged."""
        if source.size >= FOOTER_BYTES and has_footer(source.read(source.size - FOOTER_BYTES, FOOTER_BYTES)):
            return True
        return SEAL_NAME.encode() in head[:512]

    def describe(self, source: Source) -> Description:
        """Return type and shape of the array with the rows of its log.

        Raises
        ------
        HashError
            When the file is damaged or its log is missing.
        """
        path = str(source.path)
        with open_sealed(path) as view:
            structure = _structure(view).to_json()
            log = log_path(path, view.base.facts.uid)
        is_there = os.path.lexists(log)
        linked = [Linked(os.path.basename(log), "storage", log, True)] if is_there else []
        data = Described(_DATA, "array", {}, structure, parameters={"dataset": _DATA}, linked=list(linked))
        return Description(Described("", "container", linked=linked, children=[data]), self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the array as it is now."""
        with source.closed_on_failure():
            return _SealedFile(source)

    def change_token(self, path: Path) -> Hashable:
        """Return what differs after an append, which changes the log and not the file."""
        return change_token(path)

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write an array as a new file in one step.

        Raises
        ------
        InvalidTypeError
            HDF5 cannot hold the value.
        """
        name = os.fspath(path)
        write(name, name, prepare(value), "sync")


SEALED = SealedFormat()


def _structure(view: SealedView) -> ArrayStructure:
    if view.dtype != object:
        return ArrayStructure.build(packed(view.dtype), view.shape)
    width = max((len(text) for text in np.asarray(view).ravel()), default=1)
    return ArrayStructure.build(np.dtype(f"U{max(1, width)}"), view.shape)


class _SealedFile(OpenFile):
    """An open sealed file with its log."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._view = open_sealed(str(source.path))

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the array."""
        if parameters.get("dataset", _DATA) != _DATA:
            raise NotFoundError(f"{self._source.path} holds the array {_DATA!r} and no other")
        return _SealedArray(self._view)

    def close(self) -> None:
        """Give the descriptors back."""
        self._view.close()
        self._source.close()


class _SealedArray(ArrayReader):
    """All rows of a sealed file; every byte that is read is verified."""

    is_verified = True

    def __init__(self, view: SealedView) -> None:
        self._view = view
        self.structure = _structure(view)

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        ranges = [
            range(axis.start, axis.start + axis.count * axis.step, axis.step) for axis in selection.axes
        ]
        rising = self._view[tuple(slice(each.start, each.stop, each.step) for each in map(forward, ranges))]
        flips = tuple(slice(None, None, -1 if each.step < 0 else 1) for each in ranges)
        found = np.asarray(rising)[flips] if ranges else np.asarray(self._view)
        return np.ascontiguousarray(found.reshape(selection.kept_shape), self.structure.dtype)
