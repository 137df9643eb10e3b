"""Members of ZIP files as bytes that are read in place, or unpacked to no more than they claim.

Owns ZIP as far as NumPy's ``.npz`` needs it: stored and deflated members; knows no arrays.

References
----------
PKWARE, ".ZIP File Format Specification", 4.3.7 and 4.4.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.errors import HoldfastError, UnreadableError
from holdfast.formats.source import Source, SourceStream

__all__ = ["Member", "members"]

_MAX_DIRECTORY_BYTES = 16 << 20
_END, _END_BYTES, _MAX_COMMENT = b"PK\x05\x06", 22, 1 << 16
_LOCAL, _LOCAL_BYTES = b"PK\x03\x04", 30
_PIECE_BYTES, _FIRST_BYTES = 1 << 20, 4096
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a ZIP file.

    Parameters
    ----------
    source : Source
        The ZIP file.
    name : str
        Its name in there.
    offset, packed_bytes : int
        Where its bytes are, and how many.
    size : int
        How many they are unpacked, as the directory claims.
    crc : int
        CRC-32 of the unpacked bytes, as the directory claims.
    is_packed : bool
        Whether they are deflated.
    """

    source: Source
    name: str
    offset: int
    packed_bytes: int
    size: int
    crc: int
    is_packed: bool

    def read(self, offset: int, size: int) -> memoryview:
        """Return bytes of the member; of a packed one, everything before them is unpacked on the way.

        Raises
        ------
        UnreadableError
            The member ends before.
        """
        if not self.is_packed:
            if offset + size > self.size:
                raise UnreadableError(f"{self.title} ends before byte {offset + size}: it is truncated")
            return self.source.read(self.offset + offset, size)
        out = bytearray()
        for piece in self._unpacked(offset + size):
            out += piece
        return memoryview(out)[offset : offset + size]

    def unpack_into(self, target: memoryview) -> None:
        """Fill a buffer of `size` bytes with the whole member, checked against its CRC.

        Raises
        ------
        UnreadableError
            It is damaged, or longer or shorter than it claims.
        """
        done = crc = 0
        for piece in self._unpacked(self.size):
            target[done : done + len(piece)] = piece
            done += len(piece)
            crc = zlib.crc32(piece, crc)
        if crc != self.crc:
            raise UnreadableError(f"{self.title} is damaged: its CRC is another")

    @property
    def title(self) -> str:
        """What errors call it."""
        return f"{self.source.name}: {self.name}"

    def _unpacked(self, size: int) -> Iterator[bytes]:
        """Give the first `size` unpacked bytes; never more, whatever the packed ones would become."""
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        left, at = size, 0
        try:
            while left and not unpacker.eof:
                packed = unpacker.unconsumed_tail
                if not packed:
                    count = min(max(size, _FIRST_BYTES), _PIECE_BYTES, self.packed_bytes - at)
                    if not count:
                        break
                    packed = bytes(self.source.read(self.offset + at, count))
                    at += count
                piece = unpacker.decompress(packed, min(left, _PIECE_BYTES))
                left -= len(piece)
                yield piece
        except zlib.error as error:
            raise UnreadableError(f"{self.title} cannot be unpacked: {error}") from error
        if left:
            raise UnreadableError(f"{self.title} has {left} bytes less than it claims: it is truncated")


def members(source: Source) -> list[Member]:
    """Return what a ZIP file holds, as its directory says.

    Raises
    ------
    UnreadableError
        It is damaged, encrypted, packed in another way, or its directory is too large.
    """
    _check_directory(source)
    with _zip_errors(source), zipfile.ZipFile(io.BufferedReader(SourceStream(source))) as file:
        entries = [entry for entry in file.infolist() if not entry.is_dir()]
    return [_member(source, entry) for entry in entries]


@contextmanager
def _zip_errors(source: Source) -> Iterator[None]:
    try:
        yield
    except HoldfastError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise UnreadableError(f"{source.name} is no whole ZIP file: {error}") from error


def _check_directory(source: Source) -> None:
    """Refuse a directory that would fill the memory before it is read."""
    size = min(source.size, _END_BYTES + _MAX_COMMENT)
    tail = bytes(source.read(source.size - size, size))
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise UnreadableError(f"{source.name} is no whole ZIP file: its end is missing")
    (directory,) = struct.unpack_from("<L", tail, at + 12)
    if directory > _MAX_DIRECTORY_BYTES:
        raise UnreadableError(f"{source.name} has a directory of {directory} bytes, which is too large")


def _member(source: Source, entry: zipfile.ZipInfo) -> Member:
    title = f"{source.name}: {entry.filename[:80]}"
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableError(f"{title} is encrypted or packed in a way that is not read")
    if not 0 <= entry.header_offset <= source.size - _LOCAL_BYTES:
        raise UnreadableError(f"{title} lies outside the file: it is truncated")
    head = bytes(source.read(entry.header_offset, _LOCAL_BYTES))
    if not head.startswith(_LOCAL):
        raise UnreadableError(f"{title} is not where the directory says: the file is damaged")
    name_bytes, extra_bytes = struct.unpack_from("<HH", head, 26)
    offset = entry.header_offset + _LOCAL_BYTES + name_bytes + extra_bytes
    is_packed = entry.compress_type == zipfile.ZIP_DEFLATED
    if offset + entry.compress_size > source.size or (
        not is_packed and entry.compress_size != entry.file_size
    ):
        raise UnreadableError(f"{title} is longer than the file: it is truncated")
    return Member(source, entry.filename, offset, entry.compress_size, entry.file_size, entry.CRC, is_packed)
