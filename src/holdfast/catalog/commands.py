"""The catalog's commands: index, list, show, search, download, export, check, and keys."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from holdfast import catalog, console
from holdfast.catalog.client.container import Container
from holdfast.catalog.client.node import Node
from holdfast.catalog.downloads import download as download_nodes
from holdfast.config import read_key_file
from holdfast.errors import InvalidInputError
from holdfast.paths import is_url
from holdfast.queries import Everything, parse

if TYPE_CHECKING:
    from holdfast.catalog.rounds import DigestWhen

__all__ = [
    "app",
    "check",
    "download",
    "export",
    "fraction",
    "index",
    "list_entries",
    "open_target",
    "search",
    "show",
]

app = typer.Typer(no_args_is_help=True, help="Find data, slice it over the network, take it home.")

_COLUMNS = ("key", "family", "shape", "dtype", "size")

Target = Annotated[str, typer.Argument(help="URL of a server, or an indexed directory.")]
NodePath = Annotated[str, typer.Argument(help="Path of a node, such as runs/a.nxs/entry.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ApiKey = Annotated[str, typer.Option(help="API key; shows in process lists, prefer --api-key-file.")]
ApiKeyFile = Annotated[str, typer.Option(help="File that holds the API key.")]
Within = Annotated[str, typer.Option("--in", help="Search below this node.")]


def open_target(target: str, path: str = "", api_key: str = "", api_key_file: str = "") -> Node:
    """Open what a command is about.

    Parameters
    ----------
    target : str
        The URL of a server, a directory, or a ``catalog.db``.
    path : str
        A node in it.
    api_key, api_key_file : str
        The key, or a file that holds it; else ``HOLDFAST_API_KEY``.

    Returns
    -------
    Node
        The node.
    """
    if is_url(target):
        key = read_key_file(api_key_file) if api_key_file else api_key
        root = catalog.from_uri(target, api_key=key or None)
    else:
        root = catalog.from_catalog(target)
    if not path.strip("/"):
        return root
    return _container(root)[path]


def _container(node: Node) -> Container:
    if not isinstance(node, Container):
        raise InvalidInputError(f"{node!r} has no entries; 'holdfast show' prints it")
    return node


@app.command()
def index(
    directory: Annotated[str, typer.Argument(help="Directory of files; they stay where they are.")],
    *,
    digest: Annotated[
        str, typer.Option(help="now, later or never: when files are read for digests.")
    ] = "now",
    prune: Annotated[bool, typer.Option("--prune", help="Forget files that are gone.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail when a file cannot be read.")] = False,
    allow_outside: Annotated[list[str] | None, typer.Option(help="Directory that links may lead to.")] = None,
    sequences: Annotated[
        bool | None, typer.Option(help="Numbered images become one array; remembered.")
    ] = None,
    database: Annotated[str, typer.Option(help="Keep the database here.")] = "",
    as_json: AsJson = False,
) -> None:
    """Catalogue a directory, or bring its catalog up to date: only what changed is read."""
    with console.following("index", "digest"):
        summary = catalog.index(
            directory,
            database=database or None,
            digest=cast("DigestWhen", digest),
            prune=prune,
            strict=strict,
            allow_outside=tuple(allow_outside or ()),
            sequences=sequences,
        )
    if as_json:
        console.fields(asdict(summary), as_json=True)
        return
    for path, message in summary.errors:
        console.note(f"cannot be read, kept as a file: {path}: {message}")
    console.line(str(summary))


@app.command()
def check(
    directory: Annotated[str, typer.Argument(help="An indexed directory, or a download.")],
    *,
    fast: Annotated[bool, typer.Option("--fast", help="Names, sizes and times only.")] = False,
    subset: Annotated[str, typer.Option(help="Read a sample of the files, such as 10%.")] = "100%",
    as_json: AsJson = False,
) -> None:
    """Compare all files with their recorded digests; says what is changed, missing or extra."""
    with console.following("check"):
        found = catalog.check(directory, fast=fast, subset=fraction(subset))
    raise typer.Exit(console.report(found, as_json=as_json))


def fraction(text: str) -> float:
    """Read a part of a whole.

    Parameters
    ----------
    text : str
        Such as ``"10%"``.

    Returns
    -------
    float
        Above 0, at most 1.

    Raises
    ------
    InvalidInputError
        For anything else.

    Examples
    --------
    >>> fraction("10%")
    0.1
    """
    try:
        part = float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan
    except ValueError:
        part = math.nan
    if not 0 < part <= 1:
        raise InvalidInputError(f"{text!r} is no part of a whole; give a percentage such as 10%")
    return part


@app.command("ls")
def list_entries(
    target: Target,
    path: NodePath = "",
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """List the entries of a container."""
    node = open_target(target, path, api_key, api_key_file)
    nodes = node.values() if isinstance(node, Container) else [node]
    console.rows((_row(entry, entry.key) for entry in nodes), _COLUMNS, as_json=as_json)


@app.command()
def show(
    target: Target,
    path: NodePath = "",
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Show one node: its structure, metadata, files and digests."""
    node = open_target(target, path, api_key, api_key_file)
    console.fields(_details(node), as_json=as_json)


@app.command()
def search(
    target: Target,
    query: Annotated[str, typer.Argument(help='Such as: color == "red" and n > 5')],
    *,
    within: Within = "",
    sort: Annotated[list[str] | None, typer.Option(help="Metadata key; -KEY for descending.")] = None,
    limit: Annotated[int, typer.Option(help="Print at most this many; 0 for all.")] = 0,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Find nodes of the whole subtree by their metadata."""
    hits = _found(_container(open_target(target, within, api_key, api_key_file)), query).sort(
        *map(_order, sort or ())
    )
    chosen = hits.items().head(limit) if limit else hits.items()
    console.rows((_row(node, key) for key, node in chosen), _COLUMNS, as_json=as_json)


@app.command()
def download(
    target: Target,
    destination: Annotated[str, typer.Argument(help="Directory to make, or an earlier download to update.")],
    where: Annotated[str, typer.Option(help="Only nodes that match this query.")] = "",
    within: Within = "",
    workers: Annotated[int, typer.Option(help="Files at a time.", min=1, max=64)] = 4,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Take data home: the files, verified, and a catalog.db that serves them."""
    source = open_target(target, within, api_key, api_key_file)
    if where:
        source = _found(_container(source), where)
    found = download_nodes(source, destination, workers=workers)
    if as_json:
        console.fields(found.to_dict(), as_json=True)
        return
    for text in found.notes:
        console.note(text)
    console.line(f"{found.checked} files arrived in {destination}")


@app.command()
def export(
    target: Target,
    path: Annotated[str, typer.Argument(help="Path of a node, such as runs/a.nxs/entry/data; / is all.")],
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write, whole or not at all; - is standard output.")
    ],
    form: Annotated[
        str, typer.Option("--format", help="Suffix or media type; default: the suffix of the file.")
    ] = "",
    part: Annotated[str, typer.Option("--slice", help="Of an array, such as 0:10,::2 or 5,:,:")] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", "--column", help="Of a table, such as x,y; quoted as in CSV."),
    ] = None,
    fields: Annotated[
        list[str] | None, typer.Option("--fields", "--field", help="Of a container: entries, as columns.")
    ] = None,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Save the data of a node, or a part of it, in another format.

    Arrays: npy, json, csv, txt, h5, png, tiff, html, bin.
    Tables: arrow, parquet, csv, json, json-seq, txt, xlsx, h5, html.
    Containers: h5, zip, json (metadata alone).
    """
    options: dict[str, Any] = {"columns": _names(columns), "fields": _names(fields)}
    if part:
        options["slice"] = _slice(part)
    chosen = {name: value for name, value in options.items() if value}
    node = open_target(target, path, api_key, api_key_file)
    with console.following("export", in_bytes=True):
        node.export(console.output() if output == "-" else output, form or None, **chosen)


def _names(texts: list[str] | None) -> list[str]:
    """Return names that are separated by commas; one with a comma in it is quoted, as in CSV."""
    return [name for row in csv.reader(texts or ()) for name in row]


def _slice(text: str) -> tuple[Any, ...]:
    # numpy is loaded by who slices, not by who lists.
    from holdfast.formats.slicing import parse_slice

    return parse_slice(text)


def _found(container: Container, query: str) -> Container:
    return container.search_deep(parse(query) if query.strip() else Everything())


def _order(text: str) -> tuple[str, int]:
    return (text[1:], -1) if text.startswith("-") else (text, 1)


def _row(node: Node, key: str) -> dict[str, Any]:
    """Return what a listing shows of a node, without a further request."""
    structure = node.item["attributes"].get("structure") or {}
    return {
        "key": key,
        "path": "/".join(node.path),
        "family": node.structure_family,
        "shape": _shape(structure),
        "dtype": str(node.dtype) if hasattr(node, "dtype") else None,
        "size": node.nbytes if hasattr(node, "nbytes") else None,
        "metadata": node.metadata,
    }


def _shape(structure: dict[str, Any]) -> tuple[int, ...] | str | None:
    if "shape" in structure:
        return tuple(structure["shape"])
    if "columns" in structure:
        return f"{len(structure['columns'])} columns"
    return f"{structure['count']} entries" if structure.get("count") is not None else None


def _details(node: Node) -> dict[str, Any]:
    facts = {**_row(node, node.key), "specs": [spec.name for spec in node.specs], "uri": node.uri}
    metadata = facts.pop("metadata")
    files = [
        {
            "location": a.location,
            "size": a.size,
            "digest": str(a.digest) if a.digest else None,
            "state": a.state,
        }
        for a in node.assets()
    ]
    return {**facts, "metadata": metadata, "files": files}
