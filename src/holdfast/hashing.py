"""Own digests: their written form, several at once, and hashing while copying.

It does not decide where digests are kept.

>>> from holdfast.hashing import Digest, hash_bytes
>>> str(hash_bytes(b"abc"))
'blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85'
>>> Digest.parse("MD5:900150983CD24FB0D6963F7D28E17F72").algorithm
'md5'
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import BinaryIO, Protocol

from blake3 import blake3

from holdfast.buffers import aligned_bytes
from holdfast.errors import HashError, InvalidInputError
from holdfast.types import Buffer, PathLike

__all__ = [
    "ALGORITHMS",
    "BLOCK_BYTES",
    "DIGEST_BYTES",
    "BlockDigests",
    "Digest",
    "Hasher",
    "MultiHasher",
    "copy_hashed",
    "hash_all",
    "hash_blocks",
    "hash_bytes",
    "hash_listing",
    "hash_file",
    "hash_stream",
]

BLOCK_BYTES = 256 * 1024
"""The size of the blocks of every list of block digests."""

DIGEST_BYTES = 32
"""The size of one blake3 or sha256 digest."""

PIECE_BYTES = 4 * 1024 * 1024
_FIRST_BYTES = 256 * 1024
# blake3 gains from threads only above this; below, starting them costs more than it saves.
_THREADED_BYTES = 128 * 1024


class Hasher(Protocol):
    """Take bytes and give a digest: what `hashlib` and `blake3` objects do."""

    def update(self, data: Buffer, /) -> object:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""
        ...

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal."""
        ...


def _md5(data: Buffer = b"") -> Hasher:
    # The originals' manifests need it; it protects nothing here.
    return hashlib.md5(data, usedforsecurity=False)


_MAKERS: dict[str, Callable[..., Hasher]] = {
    "blake3": blake3,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "sha1": lambda data=b"": hashlib.sha1(data, usedforsecurity=False),
    "md5": _md5,
}
_SIZES = {"blake3": 32, "sha256": 32, "sha512": 64, "sha1": 20, "md5": 16}
ALGORITHMS: tuple[str, ...] = tuple(_MAKERS)
"""The digest algorithms that are known, the default first."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Name bytes by their digest, written ``algorithm:hex``.

    Parameters
    ----------
    algorithm : str
        One of `ALGORITHMS`.
    hex : str
        The digest in lower-case hexadecimal.
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str, default: str = "") -> Digest:
        """Read a digest from text, in any case, bare or with its algorithm.

        Parameters
        ----------
        text : str
            ``blake3:…``, or bare hexadecimal.
        default : str, default ""
            The algorithm of bare hexadecimal; without it a bare digest is taken by its length
            (32 digits md5, 40 sha1, 128 sha512) and 64 digits are refused as ambiguous.

        Returns
        -------
        Digest
            The digest.

        Raises
        ------
        InvalidInputError
            For an unknown algorithm, a wrong length or characters that are not hexadecimal.
        """
        algorithm, colon, digits = text.strip().lower().rpartition(":")
        if not colon:
            algorithm = default or _algorithm_of_length(digits, text)
        if algorithm not in _MAKERS:
            raise InvalidInputError(
                f"unknown digest algorithm {algorithm!r}; use one of {', '.join(ALGORITHMS)}"
            )
        if len(digits) != 2 * _SIZES[algorithm] or set(digits) - set("0123456789abcdef"):
            raise InvalidInputError(
                f"{text!r} is not a {algorithm} digest: {2 * _SIZES[algorithm]} hexadecimal digits are needed"
            )
        return cls(algorithm, digits)

    @property
    def raw(self) -> bytes:
        """The digest as bytes."""
        return bytes.fromhex(self.hex)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    def check(self, found: Digest, what: str) -> None:
        """Compare with a digest of the same algorithm in constant time.

        Parameters
        ----------
        found : Digest
            What was computed.
        what : str
            The object, for the message.

        Raises
        ------
        HashError
            When they differ; both digests are named.
        """
        if self.algorithm != found.algorithm or not hmac.compare_digest(self.hex, found.hex):
            raise HashError(
                f"{what} is damaged: expected {self}, found {found}; restore it from another copy",
                expected=str(self),
                found=str(found),
            )


def _algorithm_of_length(digits: str, text: str) -> str:
    lengths = {32: "md5", 40: "sha1", 128: "sha512"}
    if len(digits) not in lengths:
        raise InvalidInputError(f"{text!r} does not say its algorithm; write it as 'sha256:…' or 'blake3:…'")
    return lengths[len(digits)]


class MultiHasher:
    """Compute several digests in one pass.

    Parameters
    ----------
    algorithms : iterable of str
        Names from `ALGORITHMS`.

    Raises
    ------
    InvalidInputError
        For an unknown algorithm.
    """

    __slots__ = ("_hashers", "size_bytes")

    def __init__(self, algorithms: Iterable[str] = ("blake3",)) -> None:
        self._hashers: dict[str, Hasher] = {}
        self.size_bytes = 0
        for name in algorithms:
            if name not in _MAKERS:
                raise InvalidInputError(
                    f"unknown digest algorithm {name!r}; use one of {', '.join(ALGORITHMS)}"
                )
            self._hashers[name] = _MAKERS[name]()
        if list(self._hashers) == ["blake3"]:  # alone, it gains from all cores
            self._hashers["blake3"] = blake3(max_threads=blake3.AUTO)

    def update(self, data: Buffer) -> None:
        """Take more bytes."""
        self.size_bytes += len(data)
        for hasher in self._hashers.values():
            hasher.update(data)

    @property
    def width(self) -> int:
        """How many algorithms there are."""
        return len(self._hashers)

    def start(self, pool: Executor, data: Buffer) -> list[Future[object]]:
        """Take more bytes, each algorithm in its own task.

        Parameters
        ----------
        pool : Executor
            Runs the tasks.
        data : bytes-like
            Not to be changed before all tasks are done.

        Returns
        -------
        list of Future
            To be waited for before the next `start`, `update` or `digests`.
        """
        self.size_bytes += len(data)
        return [pool.submit(hasher.update, data) for hasher in self._hashers.values()]

    def digests(self) -> dict[str, Digest]:
        """Return the digests so far by algorithm."""
        return {name: Digest(name, hasher.hexdigest()) for name, hasher in self._hashers.items()}


@dataclass(frozen=True, slots=True)
class BlockDigests:
    """Hold the blake3 digest of a file and of each of its blocks.

    Parameters
    ----------
    whole : Digest
        What ``b3sum`` prints for the file.
    size_bytes : int
        The size of the file.
    blocks : bytes
        One 32-byte digest for each block of `BLOCK_BYTES`; the last block may be shorter.
    """

    whole: Digest
    size_bytes: int
    blocks: bytes

    def check(self, index: int, data: Buffer, what: str) -> None:
        """Verify one whole block.

        Parameters
        ----------
        index : int
            The number of the block.
        data : bytes-like
            Its bytes.
        what : str
            The object, for the message.

        Raises
        ------
        HashError
            When the block is not what was recorded.
        """
        expected = self.blocks[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        found = blake3(data).digest()
        if not hmac.compare_digest(expected, found):
            raise HashError(
                f"{what} is damaged in block {index} (bytes from {index * BLOCK_BYTES}): expected "
                f"blake3:{expected.hex()}, found blake3:{found.hex()}; restore it from another copy",
                expected=f"blake3:{expected.hex()}",
                found=f"blake3:{found.hex()}",
                block=index,
            )


def hash_bytes(data: Buffer, algorithm: str = "blake3") -> Digest:
    """Return the digest of bytes.

    Parameters
    ----------
    data : bytes-like
        Contiguous bytes.
    algorithm : str, default "blake3"
        One of `ALGORITHMS`.

    Returns
    -------
    Digest
        The digest.
    """
    if algorithm == "blake3":
        threads = blake3.AUTO if len(data) > _THREADED_BYTES else 1
        return Digest("blake3", blake3(data, max_threads=threads).hexdigest())
    hasher = MultiHasher([algorithm])
    hasher.update(data)
    return hasher.digests()[algorithm]


def hash_listing(files: Iterable[tuple[str, str]]) -> Digest:
    r"""Return the digest of a directory: that of what ``b3sum`` prints of its files, sorted by name.

    Parameters
    ----------
    files : iterable of (str, str)
        Names relative to the directory, and their blake3 digests.

    Returns
    -------
    Digest
        The same for any order of the files.

    Examples
    --------
    >>> hash_listing([("a/b", "blake3:" + 64 * "0")]) == hash_bytes(64 * b"0" + b"  a/b\n")
    True
    """
    lines = sorted((name.encode(), digest.partition(":")[2]) for name, digest in files)
    return hash_bytes(b"".join(digest.encode() + b"  " + name + b"\n" for name, digest in lines))


def hash_all(data: Buffer, algorithms: Iterable[str]) -> dict[str, Digest]:
    """Return several digests of bytes that are small, without any thread.

    Parameters
    ----------
    data : bytes-like
        Contiguous bytes.
    algorithms : iterable of str
        Names from `ALGORITHMS`.

    Returns
    -------
    dict of str to Digest
        The digests by algorithm.
    """
    return {name: Digest(name, _MAKERS[name](data).hexdigest()) for name in algorithms}


def hash_stream(
    source: BinaryIO,
    algorithms: Sequence[str] = ("blake3",),
    progress: Callable[[int], object] | None = None,
) -> dict[str, Digest]:
    """Return digests of what is left in a binary stream, in bounded memory.

    Parameters
    ----------
    source : binary file
        Read from its present position to its end.
    algorithms : sequence of str, default ("blake3",)
        Names from `ALGORITHMS`.
    progress : callable, optional
        Called with the number of bytes read so far after each piece.

    Returns
    -------
    dict of str to Digest
        The digests by algorithm.
    """
    return copy_hashed(source, _drop, algorithms, progress).digests()


def _drop(piece: memoryview) -> None:
    """Take a piece that is only hashed."""


def hash_file(path: PathLike, algorithms: Sequence[str] = ("blake3",)) -> dict[str, Digest]:
    """Return digests of a file, all in one pass.

    Parameters
    ----------
    path : path-like
        The file.
    algorithms : sequence of str, default ("blake3",)
        Names from `ALGORITHMS`.

    Returns
    -------
    dict of str to Digest
        The digests by algorithm.
    """
    with open(path, "rb", buffering=0) as source:
        return hash_stream(source, algorithms)


def hash_blocks(source: BinaryIO) -> BlockDigests:
    """Return the digest of a binary stream and of each of its blocks, in one pass.

    Parameters
    ----------
    source : binary file
        Read from its present position to its end.

    Returns
    -------
    BlockDigests
        The digests.
    """
    whole, blocks, size = blake3(), bytearray(), 0
    # A large buffer costs more than hashing a small file.
    buffer = aligned_bytes(_FIRST_BYTES)
    while count := _fill(source, buffer):
        for start in range(0, count, BLOCK_BYTES):
            blocks += blake3(buffer[start : min(start + BLOCK_BYTES, count)]).digest()
        whole.update(buffer[:count])
        if size == 0 and count == len(buffer):
            buffer = aligned_bytes(PIECE_BYTES)
        size += count
    return BlockDigests(Digest("blake3", whole.hexdigest()), size, bytes(blocks))


def copy_hashed(
    source: BinaryIO,
    write: Callable[[memoryview], object],
    algorithms: Sequence[str] = ("blake3",),
    progress: Callable[[int], object] | None = None,
) -> MultiHasher:
    """Copy a stream while hashing it, in one pass and bounded memory.

    Parameters
    ----------
    source : binary file
        Read from its present position to its end.
    write : callable
        Takes each piece; the piece is valid only during the call.
    algorithms : sequence of str, default ("blake3",)
        Names from `ALGORITHMS`.
    progress : callable, optional
        Called with the number of bytes copied so far after each piece.

    Returns
    -------
    MultiHasher
        Carries the digests and the size in bytes.
    """
    hasher = MultiHasher(algorithms)
    buffer = aligned_bytes(_FIRST_BYTES)
    while count := _fill(source, buffer):
        hasher.update(buffer[:count])
        write(buffer[:count])
        if progress is not None:
            progress(hasher.size_bytes)
        if count == len(buffer):
            _copy_side_by_side(source, write, hasher, progress)
    return hasher


def _copy_side_by_side(
    source: BinaryIO,
    write: Callable[[memoryview], object],
    hasher: MultiHasher,
    progress: Callable[[int], object] | None,
) -> None:
    """Copy the rest: while one piece is hashed, each algorithm in a thread of its own, the next is read."""
    buffers = cycle([aligned_bytes(PIECE_BYTES) for _ in range(2)])
    with ThreadPoolExecutor(hasher.width) as pool:
        running: list[Future[object]] = []
        for buffer in buffers:
            count = _fill(source, buffer)
            for done in running:
                done.result()
            if not count:
                return
            piece = buffer[:count]
            running = hasher.start(pool, piece)
            write(piece)
            if progress is not None:
                progress(hasher.size_bytes)


def _read_into(source: BinaryIO, buffer: memoryview) -> int:
    """Read at most one piece, also from streams that only know ``read``."""
    readinto = getattr(source, "readinto", None)
    if readinto is not None:
        return readinto(buffer) or 0
    data = source.read(len(buffer))
    if not isinstance(data, bytes):
        raise InvalidInputError("the source gives text; open it in binary mode ('rb')")
    buffer[: len(data)] = data
    return len(data)


def _fill(source: BinaryIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the stream ends: blocks must not depend on short reads."""
    filled = 0
    while filled < len(buffer) and (count := _read_into(source, buffer[filled:])):
        filled += count
    return filled
