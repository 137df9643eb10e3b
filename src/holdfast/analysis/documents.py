"""Own the analysis documents of a directory: inserted once, never changed, found by filters.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory, Documents(directory) as documents:
...     uids = documents.insert("analysis_header", [{"uid": "a", "time": 1.5, "provenance": {}}])
...     documents.find("analysis_header", {"time": {"$gt": 1}})
[{'uid': 'a', 'time': 1.5, 'provenance': {}}]
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from holdfast.analysis.kinds import HEADER, REFERENCE, STREAM, TAIL, Kind, kind_of
from holdfast.analysis.linking import Places, has_links, linked
from holdfast.analysis.preparing import Prepared, prepare
from holdfast.analysis.projecting import projected
from holdfast.analysis.schemas import check_data, check_size
from holdfast.database import Database, DocumentWindow, NewDocument, NewLink, Transaction, locate
from holdfast.database.sorting import Order, order_of
from holdfast.errors import AlreadyExistsError, ConflictError, InvalidInputError
from holdfast.queries import from_mongo
from holdfast.queries.values import equal
from holdfast.types import Json, PathLike

__all__ = ["NEWEST_FIRST", "Documents"]

NEWEST_FIRST: tuple[tuple[str, int], ...] = (("time", -1),)
_encode = msgspec.json.Encoder().encode
_KNOWN_HEADERS = 10_000
_Parents = dict[str, dict[str, Any] | None]


class Documents:
    """Keep the analysis documents of a directory in its database.

    Parameters
    ----------
    directory : path-like
        The directory; its database lies where ``database.locate`` says.
    database : path-like, optional
        Where the database shall lie instead.
    strict : bool, default True
        Refuse documents whose parent is not there; else they are kept and marked as orphans.
    read_only : bool, default False
        Never write; so it is in any case where the database cannot be written.

    Raises
    ------
    NotFoundError
        When there is no such directory.

    Notes
    -----
    Safe across threads, processes and fork. An insert is durable when it returns.
    """

    def __init__(
        self,
        directory: PathLike,
        database: PathLike | None = None,
        *,
        strict: bool = True,
        read_only: bool = False,
    ) -> None:
        location = locate(directory, database)
        self.directory, self.strict = location.directory, strict
        # On a medium that cannot be written, what is there can still be found.
        is_fixed = location.exists and not os.access(location.database, os.W_OK)
        self.database = Database(location.database, read_only=read_only or is_fixed)
        self.places = Places(self.database.uid, location.directory)
        self._headers: dict[tuple[str, str], dict[str, Any]] = {}

    # -- inserting -------------------------------------------------------------------------------------

    def insert(
        self, kind: str, documents: Sequence[Mapping[str, Json]], actor: str = "", *, wait: bool = True
    ) -> list[str]:
        """Keep documents of one kind, all of them or none.

        Parameters
        ----------
        kind : str
            One of ``analysis_header``, ``analysis_tail``, ``data_reference_header``, ``data_reference``.
        documents : sequence of mapping
            JSON values; they are not changed. ``uid``, ``time``, ``seq_num`` are filled where absent.
        actor : str
            Who inserts, for the log.
        wait : bool, default True
            Wait while others write, or else raise a `BusyError`.

        Returns
        -------
        list of str
            The uids, in order.

        Raises
        ------
        InvalidInputError
            For a document that its schema refuses; the message says which one and where.
        ConflictError
            When a uid is taken by other content (the same content is a harmless retry), when the parent is
            not there, or when the header has a tail already.
        BusyError
            When others write and ``wait`` is False; nothing is kept.
        """
        found = kind_of(kind)
        prepared = prepare(found, documents)
        if not prepared:
            return []
        parents = self._parents(found, prepared)
        return self.database.write(lambda tx: self._write(tx, found, prepared, parents, actor), wait=wait)

    def _parents(self, kind: Kind, prepared: list[Prepared]) -> _Parents:
        """Return the parents that are there already; what was seen once is there for ever."""
        found: _Parents = {}
        if kind.parent is None or kind.parent_field is None:
            return found
        for uid in {each.document[kind.parent_field] for each in prepared}:
            known = self._headers.get((kind.parent, uid))
            if known is None:
                body = self.database.documents.get(kind_of(kind.parent).collection, uid)
                if body is None:
                    continue
                known = self._remember(kind.parent, uid, body)
            found[uid] = known
        return found

    def _remember(self, kind: str, uid: str, body: str) -> dict[str, Any]:
        if len(self._headers) >= _KNOWN_HEADERS:
            self._headers.clear()
        document = json.loads(body)
        kept = {name: document[name] for name in ("data_keys", "analysis_header") if name in document}
        self._headers[kind, uid] = kept
        return kept

    def _write(
        self,
        tx: Transaction,
        kind: Kind,
        prepared: list[Prepared],
        parents: _Parents,
        actor: str,
    ) -> list[str]:
        if kind is HEADER and len(prepared) == 1:
            # A header is hardly ever sent twice, and the table says so by itself if it was.
            try:
                return self._write_fresh(tx, kind, prepared, parents, actor, {})
            except AlreadyExistsError:
                pass
        stored = tx.documents.known(kind.collection, [each.uid for each in prepared])
        return self._write_fresh(tx, kind, prepared, parents, actor, stored)

    def _write_fresh(
        self,
        tx: Transaction,
        kind: Kind,
        prepared: list[Prepared],
        parents: _Parents,
        actor: str,
        stored: dict[str, str],
    ) -> list[str]:
        fresh: dict[str, Prepared] = {}
        for each in prepared:
            uid = each.uid
            if uid in stored:
                self._check_retry(each, json.loads(stored[uid]))
            elif uid in fresh:
                self._check_retry(each, fresh[uid].document)
            else:
                self._check_parent(tx, kind, each, parents)
                fresh[uid] = each
        if fresh:
            self._keep(tx, kind, list(fresh.values()))
            tx.log.add("insert", kind.name, actor, {"documents": len(fresh), "uid": next(iter(fresh))})
        return [each.uid for each in prepared]

    def _check_retry(self, each: Prepared, twin: dict[str, Json]) -> None:
        is_numbered = "seq_num" in each.document
        ignored = {*each.filled, *(() if is_numbered else ("seq_num",))}
        again, _ = linked(self.places, each.kind.name, each.document, str(twin.get("uid")))
        if not equal(_without(again, ignored), _without(twin, ignored)):
            raise ConflictError(
                f"{each}: uid {each.uid!r} is taken by other content; documents are immutable, "
                "insert a new one that supersedes it"
            )

    def _check_parent(self, tx: Transaction, kind: Kind, each: Prepared, parents: _Parents) -> None:
        if kind.parent is None or kind.parent_field is None:
            return
        uid = each.document[kind.parent_field]
        if uid not in parents:
            body = tx.documents.get(kind_of(kind.parent).collection, uid)
            if body is None and self.strict:
                raise ConflictError(f"{each}: there is no {kind.parent} {uid!r}; insert it first")
            parents[uid] = None if body is None else json.loads(body)
        parent = parents[uid]
        each.is_orphan = parent is None
        if kind is REFERENCE and parent is not None:
            check_data(each.document["data"], parent.get("data_keys", {}), each)
        if kind is TAIL:
            self._check_tail(tx, each, uid)

    def _check_tail(self, tx: Transaction, each: Prepared, header: str) -> None:
        tails = [json.loads(body)["uid"] for body in tx.documents.of_header(TAIL.collection, header)]
        if tails and each.document.get("supersedes") != tails[-1]:
            raise ConflictError(
                f"{each}: analysis_header {header!r} already has the tail {tails[-1]!r}; supersede it"
            )

    def _keep(self, tx: Transaction, kind: Kind, fresh: list[Prepared]) -> None:
        if kind is REFERENCE:
            _number(tx, fresh)
        rows, links = [], list[NewLink]()
        for each in fresh:
            document = each.document
            if has_links(kind.name, document):
                document, edges = linked(
                    self.places, kind.name, document, self._header_of(tx, kind, document)
                )
                links += edges
            body = _encode(document)
            check_size(each, len(body))
            header = document[kind.parent_field] if kind.parent_field else None
            number = document.get("seq_num") if kind is REFERENCE else None
            text = body.decode()
            rows.append(NewDocument(each.uid, document["time"], text, header, number, each.is_orphan))
        tx.documents.add(kind.collection, rows)
        if links:
            tx.links.add(links)

    def _header_of(self, tx: Transaction, kind: Kind, document: dict[str, Json]) -> str:
        if kind is HEADER:
            return str(document["uid"])
        if kind is not REFERENCE:
            return str(document["analysis_header"])
        stream = document["data_reference_header"]
        known = self._headers.get((STREAM.name, stream))
        if known is None:
            body = tx.documents.get(STREAM.collection, stream)
            known = {} if body is None else json.loads(body)
        return str(known.get("analysis_header", stream))

    # -- finding ---------------------------------------------------------------------------------------

    def find_bodies(
        self,
        kind: str,
        filter: Mapping[str, Json],
        *,
        sort: Iterable[tuple[str, int]] = NEWEST_FIRST,
        limit: int | None = None,
        skip: int = 0,
    ) -> list[str]:
        """Return the JSON texts of the documents that a filter finds.

        Parameters
        ----------
        kind : str
            The kind of document.
        filter : mapping
            MongoDB's notation; see ``queries.mongo``.
        sort : iterable of (str, 1 or -1)
            Newest first by default; missing fields come last; equals stay newest first.
        limit : int, optional
            The most documents.
        skip : int, default 0
            How many to leave out first.

        Returns
        -------
        list of str
            The documents as they are kept.

        Raises
        ------
        InvalidInputError
            For an unknown operator, which is named, or a malformed argument.
        """
        found = kind_of(kind)
        window = DocumentWindow(
            _order(sort), -1 if limit is None else _whole(limit, "limit"), _whole(skip, "skip")
        )
        return self.database.documents.search(
            found.collection, from_mongo(dict(filter)), window, **found.columns
        )

    def find(
        self,
        kind: str,
        filter: Mapping[str, Json],
        *,
        sort: Iterable[tuple[str, int]] = NEWEST_FIRST,
        limit: int | None = None,
        skip: int = 0,
        projection: Json = None,
    ) -> list[dict[str, Json]]:
        """Return the documents that a filter finds; see `find_bodies`.

        Parameters
        ----------
        kind, filter, sort, limit, skip
            As `find_bodies`.
        projection : mapping or list, optional
            The fields to give, or with 0 those to leave out.

        Returns
        -------
        list of dict
            The documents.
        """
        bodies = self.find_bodies(kind, filter, sort=sort, limit=limit, skip=skip)
        return projected((msgspec.json.decode(body) for body in bodies), projection)

    def count(self, kind: str, filter: Mapping[str, Json]) -> int:
        """Return the exact number of documents that a filter finds."""
        found = kind_of(kind)
        return self.database.documents.count(found.collection, from_mongo(dict(filter)), **found.columns)

    def get(self, kind: str, uid: str) -> dict[str, Json] | None:
        """Return the document with a uid, or None."""
        body = self.database.documents.get(kind_of(kind).collection, uid)
        return None if body is None else json.loads(body)

    def orphans(self, kind: str) -> list[dict[str, Json]]:
        """Return the documents of a kind whose parent was not there when they were taken; oldest first."""
        return [json.loads(body) for body in self.database.documents.orphans(kind_of(kind).collection)]

    def tend(self) -> None:
        """Do what inserts without waiting left to be done: for a moment in which nobody waits for it."""
        self.database.tend()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _without(document: dict[str, Json], names: set[str]) -> dict[str, Json]:
    return {name: value for name, value in document.items() if name not in names}


def _number(tx: Transaction, fresh: list[Prepared]) -> None:
    last: dict[str, int] = {}
    for each in fresh:
        stream = each.document["data_reference_header"]
        if stream not in last:
            last[stream] = tx.documents.last_number(REFERENCE.collection, stream)
        number = each.document.setdefault("seq_num", last[stream] + 1)
        last[stream] = max(last[stream], number)


def _order(sort: Iterable[tuple[str, int]]) -> Order | None:
    keys = list(sort)
    if not all(isinstance(key, list | tuple) and len(key) == 2 for key in keys):
        raise InvalidInputError(f"sort must be a list of [field, 1 or -1], not {keys!r:.80}")
    pairs = [(key, direction) for key, direction in keys]
    return None if pairs == list(NEWEST_FIRST) else order_of(pairs)


def _whole(value: Json, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidInputError(f"{name} must be a whole number from 0 up, not {value!r:.40}")
    return value
