"""Codecs of Zarr chunks: bytes in, bytes out, never more of them than a chunk can hold.

Owns decompression and its bounds; what bytes mean is `chunks`.

Notes
-----
Each decoder looks at what the compressed bytes claim before memory is taken. What needs numcodecs imports it
when it is first used. Codecs that run code (pickle) are not in the list, and so are refused.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import MissingDependencyError, UnreadableError
from holdfast.formats.zstd import frame_size

__all__ = ["ByteCodec", "byte_codec", "is_filter"]

# What a frame that does not say its size may take while it is decoded.
_LOOSE_BYTES = 64 << 20
_FILTERS = frozenset({"shuffle", "delta", "fixedscaleoffset", "astype", "quantize", "bitround", "packbits"})
_KEYS_OF_TYPES = ("dtype", "astype", "encode_dtype", "decode_dtype")


@dataclass(frozen=True, slots=True)
class ByteCodec:
    """One step from stored bytes to those of a chunk.

    Parameters
    ----------
    name : str
        As the metadata has it.
    options : mapping
        Its configuration.
    """

    name: str
    options: Mapping[str, Any]

    def decode(self, data: bytes, limit: int) -> bytes:
        """Return the decoded bytes.

        Parameters
        ----------
        data : bytes
            As stored.
        limit : int
            How many bytes there may be at most.

        Raises
        ------
        UnreadableError
            They are damaged, or would be more.
        MissingDependencyError
            The library that knows the codec is not installed.
        """
        broken = (
            ValueError,
            TypeError,
            LookupError,
            RuntimeError,
            EOFError,
            OSError,
            MemoryError,
            struct.error,
        )
        try:
            return _DECODERS.get(self.name, _filtered)(data, limit, self.options)
        except MissingDependencyError:
            raise
        except (*broken, zlib.error, lzma.LZMAError) as error:
            raise UnreadableError(f"it does not decode ({self.name}): {str(error)[:200]}") from error


def byte_codec(name: str, options: Mapping[str, Any]) -> ByteCodec:
    """Return a codec by the name it has in metadata.

    Raises
    ------
    UnreadableError
        It is none of those that are read.
    """
    name = name.removeprefix("numcodecs.")
    if name not in _DECODERS and name not in _FILTERS:
        reason = ", which runs code" if "pickle" in name else ""
        known = ", ".join(sorted({*_DECODERS, *_FILTERS}))
        raise UnreadableError(f"the codec {name[:60]!r}{reason} is not read; those that are: {known}")
    for key in _KEYS_OF_TYPES:
        if key in options and np.dtype(options[key]).hasobject:
            raise UnreadableError(f"the codec {name!r} makes Python objects, which are never loaded")
    return ByteCodec(name, {"id": name, **options})


def is_filter(name: str) -> bool:
    """Whether a codec changes numbers rather than compressing bytes."""
    return name.removeprefix("numcodecs.") in _FILTERS


def _numcodecs() -> Any:
    try:
        import numcodecs
        import numcodecs.registry
    except ImportError as error:
        raise MissingDependencyError(
            "this codec of Zarr needs numcodecs: pip install 'holdfast[zarr]'"
        ) from error
    return numcodecs


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"it would become {size} bytes where at most {limit} can be right")


def _inflated(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    """Decompress gzip, one member behind the other, or zlib."""
    out = bytearray()
    while data:
        stream = zlib.decompressobj(47)
        out += stream.decompress(data, limit + 1 - len(out))
        _check(len(out), limit)
        if not stream.eof:
            raise EOFError("the compressed data ends early")
        data = stream.unused_data.lstrip(b"\0")
    return bytes(out)


def _with_stream(make: Callable[[], Any]) -> Callable[[bytes, int, Mapping[str, Any]], bytes]:
    def decode(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
        stream = make()
        out: bytes = stream.decompress(data, limit + 1)
        _check(len(out), limit)
        if not stream.eof:
            raise EOFError("the compressed data ends early")
        return out

    return decode


def _lzma(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    form, filters = options.get("format", lzma.FORMAT_XZ), options.get("filters")
    raw = filters if form == lzma.FORMAT_RAW else None
    memory = None if raw is not None else max(4 * limit, 256 << 20)
    return _with_stream(lambda: lzma.LZMADecompressor(form, memory, raw))(data, limit, options)


def _blosc(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    if len(data) < 16:
        raise EOFError("the compressed data ends early")
    size, _, stored = struct.unpack_from("<III", data, 4)
    _check(size, limit)
    if stored != len(data):
        raise EOFError(f"the compressed data has {len(data)} bytes where it says {stored}")
    return bytes(_numcodecs().Blosc().decode(data))


def _zstd(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    size, is_exact = frame_size(data)
    _check(size, limit if is_exact else max(4 * limit, _LOOSE_BYTES))
    out = bytes(_numcodecs().Zstd().decode(data))
    _check(len(out), limit)
    return out


def _lz4(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    _check(struct.unpack_from("<I", data)[0], limit)
    return bytes(_numcodecs().LZ4().decode(data))


def _crc32c(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    """Check and take off the checksum that Zarr 3 puts behind, numcodecs of Zarr 2 in front."""
    try:
        import google_crc32c
    except ImportError as error:
        raise MissingDependencyError("crc32c needs google-crc32c: pip install 'holdfast[zarr]'") from error
    is_first = options.get("location", "end") == "start"
    body, check = (data[4:], data[:4]) if is_first else (data[:-4], data[-4:])
    if google_crc32c.value(body) != int.from_bytes(check, "little") or len(data) < 4:
        raise ValueError("its checksum is another: it is damaged")
    return body


def _crc32(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    return _checked(data, options, zlib.crc32)


def _adler32(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    return _checked(data, options, zlib.adler32)


def _checked(data: bytes, options: Mapping[str, Any], checksum: Callable[[bytes], int]) -> bytes:
    is_last = options.get("location", "start") == "end"
    body, check = (data[:-4], data[-4:]) if is_last else (data[4:], data[:4])
    if len(data) < 4 or checksum(body) != int.from_bytes(check, "little"):
        raise ValueError("its checksum is another: it is damaged")
    return body


def _fletcher32(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    return bytes(_numcodecs().Fletcher32().decode(data))


def _filtered(data: bytes, limit: int, options: Mapping[str, Any]) -> bytes:
    """Undo a filter of numcodecs, which changes sizes by known factors only."""
    codec = _numcodecs().registry.get_codec(dict(options))
    out = codec.decode(data)
    return np.ascontiguousarray(out).tobytes() if isinstance(out, np.ndarray) else bytes(out)


_DECODERS: dict[str, Callable[[bytes, int, Mapping[str, Any]], bytes]] = {
    "gzip": _inflated,
    "zlib": _inflated,
    "bz2": _with_stream(bz2.BZ2Decompressor),
    "lzma": _lzma,
    "blosc": _blosc,
    "zstd": _zstd,
    "lz4": _lz4,
    "crc32c": _crc32c,
    "crc32": _crc32,
    "adler32": _adler32,
    "fletcher32": _fletcher32,
}
