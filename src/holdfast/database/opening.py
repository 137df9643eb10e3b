"""Own how a SQLite file is opened, made, and laid to rest; nothing else calls ``sqlite3.connect``.

A database in use has a write-ahead log (``-wal``, ``-shm``) beside it; at rest it is one file. On a shared
file system neither the log nor memory maps are used. Never open such a file in any other way while this
process has it open: closing any descriptor of it drops the locks that SQLite holds.

>>> connection = connect(":memory:", read_only=False)
>>> connection.execute("PRAGMA foreign_keys").fetchone()
(1,)
"""

from __future__ import annotations

import os
import sqlite3
import time
from urllib.parse import quote

from holdfast.errors import NotFoundError, ReadOnlyError
from holdfast.files import file_system
from holdfast.types import Durability

__all__ = ["BUSY_TIMEOUT_S", "MEMORY", "be_prompt", "connect", "rest", "start_log"]

BUSY_TIMEOUT_S = 10.0
"""How long a connection waits for another process."""

MEMORY = ":memory:"
"""The path of a database that lives in memory only."""

_SYNCHRONOUS = {"sync": "FULL", "group": "NORMAL", "os": "OFF"}
_CACHE_KIB = 65_536
_MMAP_BYTES = 8 << 30


def connect(path: str, *, read_only: bool, durability: Durability = "sync") -> sqlite3.Connection:
    """Open one connection, autocommitting, usable from any thread one at a time.

    Parameters
    ----------
    path : str
        The file, which is made when absent unless ``read_only``; or `MEMORY`.
    read_only : bool
        Open for reading only, also on a medium that cannot be written.
    durability : {"sync", "group", "os"}
        What a commit waits for.

    Returns
    -------
    sqlite3.Connection
        With the settings of this house.

    Raises
    ------
    NotFoundError
        When there is no such file to read.
    ReadOnlyError
        When the file was not laid to rest and lies where it cannot be recovered.
    """
    if path == MEMORY:
        connection = sqlite3.connect(
            MEMORY, isolation_level=None, check_same_thread=False, cached_statements=512
        )
    elif read_only:
        connection = _open_to_read(path)
    else:
        connection = _open_uri(path, "rwc")
    _configure(connection, path, durability)
    return connection


def _open_uri(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?{mode if '=' in mode else 'mode=' + mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
        timeout=BUSY_TIMEOUT_S,
    )


def _open_to_read(path: str) -> sqlite3.Connection:
    if not os.path.exists(path):
        raise NotFoundError(f"there is no database {path}; make it with 'holdfast index'")
    connection = _open_uri(path, "ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
            if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_READONLY:
                raise
            return _rolled_back(path)
        if _has_log(path):
            raise ReadOnlyError(
                f"{path} was not closed cleanly and cannot be recovered where nothing can be written; "
                f"copy it together with {os.path.basename(path)}-wal to a writable directory"
            ) from error
        # Its header still says that there is a log, but nothing is in it: the file is whole.
        return _open_uri(path, "immutable=1")
    return connection


def _rolled_back(path: str) -> sqlite3.Connection:
    """Undo what somebody was about to change when he died, as while laying it to rest; then read."""
    connection = _open_uri(path, "rw")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()
    return _open_uri(path, "ro")


def _has_log(path: str) -> bool:
    try:
        return os.stat(path + "-wal").st_size > 0
    except FileNotFoundError:
        return False


def _configure(connection: sqlite3.Connection, path: str, durability: Durability) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    if path != MEMORY and _is_local(path):
        connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")


def _is_local(path: str) -> bool:
    return file_system(os.path.dirname(os.path.abspath(path))).kind == "local"


def start_log(connection: sqlite3.Connection, path: str) -> None:
    """Let a connection for writing use the write-ahead log where the file system allows it.

    Parameters
    ----------
    connection : sqlite3.Connection
        For writing.
    path : str
        Its file.

    Notes
    -----
    The switch needs the file for itself for a moment; when others keep reading it, the rollback journal
    serves as well, only slower.
    """
    if path == MEMORY or not _is_local(path):
        return
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise
            time.sleep(0.002)
        else:
            return


def be_prompt(connection: sqlite3.Connection) -> None:
    """Let a connection for writing wait for nobody, and leave bringing the log into the file to others."""
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def rest(connection: sqlite3.Connection) -> bool:
    """Fold the log into the file and leave one file behind, if nobody else uses it; then close.

    Parameters
    ----------
    connection : sqlite3.Connection
        For writing, with no transaction open.

    Returns
    -------
    bool
        Whether the file is at rest; another process that still has it open will lay it to rest.
    """
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA optimize")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return bool(connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
