"""Own what a store gives back for a key: data, metadata and facts, and the streams to read them from.

Where bytes come from is a `Reader`; each back end has one. Nothing is written here.

>>> value = held_value(b"abcdef", '{"n":1}', modified=0.0)
>>> value.range(1, 3).read(), value.metadata, value.size
(b'bc', {'n': 1}, 6)
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol

import msgspec

from holdfast.buffers import aligned_bytes
from holdfast.errors import ForbiddenError, NegativeOffsetError
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest, hash_bytes
from holdfast.types import Buffer, Json

__all__ = ["FileReader", "HeldReader", "Reader", "Value", "ValueStream", "decoded", "held_value"]

decoded: Callable[[str], dict[str, Json]] = msgspec.json.decode
"""Return the metadata that a store's own JSON text holds."""


class Reader(Protocol):
    """Give the bytes of one version of a value, whatever happens to its key meanwhile."""

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a view from an offset; less than its length only at the end."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class HeldReader(msgspec.Struct, eq=False, gc=False):
    """Read bytes in memory.

    Parameters
    ----------
    data : bytes-like
        The bytes.
    """

    data: Buffer

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a view from an offset; less than its length only at the end."""
        piece = memoryview(self.data)[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Do nothing: memory is let go with the object."""


class FileReader:
    """Read an open file, which stays readable when its name is given to another file."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a view from an offset; less than its length only at the end."""
        done = 0
        while done < len(view) and (count := os.preadv(self._descriptor, [view[done:]], offset + done)):
            done += count
        return done

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class ValueStream(io.RawIOBase):
    """Read a value or a part of it; with digests, each block is verified before any of it is given out.

    Parameters
    ----------
    reader : Reader
        Where the bytes are.
    start, stop : int
        The part.
    digests : BlockDigests, optional
        Of the whole value.
    what : str
        The value, for messages.

    Raises
    ------
    HashError
        From every method that reads, for a damaged block.
    """

    def __init__(
        self, reader: Reader, start: int, stop: int, digests: BlockDigests | None, what: str
    ) -> None:
        super().__init__()
        self._reader, self._start, self._stop = reader, start, stop
        self._digests, self._what = digests, what
        self._at = start
        self._block, self._block_number = memoryview(b""), -1

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset of the part and return it."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._stop}[whence]
        if base + offset < self._start:
            raise NegativeOffsetError(f"offset {offset} lies before the start of {self._what}")
        self._at = base + offset
        return self._at - self._start

    def tell(self) -> int:
        """Return the offset in the part."""
        return self._at - self._start

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer and return how many bytes it got; 0 at the end."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, self._stop - self._at)]
        done = 0
        while done < len(view) and (count := self._fill(view[done:])):
            done += count
            self._at += count
        return done

    def readall(self) -> bytes:
        """Return all that is left."""
        buffer = bytearray(max(0, self._stop - self._at))
        return bytes(memoryview(buffer)[: self.readinto(buffer)])

    def _fill(self, view: memoryview) -> int:
        if self._digests is None:
            return self._reader.read_into(view, self._at)
        number, inside = divmod(self._at, BLOCK_BYTES)
        length = min(BLOCK_BYTES, self._digests.size_bytes - number * BLOCK_BYTES)
        if inside == 0 and len(view) >= length:
            self._verified(number, view[:length])
            return length
        if number != self._block_number:
            self._block = self._verified(number, aligned_bytes(length))
            self._block_number = number
        piece = self._block[inside : inside + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def _verified(self, number: int, view: memoryview) -> memoryview:
        assert self._digests is not None
        count = self._reader.read_into(view, number * BLOCK_BYTES)
        self._digests.check(number, view[:count], self._what)
        return view


class Value(msgspec.Struct, eq=False, gc=False):
    """Hold what a store has under a key, as one consistent pair.

    Unpacks as the pair ``data, metadata``; ``with value as stream`` closes the stream.

    Parameters
    ----------
    key : str
        The key.
    text : str
        The metadata as JSON text.
    size : int
        The size of the data in bytes.
    modified : float
        When data or metadata were changed last, seconds since the epoch UTC.
    created : float or None
        When the key was first set, seconds since the epoch UTC; None where the store does not know.
    verified : bool
        Whether every byte given out was compared with the digest that was recorded at writing.
    raw_digest : bytes or None
        The recorded blake3 digest of the data.
    reader : Reader
        Where the bytes are.
    digests : BlockDigests or None
        What they are compared with as they are read; None for bytes that were compared already.
    """

    key: str
    text: str
    size: int
    modified: float
    created: float | None
    verified: bool
    raw_digest: bytes | None
    reader: Reader
    digests: BlockDigests | None = None
    _stream: Any = None

    @property
    def data(self) -> Any:
        """The data as one binary stream, the same at each access."""
        return self._stream or self._opened()

    def _opened(self) -> Any:
        self._stream = self.range()
        return self._stream

    @property
    def digest(self) -> Digest | None:
        """The recorded digest of the data; None where there is none."""
        return None if self.raw_digest is None else Digest("blake3", self.raw_digest.hex())

    @property
    def metadata(self) -> dict[str, Json]:
        """The metadata, a new dict at each access."""
        return decoded(self.text)

    @property
    def permissions(self) -> dict[str, Json]:
        """Raise an error: these stores have API keys instead of permissions of single keys."""
        raise ForbiddenError(f"key {self.key!r} has no permissions of its own; access is by API key")

    def range(self, start: int | None = None, end: int | None = None) -> Any:
        """Return a part of the data as a binary stream.

        Parameters
        ----------
        start, end : int, optional
            From `start` up to but without `end`, in bytes; beyond the end nothing is given.

        Returns
        -------
        binary file-like
            Independent of `data`.

        Raises
        ------
        NegativeOffsetError
            For a negative start or end.
        """
        first = 0 if start is None else start
        last = self.size if end is None else min(end, self.size)
        if first < 0 or last < 0:
            raise NegativeOffsetError(
                f"range({start}, {end}) of {self.key!r} is negative; count from the start"
            )
        if type(self.reader) is HeldReader and self.digests is None:
            return io.BytesIO(
                self.reader.data[first:last] if (first, last) != (0, self.size) else self.reader.data
            )
        stop = max(first, last)
        return ValueStream(self.reader, min(first, stop), stop, self.digests, f"the data of key {self.key!r}")

    def iterdata(
        self, buffer_size: int = 1048576, progress: Callable[..., object] | None = None
    ) -> Iterator[bytes]:
        """Iterate over `data`.

        Parameters
        ----------
        buffer_size : int
            Bytes at a time.
        progress : callable, optional
            Called with ``step=`` the bytes so far after each piece.

        Yields
        ------
        bytes
            Never empty.
        """
        done = 0
        while piece := self.data.read(buffer_size):
            done += len(piece)
            if progress is not None:
                progress(step=done)
            yield piece

    def with_text(self, text: str) -> Value:
        """Return the same data with other metadata."""
        return msgspec.structs.replace(self, text=text, _stream=None)

    def __enter__(self) -> Any:
        return self.data

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.data.close()

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return (self.data, self.metadata)[index]

    def __iter__(self) -> Iterator[Any]:
        yield self.data
        yield self.metadata


def held_value(data: bytes, text: str, modified: float, created: float | None = None, key: str = "") -> Value:
    """Return a value of bytes in memory.

    Parameters
    ----------
    data : bytes
        The data.
    text : str
        The metadata as JSON text.
    modified, created : float
        Seconds since the epoch UTC.
    key : str
        The key.
    """
    return Value(key, text, len(data), modified, created, True, hash_bytes(data).raw, HeldReader(data))
