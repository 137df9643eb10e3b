"""Own the commands of the store face: ``holdfast store ls|get|set|rm|query|glob|check|init``.

A store is named by its directory, by a SQLite file, or by the address of a server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from holdfast import console
from holdfast.config import read_key_file
from holdfast.errors import InvalidInputError
from holdfast.paths import is_url, local_path
from holdfast.queries import parse
from holdfast.store.base import Store
from holdfast.types import Json

__all__ = ["app", "check", "get", "glob", "init", "ls", "query", "remove", "set_value"]

app = typer.Typer(no_args_is_help=True, help="Keys with data and metadata.")

Place = Annotated[str, typer.Argument(metavar="DIR", help="A store's directory, SQLite file or address.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ApiKey = Annotated[str, typer.Option(help="API key; shows in process lists, prefer --api-key-file.")]
ApiKeyFile = Annotated[str, typer.Option(help="File that holds the API key.")]
Fields = Annotated[
    list[str], typer.Option("--field", "-f", help="NAME=VALUE; the value as JSON, else as text.")
]


def _opened(place: str, api_key: str, api_key_file: str) -> Store:
    if is_url(place):
        from holdfast.store.client import HTTPStore

        return HTTPStore(place, read_key_file(api_key_file) if api_key_file else api_key or None)
    if local_path(place).is_file():
        from holdfast.store.sqlite import SQLiteStore

        return SQLiteStore(place)
    from holdfast.store.file_system import FileSystemStore

    return FileSystemStore(place)


@app.command()
def init(place: Annotated[Path, typer.Argument(metavar="DIR", help="A directory.")]) -> None:
    """Make a directory a store; it is made if it does not exist."""
    from holdfast.files import make_directories
    from holdfast.store.file_system import init_shared_store

    make_directories(place)
    init_shared_store(place)


@app.command()
def ls(
    place: Place,
    long: Annotated[bool, typer.Option("--long", "-l", help="With sizes and times.")] = False,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """List the keys with their metadata."""
    with _opened(place, api_key, api_key_file) as store:
        if long:
            columns = ("key", "size", "modified", "verified", "metadata")
            console.rows(_facts(store, store.query_keys()), columns, as_json=as_json)
        else:
            console.rows(_rows(store.query()), ("key", "metadata"), as_json=as_json)


def _facts(store: Store, keys: Iterable[str]) -> Iterator[dict[str, Json]]:
    for value in store.multiget(keys):
        yield {
            "key": value.key,
            "size": value.size,
            "modified": datetime.fromtimestamp(value.modified, UTC).isoformat(timespec="seconds"),
            "verified": value.verified,
            "metadata": value.metadata,
        }


def _rows(found: Iterable[tuple[str, dict[str, Json]]]) -> Iterator[dict[str, Json]]:
    return ({"key": key, "metadata": metadata} for key, metadata in found)


@app.command()
def get(
    place: Place,
    key: Key,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the data to this file.")
    ] = None,
    metadata: Annotated[bool, typer.Option("--metadata", "-m", help="Print the metadata instead.")] = False,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Write the data of a key to standard output or a file; with --json, print its facts."""
    with _opened(place, api_key, api_key_file) as store, console.following("store", in_bytes=True):
        if metadata:
            console.fields(store.get_metadata(key), as_json=as_json)
        elif output is not None:
            store.to_file(key, output)
        elif as_json:
            console.fields(next(_facts(store, [key])), as_json=True)
        else:
            for piece in store.get(key).iterdata():
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@app.command("set")
def set_value(
    place: Place,
    key: Key,
    source: Annotated[str, typer.Argument(metavar="[FILE]", help="The data; - for standard input.")] = "",
    fields: Fields = [],  # noqa: B006 - Typer's way to take many
    metadata: Annotated[str, typer.Option("--metadata", "-m", help="All metadata, as a JSON object.")] = "",
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Set the data of a key from a file, its metadata, or both; what is not given is kept."""
    changes = dict(_field(text) for text in fields)
    whole = _object(metadata) if metadata else None
    if not source and whole is None and not changes:
        raise InvalidInputError("nothing to set; give a FILE, --metadata or --field")
    with (
        _opened(place, api_key, api_key_file) as store,
        console.following("store", in_bytes=True),
        store.transaction(f"set {key}"),
    ):
        if source == "-":
            store.set_data(key, sys.stdin.buffer)
        elif source:
            store.from_file(key, source)
        if whole is not None:
            store.set_metadata(key, whole)
        if changes:
            present = store.get_metadata(key) if store.exists(key) else {}
            store.set_metadata(key, present | changes)


def _field(text: str) -> tuple[str, Json]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"the field {text!r:.80} is not written NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"the metadata are not a JSON object: {error}") from error


@app.command("rm")
def remove(
    place: Place,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="The keys.")],
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Delete keys, all of them or none."""
    with _opened(place, api_key, api_key_file) as store, store.transaction("rm"):
        for key in keys:
            store.delete(key)


@app.command()
def query(
    place: Place,
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="Such as 'n > 5 and color == \"red\"'.")
    ],
    select: Annotated[list[str], typer.Option("--select", "-s", help="Fields to show; default all.")] = [],  # noqa: B006
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Find keys by their metadata."""
    with _opened(place, api_key, api_key_file) as store:
        found = store.query(select or None, where=parse(expression))
        console.rows(_rows(found), ("key", "metadata"), as_json=as_json)


@app.command()
def glob(
    place: Place,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="Such as 'run-*'.")],
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Find keys by a pattern."""
    with _opened(place, api_key, api_key_file) as store:
        console.rows(({"key": key} for key in store.glob(pattern)), ("key",), as_json=as_json)


@app.command()
def check(place: Place, as_json: AsJson = False, api_key: ApiKey = "", api_key_file: ApiKeyFile = "") -> None:
    """Verify all data and metadata against what was recorded."""
    with _opened(place, api_key, api_key_file) as store:
        raise typer.Exit(console.report(store.check(), as_json=as_json))
