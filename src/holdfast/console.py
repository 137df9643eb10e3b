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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.reports import Report

__all__ = ["failure", "fields", "line", "note", "progress", "report", "rows", "size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_LONGEST_CELL = 60


def line(text: str = "", *, flush: bool = False) -> None:
    """Print one line of an answer on standard output; `flush` shows it at once, also in a pipe."""
    sys.stdout.write(f"{text}\n")
    if flush:
        sys.stdout.flush()


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
def progress(title: str, total_bytes: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show how far a transfer is, with its rate and an estimate of the end.

    Parameters
    ----------
    title : str
        What is done.
    total_bytes : int, optional
        Where it ends; unknown when absent.

    Yields
    ------
    callable
        Takes the number of bytes that were added. Safe to call from many threads. Does nothing where standard
        error is no terminal: then one line with the rate is printed at the end.
    """
    if sys.stderr.isatty():
        with _bar(title, total_bytes) as advance:
            yield advance
        return
    counted: list[int] = []
    started = time.monotonic()
    yield counted.append
    elapsed = max(time.monotonic() - started, 1e-9)
    done = sum(counted)
    note(f"{title}: {size(done)} in {elapsed:.1f} s ({size(done / elapsed)}/s)")


@contextmanager
def _bar(title: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(title, total=total_bytes)
        yield lambda count: bar.advance(task, count)


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
