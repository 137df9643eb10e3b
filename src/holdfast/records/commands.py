"""The commands of records: list, show, get, remove, check, compact."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from holdfast import console
from holdfast.config import read_key_file
from holdfast.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from holdfast.files import open_atomic, write_atomic
from holdfast.formats.sealed import ArrayView, prepare, write
from holdfast.http.reply import encode_json
from holdfast.records.answers import json_value
from holdfast.records.handle import Record
from holdfast.records.record import LocalRecord

__all__ = ["app", "check", "compact", "get", "list_entries", "remove", "show", "sketch"]

app = typer.Typer(no_args_is_help=True, help="A directory of arrays used like a dict.")

_COLUMNS = ("key", "kind", "shape", "dtype", "size", "verified")
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60
_SKETCHED = 1_000_000

Directory = Annotated[str, typer.Argument(help="Directory of a record, or its URL.")]
Key = Annotated[str, typer.Argument(help="Entry, such as runs/walk.")]
AnyKey = Annotated[str | None, typer.Argument(help="Entry or directory; all without it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ApiKeyFile = Annotated[str, typer.Option(help="File that holds the API key of a server.")]


def _opened(directory: str, api_key_file: str) -> Record:
    key = read_key_file(api_key_file) if api_key_file else None
    record = Record(directory, api_key=key)  # type: ignore[abstract]  # it chooses the noun or the client
    if isinstance(record, LocalRecord) and not os.path.isdir(record.path):
        raise NotFoundError(f"no directory {directory!r}; check the path")
    return record


def _facts(record: Record, key: str) -> dict[str, Any]:
    """Return one row of a listing."""
    value = _value(record, key)
    if isinstance(value, Record):
        return {"key": key, "kind": "record", "shape": f"{len(value)} entries"}
    with value:
        if not isinstance(value, ArrayView):
            size = sum(len(block) for block in value.blocks())
            return {"key": key, "kind": "file", "size": console.size(size), "verified": _yes(value.sealed)}
        return {
            "key": key,
            "kind": "array",
            "shape": "x".join(map(str, value.shape)) or "scalar",
            "dtype": "str" if value.dtype == object else str(value.dtype),
            "size": console.size(value.nbytes),
            "verified": _yes(value.sealed),
        }


def _yes(sealed: bool) -> str:
    return "yes" if sealed else "no digests"


def _value(record: Record, key: str) -> Any:
    try:
        return record.open(key)
    except InvalidInputError:
        return record[key]  # a directory is not opened


@app.command("ls")
def list_entries(
    directory: Directory, key: AnyKey = None, *, as_json: AsJson = False, api_key_file: ApiKeyFile = ""
) -> None:
    """List entries with shape, type, size, and whether they are verified when they are read."""
    with _opened(directory, api_key_file) as record:
        console.rows(_rows(record, key), _COLUMNS, as_json=as_json)


def _rows(record: Record, key: str | None) -> Iterator[dict[str, Any]]:
    if key is None:
        for name in record:
            yield _facts(record, name)
        return
    found = _value(record, key)
    if isinstance(found, Record):
        yield from _rows(found, None)
        return
    found.close()
    yield _facts(record, key)


@app.command()
def show(directory: Directory, key: Key, *, as_json: AsJson = False, api_key_file: ApiKeyFile = "") -> None:
    """Show one entry: its facts, and a sketch of a 1-D array."""
    with _opened(directory, api_key_file) as record:
        facts = _facts(record, key)
        value = _value(record, key)
        if isinstance(value, ArrayView):
            with value:
                facts |= _picture(value)
        elif not isinstance(value, Record):
            value.close()
        console.fields(facts, as_json=as_json)


def _picture(view: ArrayView) -> dict[str, Any]:
    if not view.shape:
        return {"value": str(np.asarray(view)[()])}
    if view.ndim != 1 or view.dtype.kind not in "biuf" or not view.size:
        return {}
    step = max(1, view.size // _SKETCHED)
    sample = np.asarray(view[::step], float)
    facts: dict[str, Any] = {"sketch": sketch(sample)}
    if np.isfinite(sample).any():
        facts |= {"from": float(np.nanmin(sample)), "to": float(np.nanmax(sample))}
    return facts


def sketch(values: np.ndarray[Any, Any], width: int = _WIDTH) -> str:
    """Draw numbers as one line of text.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        The numbers.
    width : int, default 60
        The longest line; more numbers are averaged.

    Returns
    -------
    str
        Blocks of eight heights; a dot where nothing is finite.

    Examples
    --------
    >>> sketch(np.arange(8.0))
    '▁▂▃▄▅▆▇█'
    """
    parts = np.array_split(values, min(width, len(values)))
    means = [float(np.mean(part[np.isfinite(part)])) if np.isfinite(part).any() else None for part in parts]
    known = [mean for mean in means if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join("·" if mean is None else _BARS[round((mean - low) * scale)] for mean in means)


@app.command()
def get(
    directory: Directory,
    key: Key,
    *,
    output: Annotated[str, typer.Option(help="Write here: .npy, .h5, .csv, .json; a file as it is.")] = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Print an entry as JSON, or write it to a file; nothing is overwritten."""
    with _opened(directory, api_key_file) as record:
        value = record[key]
        if isinstance(value, Record):
            raise InvalidInputError(f"{key!r} is a directory; get its entries one by one: {', '.join(value)}")
        if not output:
            console.line(
                str(value) if isinstance(value, Path) else encode_json(json_value(np.asarray(value))).decode()
            )
            return
        if os.path.lexists(output):
            raise AlreadyExistsError(f"{output} exists; choose another name")
        _write(value, output)


def _write(value: Any, output: str) -> None:
    if isinstance(value, Path):
        with open(value, "rb") as source, open_atomic(output, replace=False) as out:
            shutil.copyfileobj(source, out, 1024 * 1024)
        return
    array, suffix = np.asarray(value), Path(output).suffix.lower()
    if suffix == ".h5":
        write(output, output, prepare(value), "sync")
    elif suffix == ".json":
        write_atomic(output, encode_json(json_value(array)), replace=False)
    elif suffix == ".csv":
        with open_atomic(output, replace=False) as out:
            np.savetxt(out, np.atleast_1d(array), delimiter=",", fmt="%s")
    elif suffix == ".npy":
        with open_atomic(output, replace=False) as out:
            np.lib.format.write_array(
                out, array.astype(str) if array.dtype == object else array, allow_pickle=False
            )
    else:
        raise InvalidInputError(
            f"the suffix {suffix!r} of {output!r} is not known; use .npy, .h5, .csv or .json"
        )


@app.command("rm")
def remove(directory: Directory, key: Key, *, api_key_file: ApiKeyFile = "") -> None:
    """Delete an entry or directory, and empty directories above it."""
    with _opened(directory, api_key_file) as record:
        del record[key]


@app.command()
def check(
    directory: Directory, key: AnyKey = None, *, as_json: AsJson = False, api_key_file: ApiKeyFile = ""
) -> None:
    """Read and verify every byte; the exit code is 1 when something is damaged."""
    with _opened(directory, api_key_file) as record:
        raise typer.Exit(console.report(record.check(key), as_json=as_json))


@app.command()
def compact(directory: Directory, key: AnyKey = None, *, api_key_file: ApiKeyFile = "") -> None:
    """Fold appended rows into one plain file per entry."""
    with _opened(directory, api_key_file) as record:
        record.compact(key)
