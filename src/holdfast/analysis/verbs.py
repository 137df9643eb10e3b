"""Own what both clients can do: the seed's verbs, on four things that each client does its own way.

>>> ClientVerbs.supersede.__name__
'supersede'
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from holdfast.analysis import eventmodel, exports
from holdfast.analysis.documents import NEWEST_FIRST
from holdfast.analysis.inserting import InsertVerbs, complete, uid_of
from holdfast.analysis.kinds import HEADER, REFERENCE, STREAM, TAIL, kind_of
from holdfast.analysis.lineage import Lineage
from holdfast.analysis.plain import plain
from holdfast.analysis.runs import Analysis
from holdfast.errors import NotFoundError
from holdfast.types import Json, PathLike

__all__ = ["ClientVerbs"]


class ClientVerbs(InsertVerbs):
    """Insert and find analysis documents; keywords are always fields of documents.

    References
    ----------
    Seed 3, ``AnalysisClient``; original: ``analysisstore.client.commands``.
    """

    # -- what each client does its own way -------------------------------------------------------------

    @abstractmethod
    def _find(self, kind: str, query: dict[str, Json], options: dict[str, Json]) -> list[dict[str, Json]]:
        """Return documents; options are those of `find`."""

    @abstractmethod
    def count(self, doc_type: str, query: Mapping[str, Json] = {}) -> int:  # never changed
        """Return the exact number of documents that a filter finds."""

    @abstractmethod
    def connection_status(self) -> bool:
        """Return True when documents can be reached."""

    @abstractmethod
    def lineage(self, uid: str, direction: str = "upstream") -> Lineage:
        """Return what a document or an object came from, or what came of it.

        Parameters
        ----------
        uid : str
            The uid of a document, or the uri of anything that an analysis links.
        direction : {"upstream", "downstream"}
            Where to go.

        Returns
        -------
        Lineage
            With ``nodes``, ``edges``, ``tree()`` and ``to_dict()``; a digest that no longer matches is a
            node with the state ``changed``.

        Raises
        ------
        NotFoundError
            When there is no such document, and nothing links the uri.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the server or the database."""

    # -- finding ---------------------------------------------------------------------------------------

    def find(
        self,
        doc_type: str,
        query: Mapping[str, Json] = {},  # never changed
        *,
        sort: Sequence[tuple[str, int]] = NEWEST_FIRST,
        limit: int | None = None,
        skip: int = 0,
        projection: Json = None,
    ) -> list[dict[str, Json]]:
        """Return documents of a kind that a filter finds.

        Parameters
        ----------
        doc_type : str
            The kind of document.
        query : mapping
            MongoDB's notation; see ``queries.mongo``.
        sort : sequence of (str, 1 or -1)
            Newest first by default; missing fields come last.
        limit : int, optional
            The most documents.
        skip : int, default 0
            How many to leave out first.
        projection : mapping or list, optional
            The fields to give.

        Returns
        -------
        list of dict
            The documents.

        Raises
        ------
        NotFoundError
            A KeyError, for another kind.
        InvalidInputError
            For an unknown operator, which is named.
        """
        options = {
            "sort": [list(key) for key in sort],
            "limit": limit,
            "skip": skip,
            "projection": projection,
        }
        return self._find(kind_of(doc_type).name, plain(dict(query), "query"), options)

    def find_analysis_header(self, /, **kwargs: Any) -> list[dict[str, Json]]:
        """Return the analysis headers with these fields; see `find`."""
        return self.find(HEADER.name, kwargs)

    def find_analysis_tail(self, /, **kwargs: Any) -> list[dict[str, Json]]:
        """Return the analysis tails with these fields; see `find`."""
        return self.find(TAIL.name, kwargs)

    def find_data_reference_header(self, /, **kwargs: Any) -> list[dict[str, Json]]:
        """Return the data reference headers with these fields; see `find`."""
        return self.find(STREAM.name, kwargs)

    def find_data_reference(self, /, **kwargs: Any) -> list[dict[str, Json]]:
        """Return the data references with these fields; see `find`."""
        return self.find(REFERENCE.name, kwargs)

    def supersede(self, uid: str, /, **kwargs: Any) -> str:
        """Insert a document in place of another one, which stays and is linked.

        Parameters
        ----------
        uid : str
            The document to be superseded.
        **kwargs
            The fields that differ; all others are taken over.

        Returns
        -------
        str
            The uid of the new document.

        Raises
        ------
        NotFoundError
            When there is no such document.
        """
        for kind in (HEADER, TAIL, STREAM, REFERENCE):
            found = self.find(kind.name, {"uid": uid}, limit=1)
            if found:
                kept = {
                    name: value for name, value in found[0].items() if name not in ("uid", "time", "seq_num")
                }
                return self._insert_one(kind.name, {**kept, **kwargs, "supersedes": uid})
        raise NotFoundError(f"no document has the uid {uid!r:.200}; nothing was superseded")

    # -- whole analyses --------------------------------------------------------------------------------

    def analysis(self, /, provenance: Any = None, **kwargs: Any) -> Analysis:
        """Return a context that inserts header, streams and, also on failure, the tail, in the right order.

        Parameters
        ----------
        provenance : dict, optional
            As `insert_analysis_header`.
        **kwargs
            Further fields of the header.

        Returns
        -------
        Analysis
            Use it in a ``with`` block.
        """
        return Analysis(self, provenance, kwargs)

    def documents(self, header: Any) -> Iterator[tuple[str, dict[str, Json]]]:
        """Yield an analysis as the ``(name, document)`` pairs of event-model.

        Parameters
        ----------
        header : str or dict
            The header, or its uid.

        Yields
        ------
        (str, dict)
            ``start``, each ``descriptor`` with its ``event`` documents, ``stop``.

        Raises
        ------
        NotFoundError
            When there is no such header.
        """
        return eventmodel.pairs(self._bundle(uid_of(header)))

    def insert_document(self, name: str, doc: Mapping[str, Any]) -> None:
        """Keep one document of event-model, as ``RE.subscribe(client.insert_document)`` brings them.

        Parameters
        ----------
        name : str
            ``start``, ``descriptor``, ``event``, ``event_page``, ``bulk_events`` or ``stop``.
        doc : mapping
            The document.

        Raises
        ------
        InvalidInputError
            For a name that cannot be kept, such as ``datum``; it is named.
        """
        kind, documents = eventmodel.kept(name, doc)
        whole = [complete(kind, each, name) for each in documents]
        if whole:
            self._insert(kind, whole)

    def export_prov(self, uid: str) -> dict[str, Json]:
        """Return an analysis as W3C PROV-JSON values.

        Parameters
        ----------
        uid : str
            The uid of its header.

        Returns
        -------
        dict
            A PROV-JSON document.
        """
        return exports.prov(self._bundle(uid))

    def export_ro_crate(self, uid: str, directory: PathLike) -> None:
        """Write an analysis as an RO-Crate directory.

        Parameters
        ----------
        uid : str
            The uid of its header.
        directory : path-like
            Is made; must not exist.

        Raises
        ------
        AlreadyExistsError
            When the directory exists.
        """
        exports.ro_crate(self._bundle(uid), directory)

    def export_event_model(self, uid: str) -> Iterator[str]:
        """Yield an analysis as lines of JSON, each ``[name, document]``."""
        return exports.lines(self.documents(uid))

    def _bundle(self, uid: str) -> eventmodel.Bundle:
        found = self.find(HEADER.name, {"uid": uid}, limit=1)
        if not found:
            raise NotFoundError(
                f"no analysis_header has the uid {uid!r:.200}; list them with 'holdfast analysis ls'"
            )
        tails = self.find(TAIL.name, {HEADER.name: uid}, limit=1)
        streams = self.find(STREAM.name, {HEADER.name: uid}, sort=[("time", 1)])
        references = {
            stream["uid"]: self.find(REFERENCE.name, {STREAM.name: stream["uid"]}, sort=[("seq_num", 1)])
            for stream in streams
        }
        return eventmodel.Bundle(found[0], tails[0] if tails else None, streams, references)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
