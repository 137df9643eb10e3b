"""JSON files: the content of an object is metadata.

Owns reading JSON as a file's metadata; arrays of numbers in JSON stay text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from holdfast.errors import InvalidInputError, UnreadableError
from holdfast.files import write_atomic
from holdfast.formats.base import Described, Description, Format
from holdfast.formats.metadata import Metadata
from holdfast.formats.source import Source
from holdfast.types import PathLike

__all__ = ["JSON", "JsonFormat"]

_MAX_READ_BYTES = 8 << 20
_MAX_VALUES = 20_000
_MAX_BYTES = 1 << 20


class JsonFormat(Format):
    """A JSON document."""

    name = "json"
    media_types = ("application/json",)
    suffixes = (".json", ".geojson")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the suffix and the first character."""
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        return source.path.suffix.lower() in self.suffixes and start in (b"{", b"[")

    def describe(self, source: Source) -> Description:
        """Return an object's content as metadata; of very large ones, that there is more.

        Raises
        ------
        UnreadableError
            The file is no JSON.
        """
        node = Described("", "bytes")
        if source.size > _MAX_READ_BYTES:
            node.metadata = {"holdfast": {"left_out": 1}}
            return Description(node, self.media_types[0])
        value = _load(source)
        if isinstance(value, dict):
            collected = Metadata(_MAX_VALUES, _MAX_BYTES)
            for key, item in value.items():
                collected.put((key,), item)
            node.metadata = collected.to_json()
        return Description(node, self.media_types[0])

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write a JSON value in one step.

        Raises
        ------
        InvalidInputError
            It is no JSON value, or holds NaN or infinity.
        """
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
            write_atomic(path, text.encode("utf-8"))
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{path}: {error}") from error


def _load(source: Source) -> Any:
    data = bytes(source.read())
    try:
        return json.loads(data.decode(json.detect_encoding(data)))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{source.name} is no JSON: {error}") from error


JSON = JsonFormat()
