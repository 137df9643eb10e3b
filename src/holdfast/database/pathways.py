"""Own the numbers of metadata paths: each path is written once and known by its id.

A path is a JSON array of keys, null for any element of a list; ``bare`` is the path without the nulls.

>>> path_text(("sample", "tags", None)), bare_text(("sample", "tags", None))
('["sample","tags",null]', '["sample","tags"]')
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import pairwise

from holdfast.database.tables import DOCUMENT_PATH

__all__ = ["PathWriter", "bare_text", "cut_paths", "find_paths", "path_text"]

Path = tuple[str | None, ...]


def path_text(path: Sequence[str | None]) -> str:
    """Return a path as it is stored."""
    return json.dumps(path, ensure_ascii=False, separators=(",", ":"))


def bare_text(path: Iterable[str | None]) -> str:
    """Return a path without its list steps as it is stored."""
    return path_text([part for part in path if part is not None])


def find_paths(
    connection: sqlite3.Connection, path: Sequence[str | None], *, walk: bool, pairs: bool = False
) -> list[tuple[int, int]]:
    """Return the ids and flags of a stored path.

    Parameters
    ----------
    connection : sqlite3.Connection
        To read with.
    path : sequence of str or None
        The path.
    walk : bool
        Take all paths that are equal without their list steps, but none with two list steps in a row.
    pairs : bool, default False
        Take these too.

    Returns
    -------
    list of (int, int)
        Nothing when no document has it.
    """
    if not walk:
        return connection.execute("SELECT id, flags FROM paths WHERE path = ?", (path_text(path),)).fetchall()
    rows = connection.execute("SELECT id, flags, path FROM paths WHERE bare = ?", (bare_text(path),))
    return [
        (number, flags)
        for number, flags, text in rows
        if pairs or "null,null" not in text or not _has_pair(text)
    ]


def _has_pair(text: str) -> bool:
    path = json.loads(text)
    return any(left is None and right is None for left, right in pairwise(path))


def cut_paths(connection: sqlite3.Connection, path: Sequence[str | None]) -> list[int]:
    """Return the ids of paths at or above a path below which something is not indexed.

    Parameters
    ----------
    connection : sqlite3.Connection
        To read with.
    path : sequence of str or None
        The path that is asked for.

    Returns
    -------
    list of int
        Usually empty.
    """
    bare = [part for part in path if part is not None]
    texts = [path_text(bare[:length]) for length in range(len(bare) + 1)]
    marks = ",".join("?" * len(texts))
    rows = connection.execute(f"SELECT id FROM paths WHERE flags & 1 AND bare IN ({marks})", texts)
    return [number for (number,) in rows]


class PathWriter:
    """Give ids to paths inside writing transactions, and remember them between.

    Notes
    -----
    At each new transaction it checks whether what it remembers is still so: a transaction may have been
    undone, or another process may have made the index anew.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self._ids: dict[tuple[int, str | None], int] = {}
        self._paths: dict[int, Path] = {DOCUMENT_PATH: ()}
        self._flags: dict[int, int] = {}
        self._unsure: list[int] = []
        self._connection: sqlite3.Connection | None = None
        self._made = ""

    def use(self, connection: sqlite3.Connection) -> None:
        """Work in this connection's transaction from now on."""
        row = connection.execute("SELECT value FROM about WHERE name = 'index'").fetchone()
        made = "" if row is None else row[0]
        if made != self._made or not self._is_committed(connection):
            self.forget()
            self._made = made
        self._connection = connection
        self._unsure = []

    def _is_committed(self, connection: sqlite3.Connection) -> bool:
        if not self._unsure:
            return True
        select = "SELECT id, path FROM paths WHERE id IN (SELECT value FROM json_each(?))"
        rows = dict(connection.execute(select, (repr(self._unsure),)))
        return rows == {number: path_text(self._paths[number]) for number in self._unsure}

    def child(self, parent: int, key: str | None) -> int:
        """Return the id of the path below another one; it is written when it is new.

        Parameters
        ----------
        parent : int
            The id of the path above.
        key : str or None
            The key; None for any element of a list.

        Returns
        -------
        int
            The id.
        """
        number = self._ids.get((parent, key))
        return self._add(parent, key) if number is None else number

    def _add(self, parent: int, key: str | None) -> int:
        assert self._connection is not None
        path = (*self._paths[parent], key)
        text = path_text(path)
        new = "INSERT INTO paths (path, bare) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._connection.execute(new, (text, bare_text(path)))
        row = self._connection.execute("SELECT id, flags FROM paths WHERE path = ?", (text,)).fetchone()
        number = self._ids[parent, key] = int(row[0])
        self._paths[number], self._flags[number] = path, row[1]
        self._unsure.append(number)
        return number

    def set_flags(self, flags: dict[int, int]) -> None:
        """Write new flags of paths.

        Parameters
        ----------
        flags : dict of int to int
            Bits to add, by path id.
        """
        assert self._connection is not None
        for number, bits in flags.items():
            if bits & ~self._flags.get(number, 0):
                self._connection.execute("UPDATE paths SET flags = flags | ? WHERE id = ?", (bits, number))
                self._flags[number] = self._flags.get(number, 0) | bits
