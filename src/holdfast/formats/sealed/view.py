"""Own the view of an entry: the rows of its base and of its log as one array, read by slices, verified.

It does not wait for writers or open paths: ``entry`` opens. A view shows the rows that were there when it
was opened and keeps its files open until it is closed.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Any

import numpy as np

from holdfast.formats.sealed.base import Base
from holdfast.formats.sealed.lazy import ArrayView
from holdfast.formats.sealed.log import Frame, LogHeader
from holdfast.formats.sealed.selection import bytes_of, fill_box
from holdfast.formats.sealed.strings import decode_strings
from holdfast.formats.sealed.tail import read_frames, read_tail
from holdfast.formats.sealed.values import give_back, give_strings

__all__ = ["SealedView", "decode_rows"]


class SealedView(ArrayView):
    """Be the verified view of a sealed entry.

    Parameters
    ----------
    base : Base
        The sealed file; closed with the view.
    log : int
        An open descriptor of its log, -1 if there is none; closed with the view.
    """

    sealed = True

    def __init__(self, base: Base, log: int = -1) -> None:
        self._base, self._log = base, log
        self._header: LogHeader | None = None
        self._frames: list[Frame] = []
        rows = base.facts.shape[0] if base.facts.shape else 0
        if log >= 0:
            self._header, tail = read_tail(log, base.what)
            self._frames, rows = tail.frames, tail.rows
        self.shape = (rows, *base.facts.shape[1:]) if base.facts.shape else ()
        self.dtype = np.dtype(object) if base.is_text else base.dtype

    @property
    def base(self) -> Base:
        """The sealed file."""
        return self._base

    @property
    def frames(self) -> list[Frame]:
        """The appends that are not in the base yet."""
        return self._frames

    @property
    def origin(self) -> str:
        """The uid under which these rows were first published; writing anew changes it, folding does not."""
        return self._base.facts.origin

    def close(self) -> None:
        """Close the files; a second time does nothing."""
        self._base.close()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def __del__(self) -> None:
        if getattr(self, "_log", -1) >= 0:
            os.close(self._log)

    def read(self) -> Any:
        """Return all values as they were given when they were written; see `ArrayView.read`."""
        facts = self._base.facts
        array = np.asarray(self)
        if self._base.is_text:
            return give_strings(array.ravel().tolist(), self.shape, facts.give)
        return give_back(array, facts.give)

    def verify(self) -> None:
        """Read every byte of base and log and verify it.

        Raises
        ------
        HashError
            When one is not what was written.
        """
        self._base.verify()
        for start in range(0, len(self._frames), 256):
            self._payloads(self._frames[start : start + 256])

    def _take(self, ranges: list[range]) -> np.ndarray[Any, Any]:
        out = np.empty([len(each) for each in ranges], self._base.dtype if not self._base.is_text else object)
        if not self._frames:
            self._take_base(out, ranges)
            return out
        base_rows = self._base.facts.shape[0]
        count = _below(ranges[0], base_rows)
        if count:
            self._take_base(out[:count], [ranges[0][:count], *ranges[1:]])
        if count < len(ranges[0]):
            self._take_log(out[count:], ranges[0][count:], ranges[1:])
        return out

    def _take_base(self, out: np.ndarray[Any, Any], ranges: list[range]) -> None:
        base = self._base
        if not base.is_text:
            _fill(out, ranges, base)
            return
        references = np.empty(out.shape, base.dtype)
        _fill(references, ranges, base)
        flat = np.empty(out.size, object)
        flat[:] = decode_strings(references.reshape(-1), base.read)
        out[...] = flat.reshape(out.shape)

    def _take_log(self, out: np.ndarray[Any, Any], rows: range, rest: list[range]) -> None:
        index = (slice(None, None, rows.step), *(slice(each.start, each.stop, each.step) for each in rest))
        if rows.step == 1 and all(len(each) == size for each, size in zip(rest, self.shape[1:], strict=True)):
            self._log_rows(rows[0], rows[-1] + 1, out)
            return
        whole = np.empty((rows[-1] + 1 - rows[0], *self.shape[1:]), out.dtype)
        self._log_rows(rows[0], rows[-1] + 1, whole)
        out[...] = whole[index]

    def _log_rows(self, start: int, stop: int, out: np.ndarray[Any, Any]) -> None:
        """Fill ``out`` with consecutive rows of the log."""
        first = bisect_right(self._frames, start, key=lambda frame: frame.first_row) - 1
        last = bisect_right(self._frames, stop - 1, key=lambda frame: frame.first_row)
        frames = self._frames[first:last]
        spans = frames[0].first_row == start and frames[-1].first_row + frames[-1].n_rows == stop
        if spans and not self._base.is_text:
            assert self._header is not None
            read_frames(self._log, self._header, frames, bytes_of(out), self._base.what)
            return
        skipped = start - frames[0].first_row
        rows = decode_rows(
            self._payloads(frames), frames, self._base.dtype, self.shape[1:], is_text=self._base.is_text
        )
        out[...] = rows[skipped : skipped + stop - start]

    def _payloads(self, frames: list[Frame]) -> memoryview:
        assert self._header is not None
        out = np.empty(sum(frame.size for frame in frames), np.uint8).data
        read_frames(self._log, self._header, frames, out, self._base.what)
        return out


def _fill(out: np.ndarray[Any, Any], ranges: list[range], base: Base) -> None:
    if not ranges:
        base.read_into(base.facts.offset, bytes_of(out))
    else:
        fill_box(out, ranges, base.facts.shape, base.facts.offset, base.read_into)


def _below(rows: range, limit: int) -> int:
    """Return how many of rising rows are below a limit."""
    return len(range(rows.start, min(rows.stop, limit), rows.step)) if rows.start < limit else 0


def decode_rows(
    payloads: memoryview,
    frames: list[Frame],
    dtype: np.dtype[Any],
    row_shape: tuple[int, ...],
    *,
    is_text: bool,
) -> np.ndarray[Any, Any]:
    """Return the rows of consecutive payloads.

    Parameters
    ----------
    payloads : memoryview of bytes
        One behind the other.
    frames : list of Frame
        What they hold.
    dtype : dtype
        The type of the elements; not looked at for strings.
    row_shape : tuple of int
        The shape of one row.
    is_text : bool
        The rows are strings: their lengths, then UTF-8.

    Returns
    -------
    ndarray, shape (n_rows, *row_shape)
        The rows.
    """
    n_rows = sum(frame.n_rows for frame in frames)
    if not is_text:
        return np.frombuffer(payloads, dtype).reshape(n_rows, *row_shape)
    texts: list[str] = []
    begin = 0
    for frame in frames:
        texts += _texts(
            payloads[begin : begin + frame.size], frame.n_rows * int(np.prod(row_shape, dtype=int))
        )
        begin += frame.size
    flat = np.empty(len(texts), object)
    flat[:] = texts
    return flat.reshape(n_rows, *row_shape)


def _texts(payload: memoryview, count: int) -> list[str]:
    lengths = np.frombuffer(payload, "<u4", count)
    ends = (np.cumsum(lengths, dtype=np.int64) + 4 * count).tolist()
    starts = [4 * count, *ends[:-1]] if count else []
    return [str(payload[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]
