"""Own transactions: changes kept back in a hidden directory, decided in the journal, published in steps.

It does not write values itself: ``writing`` does, into the hidden directory.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.errors import HoldfastError, InvalidInputError, NotFoundError
from holdfast.files import make_directories, remove, sync_tree
from holdfast.formats.sealed import SUFFIX, Appends, NewRows, Values, compact, key_bytes, write
from holdfast.journal import Journal
from holdfast.records.names import kind_of
from holdfast.records.places import delete_tree, make_parents
from holdfast.records.session import Session
from holdfast.records.steps import STAGING, Steps, identities
from holdfast.records.values import Content, FileCopy, file_key
from holdfast.records.writing import fill, write_content

__all__ = ["Staging", "change_kind", "recover", "transaction"]

Parts = tuple[str, ...]


def _journal(root: str) -> Journal:
    return Journal(os.path.join(root, STAGING), {"changes": Steps(root)})


def recover(root: str) -> None:
    """Finish or undo what dead processes left, in a record's directory and those above it.

    Parameters
    ----------
    root : str
        The record's directory.
    """
    directory = root
    while True:
        if os.path.isdir(os.path.join(directory, STAGING)):
            try:
                _journal(directory).recover()
            except HoldfastError:
                # Somebody who may not write reads on; the next writer finishes.
                if os.access(directory, os.W_OK):
                    raise
        parent = os.path.dirname(directory)
        if parent == directory:
            return
        directory = parent


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """Keep back the changes of this thread and publish them together.

    Parameters
    ----------
    session : Session
        The handle's.

    Raises
    ------
    InvalidInputError
        Inside another transaction of the same record.
    """
    if session.staging is not None:
        raise InvalidInputError(f"a transaction of {session.root} is open in this thread; end it first")
    make_parents(session.root, session.root)
    name = f"staged-{secrets.token_hex(8)}"
    with _journal(session.root).begin("changes", {"staging": name}) as journaled:
        staging = Staging(session.root, os.path.join(session.root, STAGING, name))
        make_directories(staging.directory)
        session.staging = staging
        try:
            yield
        finally:
            session.staging = None
        sync_tree(staging.directory)
        journaled.facts["steps"] = staging.steps()
        journaled.decide()


def change_kind(session: Session, parts: Parts, content: Content) -> None:
    """Write an entry that is of another kind now, in one step for readers."""
    with transaction(session):
        staging = session.staging
        assert staging is not None
        staging.put(parts, content)


class Staging:
    """Hold what one transaction changes, and answer for it to its own thread.

    Parameters
    ----------
    root : str
        The record's directory.
    directory : str
        The hidden directory.
    """

    def __init__(self, root: str, directory: str) -> None:
        self.root, self.directory = root, directory
        self._steps: dict[Parts, dict[str, Any]] = {}
        self._rows: list[dict[str, Any]] = []
        self._deleted: list[Parts] = []
        self._count = 0

    def place(self, parts: Parts) -> str | None:
        """Return where an entry lies for this transaction: a path without suffix, None when it is deleted."""
        for length in range(len(parts), 0, -1):
            step = self._steps.get(parts[:length])
            if step is None:
                continue
            if step["action"] == "delete":
                return None
            staged = os.path.join(self.directory, step["staged"].removesuffix(SUFFIX))
            return os.path.join(staged, *parts[length:])
        return os.path.join(self.root, *parts)

    def names(self, parts: Parts, published: list[str]) -> list[str]:
        """Return the keys in a directory as this transaction sees them."""
        names = set(published)
        for key, step in self._steps.items():
            if len(key) > len(parts) and key[: len(parts)] == parts:
                name = key[len(parts)]
                if step["action"] != "delete":
                    names.add(name)
                elif len(key) == len(parts) + 1:
                    names.discard(name)
        return sorted(names)

    def put(self, parts: Parts, content: Content) -> None:
        """Stage an entry."""
        inside = self._staged_above(parts)
        what = f"entry {'/'.join(parts)!r} of {self.root}"
        if inside is not None:
            write_content(self.directory, inside, what, content, "os")
            return
        self._refuse_below(parts)
        self._forget(parts)
        step = self._new_step(parts)
        path = os.path.join(self.directory, step["staged"])
        if isinstance(content, Values):
            step |= {"action": "array", "staged": step["staged"] + SUFFIX}
            write(path + SUFFIX, what, content, "os")
        elif isinstance(content, FileCopy):
            self._put_file(step, path, what, content)
        else:
            step["action"] = "directory"
            make_directories(path)
            fill(path, content, what)
        self._steps[parts] = step

    def _put_file(self, step: dict[str, Any], path: str, what: str, content: FileCopy) -> None:
        key = "/".join(step["key"])
        is_array = file_key(key, content) != key
        step |= {"action": "array", "staged": step["staged"] + SUFFIX} if is_array else {"action": "file"}
        write_content(self.directory, path, what, content, "os")

    def delete(self, parts: Parts) -> None:
        """Stage a deletion; the caller has made sure that there is something."""
        inside = self._staged_above(parts)
        if inside is not None:
            _delete_plain(inside)
            return
        self._forget(parts)
        self._steps[parts] = self._new_step(parts) | {"action": "delete"}

    def append(self, parts: Parts, rows: NewRows, key: bytes | None) -> None:
        """Stage rows: at once in what is staged, else to be appended at the end."""
        place = self.place(parts)
        staged = place is not None and place.startswith(self.directory)
        if place is None:
            values = rows.values
            self.put(parts, values)
        elif staged:
            make_parents(self.directory, os.path.dirname(place))
            appends = Appends("os")
            appends.append(place + SUFFIX, "/".join(parts), rows, key or bytes(16))
            appends.close()
            compact(place + SUFFIX, "/".join(parts))
        else:
            self._refuse_below(parts)
            step = self._new_step(parts)
            step |= {"action": "rows", "staged": step["staged"] + SUFFIX}
            step["token"] = (key or key_bytes(secrets.token_hex(16))).hex()
            write(os.path.join(self.directory, step["staged"]), "/".join(parts), rows.values, "os")
            self._rows.append(step)

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps in the order in which they are published, with what each finds now."""
        ordered = [*self._steps.values()]
        gone: set[Parts] = set()
        for step in ordered:
            key = tuple(step["key"])
            below = any(key[:length] in gone for length in range(1, len(key)))
            step["was"] = [None, None] if below else identities(os.path.join(self.root, *key))
            if step["action"] in {"delete", "directory", "array", "file"}:
                gone.add(key)
        return [*ordered, *self._rows]

    def _new_step(self, parts: Parts) -> dict[str, Any]:
        self._count += 1
        return {"key": list(parts), "staged": str(self._count)}

    def _staged_above(self, parts: Parts) -> str | None:
        """Return where an entry lies in a directory that is staged, None if none is above it."""
        for length in range(len(parts) - 1, 0, -1):
            step = self._steps.get(parts[:length])
            if step is not None and step["action"] == "directory":
                return os.path.join(self.directory, step["staged"], *parts[length:])
            if step is not None and step["action"] in {"array", "file"}:
                raise self._not_below(parts[:length])
            if step is not None:
                return None
        return None

    def _refuse_below(self, parts: Parts) -> None:
        for length in range(1, len(parts)):
            place = self.place(parts[:length])
            if place is not None and kind_of(place) in {"array", "file"}:
                raise self._not_below(parts[:length])

    def _not_below(self, parts: Parts) -> InvalidInputError:
        name = f"entry {'/'.join(parts)!r} of {self.root}"
        return InvalidInputError(f"{name} is no directory: nothing can be written below it; delete it first")

    def _forget(self, parts: Parts) -> None:
        for key in [key for key in self._steps if key[: len(parts)] == parts]:
            del self._steps[key]
        self._rows = [step for step in self._rows if tuple(step["key"][: len(parts)]) != parts]


def _delete_plain(path: str) -> None:
    kind = kind_of(path)
    if kind == "directory":
        delete_tree(path)
    elif kind is not None:
        remove(path + SUFFIX if kind == "array" else path, durability="os")
    else:
        raise NotFoundError(f"no entry {path}")
