"""Own the sending of stored files whose block digests are known: no byte leaves unverified.

It does not keep digests: it is given them.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HashError
from holdfast.hashing import BLOCK_BYTES, DIGEST_BYTES, BlockDigests
from holdfast.http.limits import PIECE_BYTES
from holdfast.http.pieces import read_cold
from holdfast.http.reply import FileRange

__all__ = ["StoredPieces", "verified_pieces", "widened"]


def widened(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the smallest range of whole blocks around a range.

    Parameters
    ----------
    start, stop : int
        The range, bytes.
    size : int
        The size of the file, bytes.

    Returns
    -------
    (int, int)
        The first byte, at the start of a block, and the one after the last.
    """
    first = start - start % BLOCK_BYTES
    last = -(-stop // BLOCK_BYTES) * BLOCK_BYTES
    return first, min(last, size)


def verified_pieces(span: FileRange, blocks: BlockDigests, what: str) -> Iterator[memoryview]:
    """Give the bytes of a range, each block verified before any of it is given.

    Parameters
    ----------
    span : FileRange
        An open range of a stored file.
    blocks : BlockDigests
        Of the whole file.
    what : str
        The object, for messages.

    Yields
    ------
    memoryview
        At most 1 MiB, in fresh buffers.

    Raises
    ------
    HashError
        For a damaged block, and for a file that is longer or shorter than its list.
    ChangedError
        For a file that became shorter.
    """
    if (
        span.stop > blocks.size_bytes
        or len(blocks.blocks) != -(-blocks.size_bytes // BLOCK_BYTES) * DIGEST_BYTES
    ):
        raise HashError(f"{what} does not fit the digests that are recorded for it; index it again")
    first, last = widened(span.start, span.stop, blocks.size_bytes)
    for at in range(first, last, PIECE_BYTES):
        piece = read_cold(span, at, min(PIECE_BYTES, last - at))
        for offset in range(0, len(piece), BLOCK_BYTES):
            blocks.check((at + offset) // BLOCK_BYTES, piece[offset : offset + BLOCK_BYTES], what)
        yield piece[max(0, span.start - at) : max(0, span.stop - at)]


class StoredPieces:
    """Be a body of verified pieces that closes its file when it is done or given up.

    Parameters
    ----------
    span : FileRange
        The open range.
    blocks : BlockDigests
        Of the whole file.
    what : str
        The object, for messages.
    """

    def __init__(self, span: FileRange, blocks: BlockDigests, what: str) -> None:
        self._span = span
        self._pieces = verified_pieces(span, blocks, what)

    def __iter__(self) -> Iterator[memoryview]:
        return self._pieces

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()  # type: ignore[attr-defined]  # it is a generator
        self._span.close()
