"""Commands that keep a directory in order: keys, backups, upgrades."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from holdfast import console
from holdfast.database import Database, backup, locate, upgrade
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.http.auth import key_hash, new_key
from holdfast.types import SCOPES, Scope

__all__ = ["app", "back_up", "bring_up_to_date", "create", "lifetime", "list_keys", "revoke"]

app = typer.Typer(no_args_is_help=True)
key = typer.Typer(no_args_is_help=True, help="Create, list and revoke the API keys of a directory.")
app.add_typer(key, name="key")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Directory = Annotated[str, typer.Argument(help="A served or indexed directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DatabasePath = Annotated[str, typer.Option("--database", help="The database, when it lies elsewhere.")]


def lifetime(text: str) -> timedelta:
    """Read how long something is valid.

    Parameters
    ----------
    text : str
        A number and a unit: ``30d``, ``12h``, ``90m``, ``2w``.

    Returns
    -------
    timedelta
        The time.

    Raises
    ------
    InvalidInputError
        For anything else.

    Examples
    --------
    >>> lifetime("30d").days
    30
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if match is None or int(match[1]) == 0:
        raise InvalidInputError(f"{text!r} is no lifetime; give a number and m, h, d or w, such as 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@key.command()
def create(
    directory: Directory,
    scope: Annotated[str, typer.Option(help="read or write.")] = "read",
    expires: Annotated[str, typer.Option(help="Such as 30d, 12h; never when absent.")] = "",
    note: Annotated[str, typer.Option(help="Who or what it is for.")] = "",
    database: DatabasePath = "",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it once; only its digest is kept."""
    if scope not in SCOPES:
        raise InvalidInputError(f"{scope!r} is no scope; give {' or '.join(SCOPES)}")
    until = (datetime.now(UTC) + lifetime(expires)).timestamp() if expires else None
    made = new_key()
    granted: Scope = "write" if scope == "write" else "read"
    place = locate(directory, database or None)
    with Database(place.database) as db, db.transaction() as tx:
        number = tx.keys.add(key_hash(made), granted, note, until)
    if as_json:
        console.fields({"id": number, "key": made, "scope": scope, "expires": _iso(until)}, as_json=True)
    else:
        console.line(made)
        console.note("keep it in a file of yours and give it with --api-key-file; it is not shown again")


@key.command("list")
def list_keys(directory: Directory, database: DatabasePath = "", as_json: AsJson = False) -> None:
    """List the keys of a directory, without the keys themselves."""
    with _opened(directory, database, read_only=True) as db:
        found = [
            {**row._asdict(), "created": _iso(row.created), "expires": _iso(row.expires)}
            for row in db.keys.list()
        ]
    console.rows(found, ("id", "scope", "note", "created", "expires"), as_json=as_json)


@key.command()
def revoke(
    directory: Directory,
    number: Annotated[int, typer.Argument(metavar="ID", help="As 'holdfast key list' shows it.")],
    database: DatabasePath = "",
) -> None:
    """Make a key worthless at once, also for running servers."""
    with _opened(directory, database) as db, db.transaction() as tx:
        if not any(row.id == number for row in db.keys.list()):
            raise NotFoundError(f"no key {number} in {directory!r}; see 'holdfast key list {directory}'")
        tx.keys.revoke(number)


@app.command("backup")
def back_up(
    directory: Directory,
    destination: Annotated[str, typer.Argument(help="The file to write.")],
    database: DatabasePath = "",
) -> None:
    """Copy the database of a directory while it is in use; the files copy with any tool."""
    backup(locate(directory, database or None).database, destination)
    console.line(destination)


@app.command("upgrade")
def bring_up_to_date(directory: Directory, database: DatabasePath = "") -> None:
    """Bring a directory to the format of this release, after a backup."""
    kept = upgrade(locate(directory, database or None).database)
    console.line("up to date already" if kept is None else f"upgraded; the database as it was: {kept}")


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _opened(directory: str, database: str, *, read_only: bool = False) -> Database:
    place = locate(directory, database or None)
    if not place.database.exists():
        raise NotFoundError(f"{directory!r} has no catalog; make one with 'holdfast index {directory}'")
    return Database(place.database, read_only=read_only)
