"""ZIP archives that somebody else's library opens: what they claim, before anything is unpacked.

Owns the limits; `zipfile` reads the members, never more of one than its entry says.

References
----------
PKWARE APPNOTE 6.3, "End of central directory record".
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import UnreadableError
from holdfast.formats.source import Source, SourceStream

__all__ = ["archive_stream", "directory", "opened_archive"]

MAX_DIRECTORY_BYTES = 4 << 20
"""The largest list of members that is read."""

_END = struct.Struct("<4sHHHHIIH")
_END_MAGIC = b"PK\x05\x06"
_MAX_COMMENT_BYTES = 65_535


def directory(source: Source) -> bytes | None:
    """Return the list of members of an archive as it is stored; None if a file is none that is read.

    Parameters
    ----------
    source : Source
        The file.
    """
    length = min(source.size, _END.size + _MAX_COMMENT_BYTES)
    tail = bytes(source.read(source.size - length, length))
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > length:
        return None
    size, offset = _END.unpack_from(tail, at)[5:7]
    end = source.size - length + at
    if size > MAX_DIRECTORY_BYTES or offset + size > end:
        return None
    # What stands before an archive shifts it, so the list is found from its end.
    return bytes(source.read(end - size, size))


def archive_stream(source: Source) -> io.BufferedReader:
    """Return a source as the binary file that `zipfile` and libraries above it read."""
    return io.BufferedReader(SourceStream(source), 1 << 16)


@contextmanager
def opened_archive(source: Source) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose list of members is bounded.

    Parameters
    ----------
    source : Source
        The file.

    Raises
    ------
    UnreadableError
        It is no archive, cut off, or lists too many members.
    """
    if directory(source) is None:
        raise UnreadableError(f"{source.name} is no whole ZIP archive, or one with too many members")
    try:
        with zipfile.ZipFile(archive_stream(source)) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise UnreadableError(f"{source.name} is a damaged ZIP archive: {error}") from error
