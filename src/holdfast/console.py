"""What commands print: tables, JSON, reports, progress and errors, the same in every face.

It decides the form of an answer, never its content, and reads no environment. Answers go to standard output,
everything else (progress, hints, errors) to standard error, so that output can be piped.

>>> size(1_234_567)
'1.2 MB'
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO

from holdfast.errors import HoldfastError, InvalidInputError
from holdfast.events import ProgressEnd, ProgressEvent, ProgressStart, ProgressStep, bus
from holdfast.reports import Report

__all__ = ["failure", "fields", "following", "is_watched", "line", "note", "output", "report", "rows", "size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_LONGEST_CELL = 60
_SECONDS_BETWEEN_LINES = 5.0


def line(text: str = "", *, flush: bool = False) -> None:
    """Print one line of an answer on standard output; `flush` shows it at once, also in a pipe."""
    sys.stdout.write(f"{text}\n")
    if flush:
        sys.stdout.flush()


def output() -> BinaryIO:
    """Return standard output for an answer that is bytes; it is not for terminals.

    Raises
    ------
    InvalidInputError
        It is a terminal.
    """
    if sys.stdout.isatty():
        raise InvalidInputError("standard output is a terminal; send it to a file or a pipe, or name a file")
    return sys.stdout.buffer


def note(text: str) -> None:
    """Print one line that is not part of the answer, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def rows(items: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool = False) -> None:
    """Print a listing.

    Parameters
    ----------
    items : iterable of mapping
        One a row. With `as_json` everything in it is printed, else only `columns`.
    columns : sequence of str
        What a table shows, in this order.
    as_json : bool
        Print one JSON list instead of a table.

    Notes
    -----
    On a terminal a table with a head line; elsewhere tab-separated cells without one, for `cut` and `awk`.
    """
    if as_json:
        line(_encode(list(items)))
    elif sys.stdout.isatty():
        _table(items, columns)
    else:
        for item in items:
            line("\t".join(_cell(item.get(column)) for column in columns))


def fields(item: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print one object: a line a field, or one JSON object with `as_json`."""
    if as_json:
        line(_encode(dict(item)))
        return
    width = max((len(name) for name in item), default=0)
    for name, value in item.items():
        line(f"{name:<{width}}  {_cell(value)}")


def report(found: Report, *, as_json: bool = False) -> int:
    """Print what a check found, and return the exit code that says so.

    Parameters
    ----------
    found : Report
        The answer of a check.
    as_json : bool
        Print one JSON object.

    Returns
    -------
    int
        0 when everything is as it was written, else 1.
    """
    if as_json:
        line(_encode(found.to_dict()))
    else:
        line(_visible(str(found), keep="\n"))
    return 0 if found.ok else 1


def failure(error: BaseException) -> int:
    """Print an error in one clear line (each member of a group on its own), and return its exit code.

    Parameters
    ----------
    error : BaseException
        What a command raised.

    Returns
    -------
    int
        `exit_code` of the class; the highest of a group; 1 for an error that is not ours.
    """
    if isinstance(error, BaseExceptionGroup):
        return max(failure(member) for member in error.exceptions)
    note(f"holdfast: {_message(error)}")
    return error.exit_code if isinstance(error, HoldfastError) else 1


def size(size_bytes: float) -> str:
    """Say a size in bytes as people do, in powers of 1000."""
    for unit in _UNITS[:-1]:
        if abs(size_bytes) < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} {_UNITS[-1]}"


@contextmanager
def following(*operations: str, is_live: bool = True, in_bytes: bool = False) -> Iterator[None]:
    """Show how far operations are, with rates and estimates of their ends, while the block lasts.

    Parameters
    ----------
    *operations : str
        Those of the progress events that are shown, such as ``"index"``.
    is_live : bool, default True
        Draw bars where standard error is a terminal; elsewhere, and when False, lines: one every few seconds
        and one at the end.
    in_bytes : bool, default False
        Steps are bytes.
    """
    chosen = [name for name in operations if name]
    with _bars(in_bytes) if is_live and is_watched() else nullcontext(_Lines(in_bytes)) as shown:

        def hear(event: ProgressEvent) -> None:
            if event.operation in chosen:
                shown.hear(event)

        connection = bus.connect(ProgressEvent, hear)
        try:
            yield
        finally:
            bus.disconnect(connection)


def is_watched() -> bool:
    """Tell whether standard error is a terminal, so that somebody may see a bar."""
    return sys.stderr.isatty()


class _Lines:
    """Say in lines how far operations are."""

    def __init__(self, in_bytes: bool) -> None:
        self._written = size if in_bytes else "{:.0f}".format
        self._started: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._steps: dict[str, tuple[int, int]] = {}

    def hear(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        name = event.operation
        if isinstance(event, ProgressStart):
            self._started[name] = self._said[name] = now
            self._steps[name] = (0, event.steps)
        elif isinstance(event, ProgressStep):
            self._steps[name] = (event.step, event.steps)
            if now - self._said.setdefault(name, now) >= _SECONDS_BETWEEN_LINES:
                self._said[name] = now
                self._say(name, now)
        elif isinstance(event, ProgressEnd) and name in self._steps:
            step, steps = self._steps[name]
            if event.exit_state == "normal" and steps > step:
                # Steps are told now and then; a normal end means all of them.
                self._steps[name] = (steps, steps)
            self._say(name, now)

    def _say(self, name: str, now: float) -> None:
        step, steps = self._steps[name]
        elapsed = max(now - self._started.setdefault(name, now), 1e-9)
        whole = f" of {self._written(steps)}" if steps > step else ""
        left = f", {elapsed * (steps - step) / step:.0f} s left" if 0 < step < steps else ""
        rate = f"{self._written(step / elapsed)}/s{left}"
        note(f"{name}: {self._written(step)}{whole} in {elapsed:.1f} s ({rate})")


class _Bars:
    """Draw a bar for each operation."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def hear(self, event: ProgressEvent) -> None:
        name = event.operation
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        if isinstance(event, ProgressStart | ProgressStep):
            done = event.step if isinstance(event, ProgressStep) else 0
            total = event.steps if event.steps >= 0 else None
            self._progress.update(self._tasks[name], completed=done, total=total)
        elif isinstance(event, ProgressEnd):
            self._progress.stop_task(self._tasks[name])


@contextmanager
def _bars(in_bytes: bool) -> Iterator[_Bars]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress)


def _table(items: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for item in items:
        table.add_row(*(Text(_shortened(_cell(item.get(column)))) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    """Return one value on one line, control characters made visible: names and metadata are outside text."""
    if value is None:
        return "-"
    if isinstance(value, str):
        text = value
    elif isinstance(value, tuple) and all(isinstance(part, int) for part in value):
        text = " x ".join(map(str, value)) or "scalar"
    else:
        text = _encode(value)
    return _visible(text)


def _visible(text: str, keep: str = "") -> str:
    return "".join(char if char.isprintable() or char in keep else repr(char)[1:-1] for char in text)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _message(error: BaseException) -> str:
    """Return what an error says; only a bare KeyError would say the repr of its key."""
    plain = error.args[0] if type(error) is KeyError and error.args else error
    return _visible(str(plain)) or type(error).__name__
