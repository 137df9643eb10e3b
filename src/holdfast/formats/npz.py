"""NumPy's ``.npz`` files: several arrays, or the parts of one sparse array.

Owns what is in them; ZIP itself stands in `zipped`, the layouts of sparse arrays in `layouts`.

References
----------
NumPy's ``savez``; SciPy's and pydata/sparse's ``save_npz``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from holdfast.errors import InvalidInputError, NotFoundError, UnreadableError
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile
from holdfast.formats.layouts import open_layout
from holdfast.formats.npy import Header, read_header
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.slicing import Selection
from holdfast.formats.source import Source
from holdfast.formats.sparse import SparseReader
from holdfast.formats.structures import ArrayStructure
from holdfast.formats.zipped import Member, members
from holdfast.paths import check_name

__all__ = ["NPZ", "NpzFile", "NpzFormat"]

_SUFFIX = ".npy"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_MAX_ARRAYS = 10_000
_MAX_UNPACKED_BYTES = 512 << 20
_MAX_AXES = 64
_MAX_NAME_BYTES = 64


class NpzFormat(Format):
    """Arrays in a ``.npz`` file."""

    name = "npz"
    media_types = ("application/x-npz",)
    suffixes = (".npz",)

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by ZIP's magic bytes and the suffix: other ZIP files hold arrays by chance only."""
        return head.startswith(_ZIP) and source.path.suffix.lower() in self.suffixes

    def describe(self, source: Source) -> Description:
        """Return the arrays as a container, or the one sparse array that they are the parts of.

        Raises
        ------
        UnreadableError
            The file is truncated or damaged.
        """
        arrays = _Arrays(source)
        found = _sparse(arrays)
        if found is not None:
            root = Described("", "sparse", {}, found.structure.to_json())
        else:
            root = Described(
                "", "container", {}, children=[_described(arrays, key) for key in arrays.members]
            )
            if arrays.unlisted:
                root.metadata = {"holdfast": {"unlisted": arrays.unlisted[:100]}}
        return Description(root, self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the file."""
        with source.closed_on_failure():
            return NpzFile(source)


class NpzFile(OpenFile):
    """An open ``.npz`` file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._arrays = _Arrays(source)

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the array under ``parameters["array"]``.

        Raises
        ------
        NotFoundError
            There is none.
        """
        return self._arrays.open(str(parameters.get("array", "")))

    def sparse(self, parameters: Mapping[str, Any]) -> SparseReader:
        """Return the sparse array that the file is.

        Raises
        ------
        NotFoundError
            It is none.
        """
        found = _sparse(self._arrays)
        if found is None:
            raise NotFoundError(f"{self._source.name} holds no sparse array")
        return found

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


class _Arrays:
    """The members of a file that are arrays, by name."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.members: dict[str, Member] = {}
        self.unlisted: list[str] = []
        for member in members(source):
            key = member.name.removesuffix(_SUFFIX)
            if member.name.endswith(_SUFFIX) and _is_name(key) and len(self.members) < _MAX_ARRAYS:
                self.members[key] = member
            else:
                self.unlisted.append(member.name[:255])

    def open(self, key: str) -> ArrayReader:
        """Return the reader of an array."""
        member = self.members.get(key)
        if member is None:
            raise NotFoundError(f"{self.source.name} holds no array {key[:80]!r}")
        header = read_header(member.read, member.size, member.title)
        return _Unpacked(member, header) if member.is_packed else _in_place(member, header)

    def value(self, key: str, most_bytes: int) -> np.ndarray:
        """Return a small array."""
        reader = self.open(key)
        if reader.structure.nbytes > most_bytes:
            raise UnreadableError(f"{self.source.name}: {key} is too large to be what it should be")
        return reader.read()


def _is_name(key: str) -> bool:
    try:
        check_name(key, "name", reserved=True)
    except InvalidInputError:
        return False
    return True


def _in_place(member: Member, header: Header) -> ArrayReader:
    structure = ArrayStructure.build(header.dtype, header.shape)
    segment = Segment(member.source, member.offset + header.offset, structure.nbytes)
    return RawArray(structure, [segment], is_fortran=header.is_fortran)


class _Unpacked(ArrayReader):
    """A packed array: unpacked as a whole when first looked at, and kept as long as its reader.

    Parameters
    ----------
    member : Member
        The packed bytes.
    header : Header
        What they are.
    """

    def __init__(self, member: Member, header: Header) -> None:
        self.structure = ArrayStructure.build(header.dtype, header.shape)
        self.is_verified = member.source.is_verified
        self._member, self._header = member, header
        self._array: np.ndarray | None = None

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        if self._array is None:
            # Two threads may both do this, and find the same.
            self._array = self._unpack()
        return np.ascontiguousarray(self._array[selection.index])

    def _unpack(self) -> np.ndarray:
        member, header = self._member, self._header
        if member.size > _MAX_UNPACKED_BYTES:
            raise UnreadableError(
                f"{member.title} is packed and unpacks to {member.size} bytes, over the limit of "
                f"{_MAX_UNPACKED_BYTES}; save it with numpy.savez, which does not pack"
            )
        buffer = np.empty(member.size, np.uint8)
        member.unpack_into(buffer.data)
        flat = buffer[header.offset : header.offset + self.structure.nbytes].view(header.dtype)
        return flat.reshape(header.shape, order="F" if header.is_fortran else "C")


def _described(arrays: _Arrays, key: str) -> Described:
    parameters = {"array": key}
    try:
        structure = arrays.open(key).structure
    except UnreadableError as error:
        return Described(key, "bytes", {"error": str(error)}, parameters=parameters)
    return Described(key, "array", {}, structure.to_json(), parameters=parameters)


def _sparse(arrays: _Arrays) -> SparseReader | None:
    """Return the sparse array that a file is; None if it is none, or has no form here.

    A file that is one by its names but is damaged reads as the arrays in it, whose errors say what is wrong.
    """
    names = set(arrays.members)
    if not {"data", "shape"} <= names:
        return None
    try:
        # Values that are not stored would have to be something else than zero.
        if "fill_value" in names and arrays.value("fill_value", _MAX_NAME_BYTES).any():
            return None
        if "format" in names:
            layout = arrays.value("format", _MAX_NAME_BYTES).reshape(-1)[0]
            text = layout.decode("ascii", "replace") if isinstance(layout, bytes) else str(layout)
            return _opened(arrays, text)
        if "fill_value" in names:
            return _opened(arrays, "gcxs" if "compressed_axes" in names else "coo")
    except (NotFoundError, UnreadableError, IndexError):
        return None
    return None


def _opened(arrays: _Arrays, layout: str) -> SparseReader:
    shape = arrays.value("shape", 8 * _MAX_AXES)
    axes = arrays.value("compressed_axes", 8 * _MAX_AXES).tolist() if layout == "gcxs" else (0,)
    parts = {
        key: arrays.open(key) for key in arrays.members if key not in ("format", "shape", "compressed_axes")
    }
    return open_layout(layout, shape.tolist(), parts, axes)


NPZ = NpzFormat()
