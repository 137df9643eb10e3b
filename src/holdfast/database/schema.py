"""Own what a database file says of itself: format, version, features, and the steps that made it.

It does not know the tables of any face; each describes its own in a `Schema`.

>>> Schema("holdfast-example", ("CREATE TABLE t (a)", "ALTER TABLE t ADD COLUMN b")).version
2
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.errors import NewerFormatError, OldFormatError, UnreadableError
from holdfast.types import VERSION

__all__ = ["Schema", "about", "check", "run_script", "set_about"]

Step = str | Callable[[sqlite3.Connection], object]

_ABOUT = "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
# "HldF": what the command `file` and SQLite's header show for every database of ours.
_APPLICATION_ID = 0x486C6446


@dataclass(frozen=True)
class Schema:
    """Describe a kind of database by the numbered steps that make it.

    Parameters
    ----------
    format : str
        Its name, such as ``"holdfast-catalog"``.
    steps : tuple of str or callable
        Step N turns version N - 1 into N: SQL text of several statements, or a function of the connection.
    reader_features, writer_features : tuple of str
        What a reader, and a writer, of files made by this release must know beyond the version.
    """

    format: str
    steps: tuple[Step, ...]
    reader_features: tuple[str, ...] = ()
    writer_features: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """The version that this release writes."""
        return len(self.steps)

    def build(self, connection: sqlite3.Connection, start: int = 0) -> None:
        """Run the steps after a version, inside the caller's transaction.

        Parameters
        ----------
        connection : sqlite3.Connection
            In a transaction.
        start : int, default 0
            The version that the file has.
        """
        connection.execute(_ABOUT)
        for step in self.steps[start:]:
            if callable(step):
                step(connection)
            else:
                run_script(connection, step)
        set_about(connection, "format", self.format)
        set_about(connection, "version", str(self.version))
        set_about(connection, "release", VERSION)
        set_about(connection, "reader_features", json.dumps(self.reader_features))
        set_about(connection, "writer_features", json.dumps(self.writer_features))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {self.version}")


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Execute several statements inside the caller's transaction, which ``executescript`` would end.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a transaction.
    script : str
        Statements, each ended by a semicolon.
    """
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def about(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a fact that the file says of itself, or None."""
    row = connection.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_about(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Write a fact that the file says of itself, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO about VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def check(connection: sqlite3.Connection, schema: Schema, path: str, *, writing: bool) -> int:
    """Check that a file is of this format and that this release may read, or write, it.

    Parameters
    ----------
    connection : sqlite3.Connection
        Open on the file.
    schema : Schema
        What is expected.
    path : str
        The file, for messages.
    writing : bool
        Whether it will be written.

    Returns
    -------
    int
        The version of the file; 0 for a file that holds nothing yet.

    Raises
    ------
    UnreadableError
    from holdfast.types import VERSION
        For another kind of file.
    NewerFormatError
        For a newer version or an unknown feature; the release that wrote it is named.
    OldFormatError
        For an older version, which ``holdfast upgrade`` brings up to date.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        return 0
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
        raise UnreadableError(f"{path} is a database, but not a {schema.format}; leave it alone")
    facts = dict(connection.execute("SELECT name, value FROM about"))
    if facts.get("format") != schema.format:
        raise UnreadableError(f"{path} is a {facts.get('format')!r}, not a {schema.format!r}; check the path")
    version, release = int(facts.get("version", "0")), facts.get("release", "a newer release")
    if version > schema.version or _unknown_features(facts, schema, writing=writing):
        raise NewerFormatError(
            f"{path} has version {version} of {schema.format}, written by Holdfast {release}; "
            f"this is {VERSION}: install holdfast>={release}",
            release=release,
        )
    if version < schema.version:
        raise OldFormatError(
            f"{path} has version {version} of {schema.format}, this release uses {schema.version}; "
            "run 'holdfast upgrade' on its directory, which makes a backup first"
        )
    return version


def _unknown_features(facts: dict[str, str], schema: Schema, *, writing: bool) -> set[str]:
    unknown = set(json.loads(facts.get("reader_features", "[]"))) - set(schema.reader_features)
    if writing:
        unknown |= set(json.loads(facts.get("writer_features", "[]"))) - set(schema.writer_features)
    return unknown
