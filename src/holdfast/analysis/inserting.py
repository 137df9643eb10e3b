"""Own the verbs that insert: the seed's signatures, on the one step that each client does its own way.

>>> InsertVerbs.update_analysis_header.__name__
'update_analysis_header'
"""

from __future__ import annotations

import time as clock
import uuid as uuids
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from holdfast.analysis.kinds import HEADER, REFERENCE, STREAM, TAIL, kind_of
from holdfast.analysis.plain import plain, seconds
from holdfast.errors import ImmutableDocumentError, InvalidInputError
from holdfast.types import Json

__all__ = ["CHUNK", "InsertVerbs", "complete", "uid_of"]

CHUNK = 500
"""How many data references are sent at once."""


class InsertVerbs(ABC):
    """Insert analysis documents.

    References
    ----------
    Seed 3, ``AnalysisClient``; original: ``analysisstore.client.commands``.
    """

    @abstractmethod
    def _insert(self, kind: str, documents: list[dict[str, Json]]) -> list[str]:
        """Keep documents of one kind, all or none, and return their uids."""

    def insert_analysis_header(
        self, /, uid: Json = None, time: Any = None, provenance: Any = None, **kwargs: Any
    ) -> str:
        """Create the entry point of an analysis.

        Parameters
        ----------
        uid : str, optional
            Its uid; a random one by default.
        time : float or datetime, optional
            When it began, seconds since the epoch; now by default.
        provenance : dict, optional
            What it is made from: ``used``, ``generated`` and ``derived_from`` are links, all else is free.
        **kwargs
            Further fields.

        Returns
        -------
        str
            The uid.

        Raises
        ------
        InvalidInputError
            For a document that the schema refuses; the message says where.
        ConflictError
            When the uid is taken by other content.
        """
        provenance = {} if provenance is None else provenance
        return self._insert_one(HEADER.name, {"uid": uid, "time": time, "provenance": provenance, **kwargs})

    def insert_analysis_tail(
        self,
        /,
        analysis_header: Any,
        uid: Json = None,
        time: Any = None,
        exit_status: Json = "success",
        **kwargs: Any,
    ) -> str:
        """Create the exit point of an analysis; a header has one.

        Parameters
        ----------
        analysis_header : str or dict
            The header, or its uid.
        uid, time
            As `insert_analysis_header`.
        exit_status : str
            How it ended.
        **kwargs
            Further fields, such as ``reason``.

        Returns
        -------
        str
            The uid.

        Raises
        ------
        ConflictError
            When the header is not there, or has a tail.
        """
        header = uid_of(analysis_header)
        fields = {"uid": uid, "analysis_header": header, "time": time, "exit_status": exit_status}
        return self._insert_one(TAIL.name, {**fields, **kwargs})

    def insert_data_reference_header(
        self,
        /,
        analysis_header: Any,
        uid: Json = None,
        time: Any = None,
        data_keys: Any = None,
        **kwargs: Any,
    ) -> str:
        """Declare a stream of data references.

        Parameters
        ----------
        analysis_header : str or dict
            The header, or its uid.
        uid, time
            As `insert_analysis_header`.
        data_keys : dict
            For each key its ``source``, ``dtype`` and ``shape``.
        **kwargs
            Further fields, such as ``name``.

        Returns
        -------
        str
            The uid.
        """
        fields = {
            "uid": uid,
            "analysis_header": uid_of(analysis_header),
            "time": time,
            "data_keys": data_keys or {},
        }
        return self._insert_one(STREAM.name, {**fields, **kwargs})

    def insert_data_reference(
        self,
        /,
        data_header: Any,
        uid: Json = None,
        time: Any = None,
        data: Any = None,
        timestamps: Any = None,
        **kwargs: Any,
    ) -> str:
        """Insert one data reference.

        Parameters
        ----------
        data_header : str or dict
            The data reference header, or its uid.
        uid, time
            As `insert_analysis_header`.
        data : dict
            A value, or a link, for each declared key.
        timestamps : dict, optional
            When each value was taken, seconds since the epoch.
        **kwargs
            Further fields, such as ``seq_num``; the stream's next number by default.

        Returns
        -------
        str
            The uid.
        """
        fields = {"uid": uid, "data_reference_header": uid_of(data_header), "time": time}
        return self._insert_one(
            REFERENCE.name, {**fields, "data": data or {}, "timestamps": timestamps or {}, **kwargs}
        )

    def insert_bulk_data_reference(
        self, /, data_header: Any, data: Iterable[Mapping[str, Any]], chunk_size: int = CHUNK, **kwargs: Any
    ) -> list[str]:
        """Insert many data references, chunk by chunk.

        Parameters
        ----------
        data_header : str or dict
            The data reference header, or its uid.
        data : iterable of mapping
            The references, each with ``data``; a generator is taken as it comes. They are not changed.
        chunk_size : int, default 500
            How many are sent at once; a chunk is kept as a whole or not at all.
        **kwargs
            Fields that all references get, where they do not have them.

        Returns
        -------
        list of str
            The uids, in order.

        Raises
        ------
        InvalidInputError
            For a reference that cannot be kept; the message has its number. The chunks before it are kept.
        """
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
            raise InvalidInputError(f"chunk_size must be a whole number from 1 up, not {chunk_size!r:.40}")
        header, source, done = uid_of(data_header), iter(data), list[str]()
        while chunk := list(islice(source, chunk_size)):
            documents = [
                complete(REFERENCE.name, _reference(each, header, kwargs), f"document {len(done) + n}")
                for n, each in enumerate(chunk, 1)
            ]
            done += self._insert_chunk(documents, len(done))
        return done

    def _insert_chunk(self, documents: list[dict[str, Json]], before: int) -> list[str]:
        try:
            return self._insert(REFERENCE.name, documents)
        except InvalidInputError as error:
            if before:
                error.message += f" (the {before} documents of the chunks before are kept)"
            raise

    def _insert_one(self, kind: str, fields: dict[str, Any]) -> str:
        return self._insert(kind, [complete(kind, fields, kind)])[0]

    def insert(self, doc_type: str, /, **kwargs: Any) -> str:
        """Insert a document of any kind.

        Parameters
        ----------
        doc_type : str
            ``analysis_header``, ``analysis_tail``, ``data_reference_header`` or ``data_reference``.
        **kwargs
            Its fields.

        Returns
        -------
        str
            The uid.

        Raises
        ------
        NotFoundError
            A KeyError, for another kind.
        """
        kind = kind_of(doc_type)
        fields = dict(kwargs)
        if kind.parent_field in fields:
            fields[str(kind.parent_field)] = uid_of(fields[str(kind.parent_field)])
        if kind is HEADER:
            fields.setdefault("provenance", {})
        return self._insert_one(kind.name, fields)

    def update_analysis_header(self, query: Any, update: Any) -> None:
        """Refuse: documents are immutable; see `supersede`."""
        raise ImmutableDocumentError(
            "analysis documents are immutable; supersede(uid, …) inserts a new header"
        )

    def update_analysis_tail(self, query: Any, update: Any) -> None:
        """Refuse: documents are immutable; see `supersede`."""
        raise ImmutableDocumentError("analysis documents are immutable; supersede(uid, …) inserts a new tail")


def uid_of(document: Any) -> Json:
    """Return the uid of a document that may be given as `find` returned it, or as its uid."""
    return document["uid"] if isinstance(document, Mapping) else document


def _reference(each: Any, header: Json, further: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(each, Mapping):
        raise InvalidInputError(f"a data reference is an object with 'data', not {each!r:.80}")
    return {"timestamps": {}, **further, **each, "data_reference_header": header}


def complete(kind: str, fields: dict[str, Any], where: str) -> dict[str, Json]:
    """Return a document ready to be sent, with uid and time, so that a retry is the same document."""
    document = dict(fields)
    document["uid"] = str(uuids.uuid4()) if document.get("uid") is None else document["uid"]
    document["time"] = clock.time() if document.get("time") is None else seconds(document["time"])
    found = plain(document, where)
    assert isinstance(found, dict)
    return found
