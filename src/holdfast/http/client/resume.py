"""Own downloads to files: continued by ranges, hashed while hot, published only when verified.

It does not know addresses: it is given what opens the body.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from holdfast.buffers import aligned_bytes
from holdfast.errors import HashError, RangeNotSatisfiableError, TransportError
from holdfast.files import os_errors, replace, sync_file
from holdfast.hashing import Digest, MultiHasher
from holdfast.http.client.transport import Answer
from holdfast.http.limits import PIECE_BYTES
from holdfast.http.ranges import etag_of
from holdfast.http.receive import expected_digests
from holdfast.types import Durability

__all__ = ["OpenFrom", "Progress", "fetch_file", "part_of"]

OpenFrom: TypeAlias = Callable[[dict[str, str]], Answer]
Progress: TypeAlias = Callable[[int], object]

PART_SUFFIX = ".part"
_MAX_STALLS = 5
_PARTIAL = 206
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)\Z")


def part_of(target: Path) -> Path:
    """Return where a download lies before it is complete."""
    return target.with_name(target.name + PART_SUFFIX)


def fetch_file(
    open_from: OpenFrom,
    target: Path,
    *,
    digest: Digest | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    durability: Durability = "sync",
) -> Digest:
    """Download a file.

    Parameters
    ----------
    open_from : callable
        Takes header fields (``range``, ``if-range``) and gives the answer.
    target : Path
        Where it goes; an existing file there is replaced in one step.
    digest : Digest, optional
        What it must be; without one, what the server announces in ``Repr-Digest``.
    size : int, optional
        Its size, bytes.
    progress : callable, optional
        Called with the number of new bytes.
    durability : {"sync", "group", "os"}
        When the file is on the disk; "os" leaves that to the caller.

    Returns
    -------
    Digest
        Of the file.

    Raises
    ------
    HashError
        For other bytes than the digest says.
    TransportError
        When the body breaks off five times without a byte of progress.
    """
    part = part_of(target)
    download = _Download(part, digest, size, progress or (lambda count: None))
    with os_errors(part, "write"):
        try:
            download.run(open_from)
            found = download.verify(target)
            if durability != "os":
                sync_file(download.fd)
        except HashError:
            part.unlink(missing_ok=True)
            raise
        finally:
            download.close()
        replace(part, target, durability)
    return found


class _Download:
    """Be one download: its open part, what is hashed of it, and what is still to come."""

    def __init__(self, part: Path, digest: Digest | None, size: int | None, progress: Progress) -> None:
        self._digest = digest
        self._size = size
        self._progress = progress
        self._algorithm = "blake3" if digest is None else digest.algorithm
        self._announced: Digest | None = None
        with os_errors(part, "write"):
            self.fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        self._buffer = aligned_bytes(PIECE_BYTES)
        self._restart(keep=digest is not None)

    def run(self, open_from: OpenFrom) -> None:
        """Take the body, asking again from where it broke off."""
        stalls, before = 0, -1
        while stalls < _MAX_STALLS:
            stalls = 0 if self._at > before else stalls + 1
            before = self._at
            if self._attempt(open_from, is_last=stalls == _MAX_STALLS - 1):
                return
        raise TransportError("the server does not give the rest of the file; try again later")

    def _attempt(self, open_from: OpenFrom, *, is_last: bool) -> bool:
        try:
            self._take(open_from)
        except RangeNotSatisfiableError:
            self._restart(keep=False)
            return False
        except TransportError:
            if is_last:
                raise
            if self._digest is None:
                self._restart(keep=False)
            return False
        return True

    def verify(self, target: Path) -> Digest:
        """Compare what arrived with what it must be."""
        found = self._hasher.digests()[self._algorithm]
        expected = self._digest or self._announced
        if expected is not None:
            expected.check(found, f"the download of {target.name!r}")
        return found

    def close(self) -> None:
        """Close the part; it stays for the next attempt."""
        os.close(self.fd)

    def _take(self, open_from: OpenFrom) -> None:
        if self._size is not None and self._at == self._size:
            return
        with open_from(self._conditions()) as answer:
            if self._at and _start_of(answer) != self._at:
                self._restart(keep=False)
            if self._digest is None:
                self._announced = expected_digests(answer.headers).get(self._algorithm)
            while count := answer.readinto(self._buffer):
                self._keep(self._buffer[:count])
        if self._size is not None and self._at < self._size:
            raise TransportError(
                f"the download broke off after {self._at} of {self._size} bytes; run it again"
            )

    def _conditions(self) -> dict[str, str]:
        if not self._at or self._digest is None:
            return {}
        return {"range": f"bytes={self._at}-", "if-range": etag_of(self._digest)}

    def _keep(self, piece: memoryview) -> None:
        if self._size is not None and self._at + len(piece) > self._size:
            raise HashError(f"the server sends more than the {self._size} bytes that the file has")
        written = 0
        while written < len(piece):
            written += os.pwrite(self.fd, piece[written:], self._at + written)
        self._hasher.update(piece)
        self._at += len(piece)
        self._progress(len(piece))

    def _restart(self, *, keep: bool) -> None:
        """Go back to the beginning, or to the end of what an earlier attempt left."""
        self._hasher = MultiHasher([self._algorithm])
        self._at = 0
        there = os.fstat(self.fd).st_size
        if not keep or (self._size is not None and there > self._size):
            os.ftruncate(self.fd, 0)
            return
        while self._at < there:
            count = os.preadv(self.fd, [self._buffer], self._at)
            if count == 0:
                break
            self._hasher.update(self._buffer[:count])
            self._at += count


def _start_of(answer: Answer) -> int:
    match = _CONTENT_RANGE.match(answer.headers.get("content-range") or "")
    return int(match.group(1)) if match and answer.status == _PARTIAL else 0
