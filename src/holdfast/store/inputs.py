"""Own the checks of what callers give to a store: pairs, streams and metadata.

Nothing is written here; a refused value leaves the old one intact.

>>> encode_metadata({"n": 1, "tags": ["a"]})
'{"n":1,"tags":["a"]}'
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import msgspec

from holdfast.errors import InvalidInputError, InvalidTypeError, UnreadableError
from holdfast.types import Buffer, Json

__all__ = [
    "chosen",
    "decode_metadata",
    "encode_metadata",
    "pieces_of",
    "require_stream",
    "split_value",
    "wrapped",
]

_encode = msgspec.json.Encoder().encode
_LEAVES = (str, bool, int, float, type(None))
_DEEPEST = 100


def split_value(value: Any) -> tuple[BinaryIO, dict[str, Json], int]:
    """Take a value apart.

    Parameters
    ----------
    value : tuple of (file-like, dict), or Value
        A tuple, or anything with ``data``, ``metadata`` and perhaps ``size``.

    Returns
    -------
    tuple of (file-like, dict, int)
        The stream, the metadata, and the bytes to come, -1 where unknown.

    Raises
    ------
    InvalidTypeError
        For anything else.
    """
    if type(value) is tuple and len(value) == 2:
        return value[0], value[1], -1
    if hasattr(value, "data") and hasattr(value, "metadata"):
        size = getattr(value, "size", None)
        return value.data, value.metadata, -1 if size is None else size
    raise InvalidTypeError(
        f"a value is a pair (stream, metadata) as a tuple, or has .data and .metadata; got {value!r:.80}"
    )


def require_stream(stream: object) -> None:
    """Check that something can be read from.

    Raises
    ------
    InvalidTypeError
        For what has no ``read``.
    """
    if not hasattr(stream, "read"):
        raise InvalidTypeError(
            f"data is a binary stream with read(), not {type(stream).__name__}; wrap bytes in io.BytesIO"
        )


def pieces_of(stream: Any, buffer_size: int, what: str) -> Iterator[Buffer]:
    """Read a stream to its end.

    Parameters
    ----------
    stream : file-like
        What has ``read(size)``.
    buffer_size : int
        Bytes to ask for at a time.
    what : str
        The key, for the message.

    Yields
    ------
    bytes-like
        Never empty.

    Raises
    ------
    InvalidInputError
        For a closed stream, one that gives text, and a buffer size below 1.
    """
    if buffer_size < 1:
        raise InvalidInputError(f"buffer_size is {buffer_size}; give at least 1 byte")
    if getattr(stream, "closed", False) is True:
        raise InvalidInputError(f"the data for key {what!r} is a closed stream; open it again")
    while True:
        piece = stream.read(buffer_size)
        if not piece and piece is not None:
            _require_bytes(piece, what)
            return
        _require_bytes(piece, what)
        yield piece


def _require_bytes(piece: object, what: str) -> None:
    if isinstance(piece, str):
        raise InvalidTypeError(f"the data for key {what!r} is a text stream; open it in binary mode ('rb')")
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise InvalidTypeError(f"the stream for key {what!r} gave {type(piece).__name__} and not bytes")


def encode_metadata(metadata: Any) -> str:
    """Return metadata as JSON text.

    Parameters
    ----------
    metadata : dict
        Text keys; values that JSON can carry.

    Returns
    -------
    str
        JSON, all characters as they are.

    Raises
    ------
    InvalidTypeError, InvalidInputError
        For what JSON cannot carry; its path is named.
    """
    if type(metadata) is not dict and not isinstance(metadata, Mapping):
        raise InvalidTypeError(f"metadata is a dict with text keys, not {metadata!r:.80}")
    for name, value in metadata.items():
        if type(name) is not str or type(value) not in _LEAVES or (type(value) is float and value - value):
            _check(metadata, "metadata", 0)
            break
    try:
        return _encode(metadata).decode()
    except UnicodeEncodeError as error:
        where = _where(metadata, error.object[error.start : error.end], "metadata")
        raise InvalidInputError(
            f"{where} is not valid Unicode, which JSON cannot carry; rewrite it"
        ) from None


def _check(value: object, path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidInputError(f"{path[:200]} is nested over {_DEEPEST} levels deep; flatten it")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInputError(f"{path} is {value!r}, which JSON cannot carry; leave it out or use None")
    if isinstance(value, dict) or (depth == 0 and isinstance(value, Mapping)):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise InvalidTypeError(
                    f"{path} has the key {name!r:.80}, which is not text; JSON needs text keys"
                )
            _check(inner, f"{path}[{name!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check(inner, f"{path}[{number}]", depth + 1)
    elif not isinstance(value, _LEAVES):
        raise InvalidTypeError(
            f"{path} is a {type(value).__name__}, which JSON cannot carry; convert it to text or numbers"
        )


def _where(value: object, found: str, path: str) -> str:
    inner: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    for name, each in inner:
        if found in json.dumps([name, each], ensure_ascii=False):
            return _where(each, found, f"{path}[{name!r}]")
    return ascii(path)


def decode_metadata(raw: bytes, what: str) -> tuple[dict[str, Json], str]:
    """Read the metadata file of a foreign program.

    Parameters
    ----------
    raw : bytes
        The file.
    what : str
        Its path, for the message.

    Returns
    -------
    tuple of (dict, str)
        The metadata, and the text under which it is indexed.

    Raises
    ------
    UnreadableError
        For what is not a JSON object in UTF-8.
    """
    try:
        metadata = json.loads(raw.decode())
        text = encode_metadata(metadata)
    except (ValueError, RecursionError, InvalidInputError) as error:
        raise UnreadableError(f"the metadata file {what!r} is damaged: {error}; write it anew") from error
    return metadata, text


def chosen(metadata: dict[str, Json], select: Iterable[str] | None) -> dict[str, Json]:
    """Return the fields that were asked for and are there; all without `select`."""
    if select is None:
        return metadata
    return {name: metadata[name] for name in select if name in metadata}


def wrapped(keys: Iterable[str]) -> Iterator[str]:
    """Iterate over keys, refusing a single text, whose letters would be taken for keys.

    Raises
    ------
    InvalidTypeError
        For text.
    """
    if isinstance(keys, str | bytes):
        raise InvalidTypeError(f"keys are an iterable of texts, not one text; write [{keys!r:.80}]")
    return iter(keys)
