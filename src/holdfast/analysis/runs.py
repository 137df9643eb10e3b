"""Own the analysis in progress: header, streams and tail in the right order, references in batches.

>>> Analysis.__name__
'Analysis'
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from holdfast.analysis.plain import plain
from holdfast.types import Json

__all__ = ["Analysis", "Stream"]

_BATCH = 500


class _Client(Protocol):
    def insert_analysis_header(self, /, **fields: Any) -> str: ...

    def insert_analysis_tail(self, /, analysis_header: Any, **fields: Any) -> str: ...

    def insert_data_reference_header(self, /, analysis_header: Any, **fields: Any) -> str: ...

    def _insert(self, kind: str, documents: list[dict[str, Json]]) -> list[str]: ...


class Analysis:
    """Insert the documents of one analysis.

    Parameters
    ----------
    client : AnalysisClient or LocalAnalysisClient
        Where they go.
    provenance : dict or None
        As ``insert_analysis_header``.
    fields : dict
        Further fields of the header.

    Attributes
    ----------
    uid : str
        The uid of the header, once it is inserted.

    Notes
    -----
    Leaving the block inserts the tail: ``success``, or ``fail`` with the exception as its reason.
    """

    def __init__(self, client: _Client, provenance: Any, fields: dict[str, Any]) -> None:
        self._client, self._fields = client, {"provenance": provenance, **fields}
        self._streams: dict[str, Stream] = {}
        self.uid = ""

    def __enter__(self) -> Self:
        self.uid = self._client.insert_analysis_header(**self._fields)
        return self

    def stream(self, name: str, data_keys: Any = None, **fields: Any) -> Stream:
        """Return the stream with a name; its header is inserted at the first call.

        Parameters
        ----------
        name : str
            The name.
        data_keys : dict, optional
            As ``insert_data_reference_header``.
        **fields
            Further fields of its header.

        Returns
        -------
        Stream
            Add data references to it.
        """
        if name not in self._streams:
            header = self._client.insert_data_reference_header(
                self.uid, data_keys=data_keys, name=name, **fields
            )
            self._streams[name] = Stream(self._client, header)
        return self._streams[name]

    def flush(self) -> None:
        """Insert the references that are still waiting."""
        for stream in self._streams.values():
            stream.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except BaseException as failure:
            self._finish(error or failure)
            raise
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        outcome = {"exit_status": "success"}
        if error is not None:
            outcome = {"exit_status": "fail", "reason": f"{type(error).__name__}: {error}"}
        self._client.insert_analysis_tail(self.uid, **outcome)


class Stream:
    """Add data references to a stream, in batches.

    Parameters
    ----------
    client : AnalysisClient or LocalAnalysisClient
        Where they go.
    uid : str
        The uid of the data reference header.
    """

    def __init__(self, client: _Client, uid: str) -> None:
        self._client, self.uid = client, uid
        self._waiting: list[dict[str, Json]] = []

    def add(self, data: Mapping[str, Any], timestamps: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Add one reference; it is durable at the next `flush`, at the latest when the analysis ends.

        Parameters
        ----------
        data : mapping
            A value, or a link, for each declared key.
        timestamps : mapping, optional
            When each value was taken.
        **fields
            Further fields.

        Returns
        -------
        str
            The uid.
        """
        document: dict[str, Json] = {
            "uid": str(uuid.uuid4()),
            "time": time.time(),
            "data_reference_header": self.uid,
            "data": plain(dict(data), "document.data"),
            "timestamps": plain(dict(timestamps), "document.timestamps") if timestamps else {},
        }
        if fields:
            document |= plain(fields)
        self._waiting.append(document)
        if len(self._waiting) >= _BATCH:
            self.flush()
        return str(document["uid"])

    def flush(self) -> None:
        """Insert the references that are waiting; each batch is all or nothing."""
        while self._waiting:
            batch = self._waiting[:_BATCH]
            self._client._insert("data_reference", batch)
            del self._waiting[: len(batch)]
