"""Own copies of a database that may be in use, and bringing one of an older release up to date.

>>> upgrade.__name__
'upgrade'
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from holdfast.database import opening
from holdfast.database.faults import sqlite_errors
from holdfast.database.schema import Schema, about, check
from holdfast.database.tables import CATALOG
from holdfast.errors import AlreadyExistsError, NotFoundError, OldFormatError
from holdfast.files import publish_new, remove, sync_file
from holdfast.types import PathLike

__all__ = ["backup", "upgrade"]

_PAGES = 4096


def backup(path: PathLike, destination: PathLike) -> Path:
    """Copy a database, also while others read and write it.

    Parameters
    ----------
    path : path-like
        The database.
    destination : path-like
        The file to make; one file at rest.

    Returns
    -------
    Path
        The copy: one state of the database, whole.

    Raises
    ------
    NotFoundError
        When there is no such database.
    AlreadyExistsError
        When the destination exists.
    """
    source, target = os.fspath(path), os.path.abspath(destination)
    if os.path.lexists(target):
        raise AlreadyExistsError(f"{target} exists already; choose another destination")
    staging = f"{target}.{os.getpid()}.{time.monotonic_ns()}.tmp"
    try:
        with sqlite_errors(source):
            _copy(source, staging)
        sync_file(staging)
        publish_new(staging, target)
    finally:
        if os.path.lexists(staging):
            remove(staging)
    return Path(target)


def _copy(source: str, staging: str) -> None:
    origin = opening.connect(source, read_only=True)
    try:
        copy = opening.connect(staging, read_only=False)
        try:
            origin.backup(copy, pages=_PAGES, sleep=0.001)
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
        finally:
            copy.close()
    finally:
        origin.close()


def upgrade(path: PathLike, schema: Schema = CATALOG) -> Path | None:
    """Bring a database of an older release up to date, after a backup beside it.

    Parameters
    ----------
    path : path-like
        The database.
    schema : Schema, optional
        What it holds; the catalog by default.

    Returns
    -------
    Path or None
        The backup; None when nothing had to be done.

    Raises
    ------
    NotFoundError
        When there is no such database.
    UnreadableError, NewerFormatError
        When it is something else, or of a newer release.
    BusyError
        When another process uses it.
    """
    name = os.path.abspath(path)
    if not os.path.exists(name):
        raise NotFoundError(f"there is no database {name}; check the path")
    with sqlite_errors(name):
        version = _old_version(name, schema)
        if version is None:
            return None
        kept = backup(name, f"{name}.v{version}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        _run_steps(name, schema)
    return kept


def _old_version(path: str, schema: Schema) -> int | None:
    connection = opening.connect(path, read_only=True)
    try:
        check(connection, schema, path, writing=True)
    except OldFormatError:
        return int(about(connection, "version") or 0)
    finally:
        connection.close()
    return None


def _run_steps(path: str, schema: Schema) -> None:
    connection = opening.connect(path, read_only=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        schema.build(connection, int(about(connection, "version") or 0))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        opening.rest(connection)
