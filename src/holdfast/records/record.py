"""Own the record that is a directory of this machine: reading, writing, appending, deleting.

It does not know servers. Values are checked by ``values``, written by ``writing``, changed together by
``transactions``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from holdfast.errors import InvalidInputError, InvalidTypeError, MissingFileError, NotFoundError
from holdfast.files import os_errors, require_writer
from holdfast.formats.sealed import (
    SUFFIX,
    NewRows,
    Values,
    as_rows,
    delete,
    key_bytes,
    locked_directory,
)
from holdfast.paths import local_path
from holdfast.records import sidecars
from holdfast.records.adopting import adopt_array, adopt_file
from holdfast.records.checking import check_entries
from holdfast.records.compacting import compact_entries
from holdfast.records.following import follow_rows
from holdfast.records.foreign import open_array
from holdfast.records.growing import adopt_for_rows, check_fits, in_memory, rows_of
from holdfast.records.handle import Record
from holdfast.records.metadata import read_spec, read_status
from holdfast.records.names import child_names, kind_of, resting_state, split, writable
from holdfast.records.places import delete_tree, in_directory, prune_parents
from holdfast.records.session import Session
from holdfast.records.transactions import change_kind, recover, transaction
from holdfast.records.values import Content, RecordCopy, as_content, leaves
from holdfast.records.writing import KindChangesError, write_content
from holdfast.reports import Report
from holdfast.types import Durability

__all__ = ["LocalRecord"]

_TRIES = 100


class LocalRecord(Record):
    """View a directory of this machine; made by `holdfast.Record`.

    Parameters
    ----------
    path : path-like
        The directory, which need not exist and is not touched.
    durability : {"sync", "group", "os"}, default "sync"
        When a write is on the disk.
    api_key : None
        Taken for the sake of `Record`'s signature; a directory needs none.
    """

    _counted: tuple[tuple[int, int], int] | None = None

    def __init__(
        self,
        path: str | os.PathLike[str] = ".",
        durability: Durability = "sync",
        *,
        api_key: str | None = None,
    ) -> None:
        super().__init__(path, durability)
        self._directory = os.path.abspath(local_path(path))
        self._prefix: tuple[str, ...] = ()
        self._session = Session(self._directory, durability)

    def below(self, parts: tuple[str, ...]) -> LocalRecord:
        """Return a subrecord; it shares open files and the transaction."""
        record = object.__new__(LocalRecord)
        record._durability, record._session = self._durability, self._session
        record._prefix = self._prefix + parts
        record._directory = os.path.join(self._directory, *parts)
        return record

    @property
    def path(self) -> Path:
        """The directory, absolute."""
        return Path(self._directory)

    def local_directory(self) -> str:
        """Return the directory whose entries are copied when this record is assigned."""
        self._settle()
        return self._directory

    def _settle(self) -> None:
        """Finish or undo, once, what dead processes left."""
        if self._session.needs_recovery():
            recover(self._session.root)

    def _what(self, parts: tuple[str, ...]) -> str:
        return f"entry {'/'.join(parts)!r} of {self._directory}"

    def _place(self, parts: tuple[str, ...]) -> str:
        """Return where an entry lies, without suffix, for this thread."""
        staging = self._session.staging
        if staging is None:
            return "/".join((self._directory, *parts))
        place = staging.place(self._prefix + parts)
        if place is None:
            raise self._missing(parts)
        return place

    def _missing(self, parts: tuple[str, ...]) -> NotFoundError:
        return NotFoundError(
            f"no entry {'/'.join(parts)!r} in record {self._directory}; list what is there with record.keys()"
        )

    def __getitem__(self, key: str) -> Any:
        self._settle()
        parts = split(key)
        path, what = self._place(parts), self._what(parts)
        for _ in range(_TRIES):
            try:
                view = open_array(path + SUFFIX, what)
            except MissingFileError:
                raise
            except NotFoundError:
                kind = kind_of(path)
                if kind is None:
                    raise self._missing(parts) from None
                if kind == "directory":
                    return self.below(parts)
                if kind == "file":
                    return Path(path)
            else:
                with view:
                    return view.read()
        raise self._missing(parts)

    def open(self, key: str) -> Any:
        """Open an entry lazily; see `Record.open`."""
        self._settle()
        parts = split(key)
        path, what = self._place(parts), self._what(parts)
        for _ in range(_TRIES):
            kind = kind_of(path)
            try:
                if kind == "array":
                    return open_array(path + SUFFIX, what)
                if kind == "file":
                    digests = sidecars.verify(path, what)
                    with os_errors(what, "read"):
                        return sidecars.VerifiedFile(open(path, "rb"), digests, what)  # closed by its user
            except MissingFileError:
                raise
            except NotFoundError:
                continue
            if kind == "directory":
                raise InvalidInputError(
                    f"{what} is a directory of entries; subscript it instead of opening it"
                )
            break
        raise self._missing(parts)

    def __setitem__(self, key: str, value: Any) -> None:
        parts = writable(split(key))
        content = as_content(value)
        self._settle()
        self.put_content(parts, content)

    def put_content(self, parts: tuple[str, ...], content: Content) -> None:
        """Write checked content to an entry; see `holdfast.records.values`."""
        staging = self._session.staging
        if staging is not None:
            staging.put(self._prefix + parts, content)
            return
        path = "/".join((self._directory, *parts))
        self._session.sweep_once(os.path.dirname(path))
        try:
            write_content(self._session.root, path, self._what(parts), content, self._durability)
        except KindChangesError:
            change_kind(self._session, self._prefix + parts, content)

    def append(self, key: str, item: Any, *, idempotency_key: str | None = None) -> int | None:
        """Append one item on a new leading axis; see `Record.append`."""
        return self._grow(key, item, idempotency_key, is_item=True)

    def extend(self, key: str, items: Any, *, idempotency_key: str | None = None) -> int | None:
        """Concatenate items along the first axis; see `Record.extend`."""
        return self._grow(key, items, idempotency_key, is_item=False)

    def _grow(self, key: str, value: Any, idempotency_key: str | None, *, is_item: bool) -> int | None:
        content = as_content(value)
        if isinstance(content, RecordCopy):
            content = in_memory(value)
        return self.grow_content(writable(split(key)), content, idempotency_key, is_item=is_item)

    def grow_content(
        self, parts: tuple[str, ...], content: Content, idempotency_key: str | None, *, is_item: bool
    ) -> int | None:
        """Append checked content to entries; see `holdfast.records.values`."""
        token = None if idempotency_key is None else key_bytes(idempotency_key)
        self._settle()
        if isinstance(content, Values):
            return self._add(parts, as_rows(content, is_item=is_item), token)
        grown = [(parts + below, rows_of(inner, is_item=is_item)) for below, inner in leaves(content)]
        for place, rows in grown:
            check_fits(self._place(place), self._what(place), rows)
        for place, rows in grown:
            self._add(place, rows, token)
        return None

    def _add(self, parts: tuple[str, ...], rows: NewRows, token: bytes | None) -> int | None:
        staging, what = self._session.staging, self._what(parts)
        if staging is not None:
            staging.append(self._prefix + parts, rows, token)
            return None  # it is known when the transaction ends
        path = "/".join((self._directory, *parts))

        def before() -> None:
            if os.path.lexists(path):
                raise InvalidTypeError(f"{what} is no array but a file or directory: no rows can be appended")

        def action() -> int:
            return self._session.appends.append(path + SUFFIX, what, rows, token or bytes(16), before)

        if not self._session.appends.is_open(path + SUFFIX):
            self._session.sweep_once(os.path.dirname(path))
        try:
            return in_directory(self._session.root, os.path.dirname(path), action)
        except LookupError as error:
            if isinstance(error, NotFoundError):
                raise
            adopt_for_rows(path + SUFFIX, what)
            return action()

    def __delitem__(self, key: str) -> None:
        self._settle()
        parts = split(key)
        path = self._place(parts)
        kind = kind_of(path)
        if kind is None:
            raise self._missing(parts)
        staging = self._session.staging
        if staging is not None:
            staging.delete(self._prefix + parts)
            return
        try:
            self._delete(path, kind)
        except NotFoundError:
            raise self._missing(parts) from None
        prune_parents(self._directory, os.path.dirname(path))

    def _delete(self, path: str, kind: str) -> None:
        directory = os.path.dirname(path)
        if kind == "directory":
            delete_tree(path)
            return
        require_writer(directory, "delete")
        if kind == "array":
            delete(path + SUFFIX)
            sidecars.prune(path + SUFFIX)
            return
        with locked_directory(directory), os_errors(path, "delete"):
            os.unlink(path)
        sidecars.prune(path)

    def __iter__(self) -> Iterator[str]:
        self._settle()
        staging = self._session.staging
        if staging is not None:
            place = staging.place(self._prefix) if self._prefix else self._directory
            return iter(staging.names(self._prefix, [] if place is None else child_names(place)))
        state = resting_state(self._directory)
        names = child_names(self._directory)
        self._counted = None if state is None else (state, len(names))
        return iter(names)

    def __len__(self) -> int:
        # list(record) asks for the length as soon as it has the names.
        counted = self._counted
        if counted and self._session.staging is None and resting_state(self._directory) == counted[0]:
            return counted[1]
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str | os.PathLike):
            return False
        try:
            return kind_of(self._place(split(os.fspath(key)))) is not None
        except (NotFoundError, InvalidInputError):
            return False

    def follow(self, key: str, start: int = 0, timeout: float | None = None) -> Iterator[Any]:
        """Yield rows as they arrive; see `Record.follow`."""
        self._settle()
        parts = split(key)
        return follow_rows("/".join((self._directory, *parts)) + SUFFIX, self._what(parts), start, timeout)

    def transaction(self) -> AbstractContextManager[None]:
        """Publish all changes of a ``with`` block at once; see `Record.transaction`."""
        self._settle()
        return transaction(self._session)

    def compact(self, key: str | None = None) -> None:
        """Fold appended rows into one plain file per entry; see `Record.compact`."""
        self._settle()
        self._for_entries(key, compact_entries)

    def adopt(self, key: str) -> None:
        """Accept an entry as it is and give it digests; see `Record.adopt`."""
        self._settle()
        parts = split(key)
        path, what = self._place(parts), self._what(parts)
        kind = kind_of(path)
        if kind == "array":
            adopt_array(path + SUFFIX, what)
        elif kind == "file":
            adopt_file(path, what)
        elif kind == "directory":
            for name in self.below(parts):
                self.below(parts).adopt(name)
        else:
            raise self._missing(parts)

    def check(self, key: str | None = None) -> Report:
        """Read and verify every byte; see `Record.check`."""
        self._settle()
        report: Report = self._for_entries(key, check_entries)
        return report

    def _for_entries(self, key: str | None, action: Callable[[str, str], Any]) -> Any:
        parts = () if key is None else split(key)
        path = self._place(parts) if parts else self._directory
        if parts and kind_of(path) is None:
            raise self._missing(parts)
        return action(path, "/".join(parts))

    @property
    def cmd_spec(self) -> dict[str, Any] | None:
        """The type and configuration of the command that made this record."""
        return read_spec(self._directory)

    @property
    def cmd_status(self) -> str:
        """``unbegun``, ``running``, ``done`` or ``stopped``."""
        return read_status(self._directory)

    def close(self) -> None:
        """Commit what waits and close what is open."""
        self._session.appends.close()
