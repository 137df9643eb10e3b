"""Plain text and plain bytes: files without array, table or tree structure.

Owns the two formats that answer when no other does; reads no more than a file's head.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from holdfast.errors import InvalidTypeError
from holdfast.files import write_atomic
from holdfast.formats.base import Described, Description, Format
from holdfast.formats.source import Source
from holdfast.types import PathLike

__all__ = ["BYTES", "TEXT", "BytesFormat", "TextFormat"]

_BINARY = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b"))


class TextFormat(Format):
    """Text of any kind."""

    name = "text"
    media_types = ("text/plain",)
    suffixes = (
        ".txt",
        ".text",
        ".log",
        ".md",
        ".rst",
        ".dat",
        ".ini",
        ".cfg",
        ".toml",
        ".yaml",
        ".yml",
        ".xml",
    )

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the absence of control characters and by valid UTF-8."""
        if not head or head.translate(None, _BINARY) != head:
            return False
        try:
            # The head of a longer file may end inside a character.
            decoder = codecs.getincrementaldecoder("utf-8")()
            decoder.decode(head, final=len(head) == source.size)
        except UnicodeDecodeError:
            return False
        return True

    def describe(self, source: Source) -> Description:
        """Describe the file as bytes; its text is not read."""
        return Description(Described("", "bytes"), self.media_types[0])

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write text as UTF-8 in one step.

        Raises
        ------
        InvalidTypeError
            The value is no text.
        """
        if not isinstance(value, str):
            raise InvalidTypeError(f"{path}: text is a str, not {type(value).__name__}")
        write_atomic(path, value.encode("utf-8"))


class BytesFormat(Format):
    """Anything."""

    name = "bytes"
    media_types = ("application/octet-stream",)

    def sniff(self, head: bytes, source: Source) -> bool:
        """Answer for every file."""
        return True

    def describe(self, source: Source) -> Description:
        """Describe the file as bytes."""
        return Description(Described("", "bytes"), self.media_types[0])

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write bytes in one step.

        Raises
        ------
        InvalidTypeError
            The value is no bytes.
        """
        if not isinstance(value, bytes | bytearray | memoryview):
            raise InvalidTypeError(f"{path}: bytes are needed, not {type(value).__name__}")
        write_atomic(path, value)


TEXT = TextFormat()
BYTES = BytesFormat()
