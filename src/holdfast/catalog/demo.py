"""The whole circle, shown on real data: index, serve, search, slice, download, check, open offline.

Each step prints what a user would type, and does exactly that.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from holdfast import console
from holdfast.catalog.client.array import ArrayNode
from holdfast.catalog.client.container import Container
from holdfast.catalog.client.local import from_catalog
from holdfast.catalog.client.remote import from_uri
from holdfast.errors import HashError, HoldfastError, NotFoundError
from holdfast.queries import StructureFamilyQuery
from holdfast.types import Json

__all__ = ["Tools", "walk", "write_data"]

QUERY = 'quantity == "sunspot number"'
"""What is searched for in the data that the package brings."""

_SHIPPED = Path(__file__).parent / "demo_data"
_YEARS_OF_A_CYCLE = 11
_LOOKED_AT = 200
_LONGEST_VALUE = 40


@dataclass(frozen=True, slots=True)
class Tools:
    """What the roof lends to the demo.

    Parameters
    ----------
    run : callable
        Runs a command line, the words after ``holdfast``, and returns its exit code.
    serve : callable
        Serves a directory, readable by anyone of this machine, while its context lasts; gives the address.
    index_options : sequence of str
        Options that keep a user's own directory untouched.
    """

    run: Callable[[Sequence[str]], int]
    serve: Callable[[Path], AbstractContextManager[str]]
    index_options: tuple[str, ...] = ()


def write_data(directory: Path) -> None:
    """Write the data that the package brings: yearly figures of the sun and of the air, under 100 KB.

    Parameters
    ----------
    directory : Path
        Must not exist.

    Notes
    -----
    Sunspot numbers 1700-1988: NOAA National Geophysical Data Center. Carbon dioxide at Mauna Loa 1959-2014:
    NOAA Earth System Research Laboratory and Scripps Institution of Oceanography. Both are public domain.
    """
    shutil.copytree(_SHIPPED, directory)
    with open(directory / "sun" / "sunspots.csv", newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    numbers = np.array([float(row["sunspots"]) for row in rows])
    whole = len(numbers) // _YEARS_OF_A_CYCLE * _YEARS_OF_A_CYCLE
    with h5py.File(directory / "sun" / "cycles.h5", "w") as target:
        target.attrs.update(
            title="Sunspot numbers, eleven years a row", quantity="sunspot number", first_year=1700
        )
        target["sunspots"] = numbers[:whole].reshape(-1, _YEARS_OF_A_CYCLE)
        target["year"] = np.array([int(row["year"]) for row in rows])[:whole].reshape(-1, _YEARS_OF_A_CYCLE)


def walk(lab: Path, copy: Path, tools: Tools, query: str = "") -> None:
    """Walk the circle once.

    Parameters
    ----------
    lab : Path
        A directory of files.
    copy : Path
        Where the download goes.
    tools : Tools
        What runs commands and servers.
    query : str
        What to search for; something that the metadata holds when empty.

    Raises
    ------
    HashError
        When what came home is not what was served.
    HoldfastError
        Whatever a step raises.
    """
    _say("Catalogue the files where they lie; nothing is moved or changed.")
    _run(tools, "index", lab, *tools.index_options)
    _say("Serve them.")
    console.line(f"$ holdfast serve {lab} --public {' '.join(tools.index_options)}".rstrip())
    with tools.serve(lab) as address:
        console.line(f"  {address}\n")
        client = from_uri(address)
        assert isinstance(client, Container)
        _run(tools, "ls", address)
        _say("Find data by what is known of it.")
        _run(tools, "search", address, query or _some_query(client))
        path, values = _slice_one(client, address)
        _say("Take it home: the files themselves, each verified, with all that is known of them.")
        _run(tools, "download", address, copy)
    _say("The server is gone. What came home is complete, and says so.")
    _run(tools, "check", copy)
    _open_offline(copy, path, values)


def _say(text: str) -> None:
    console.line(f"# {text}")


def _run(tools: Tools, *words: object) -> None:
    typed = [str(word) for word in words]
    console.line(f"$ holdfast {' '.join(_quoted(word) for word in typed)}")
    code = tools.run(typed)
    if code:
        raise HashError(f"'holdfast {typed[0]}' ended with exit code {code}; see what it printed above")
    console.line()


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(' "<>&|;()$*') else word


def _slice_one(client: Container, address: str) -> tuple[tuple[str, ...], Any]:
    """Read a corner of the first array that can be read, as a user would."""
    for node in islice(_arrays(client), _LOOKED_AT):
        index = tuple(slice(0, 3) for _ in node.shape)
        try:
            values = node.read(index)
        except HoldfastError:
            continue  # absent external files, filters that are not installed: the next one will do
        shown = ", ".join(["0:3"] * node.ndim) or "()"
        _say("Slice it over the network, from Python; only what is looked at travels.")
        console.line(f">>> client = holdfast.from_uri({address!r})")
        console.line(f">>> client[{'/'.join(node.path)!r}]\n{node!r}")
        console.line(f">>> client[{'/'.join(node.path)!r}][{shown}]\n{values!r}\n")
        return node.path, values
    raise NotFoundError("no array here can be read; give the demo a directory with HDF5, npy or CSV files")


def _arrays(client: Container) -> Iterator[ArrayNode]:
    for node in client.search_deep(StructureFamilyQuery("array")).values():
        if isinstance(node, ArrayNode) and node.size:
            yield node


def _open_offline(copy: Path, path: tuple[str, ...], values: Any) -> None:
    _say("Open it offline, without a server.")
    database, data = copy / "catalog.db", copy / "data"
    console.line(f">>> local = holdfast.from_catalog({str(database)!r}, readable_storage=[{str(data)!r}])")
    local = from_catalog(database, readable_storage=[data])
    assert isinstance(local, Container)
    node = local[path]
    assert isinstance(node, ArrayNode)
    console.line(f">>> local[{'/'.join(path)!r}]\n{node!r}\n")
    if not np.array_equal(
        node.read(tuple(slice(0, 3) for _ in node.shape)), values, equal_nan=_has_nan(values)
    ):
        raise HashError(f"{'/'.join(path)!r} reads differently offline; run 'holdfast check {copy}'")
    _say("Or just the files, please.")
    for file in islice(sorted(file for file in data.rglob("*") if file.is_file()), 10):
        console.line(f"  {file}")
    console.line()


def _has_nan(values: Any) -> bool:
    return np.asarray(values).dtype.kind in "fc"


def _some_query(client: Container) -> str:
    """Return a query for a fact that some node holds; all nodes when none has one that can be typed."""
    for node in islice(client.search_deep().values(), _LOOKED_AT):
        for path, value in _facts(node.metadata):
            return f"{path} == {json.dumps(value)}"
    return ""


def _facts(metadata: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, str | int | float]]:
    for name, value in metadata.items():
        if not name.isidentifier() or name == "error":
            continue
        if isinstance(value, dict):
            yield from _facts(value, f"{prefix}{name}.")
        elif _can_be_typed(value):
            yield f"{prefix}{name}", value


def _can_be_typed(value: Json) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _LONGEST_VALUE and value.isprintable() and not set(value) & set("\"'\\")
    return isinstance(value, int | float) and not isinstance(value, bool)
