"""Own the client that needs no server: it keeps documents in a directory of its own machine.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory, LocalAnalysisClient(directory) as client:
...     uid = client.insert_analysis_header(provenance={"software": "fit"})
...     client.count("analysis_header", {"uid": uid})
1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.analysis.documents import Documents
from holdfast.analysis.lineage import Lineage, trace
from holdfast.analysis.plain import plain
from holdfast.analysis.verbs import ClientVerbs
from holdfast.files import make_directories
from holdfast.paths import local_path
from holdfast.types import Json, PathLike

__all__ = ["LocalAnalysisClient"]


class LocalAnalysisClient(ClientVerbs):
    """Keep analysis documents in a directory, without a server.

    Parameters
    ----------
    top_dir : path-like
        The directory; it is made when absent.
    strict : bool, default True
        Refuse documents whose parent is not there; else keep them and mark them as orphans.
    database : path-like, optional
        Where the database lies, if not where it lies by rule.

    Notes
    -----
    Safe across threads, processes and fork; pickles by path.
    """

    def __init__(self, top_dir: PathLike, *, strict: bool = True, database: PathLike | None = None) -> None:
        directory = local_path(top_dir)
        make_directories(directory)
        self._arguments = (str(directory), strict, database)
        self._documents = Documents(directory, database, strict=strict)

    def _insert(self, kind: str, documents: list[dict[str, Json]]) -> list[str]:
        return self._documents.insert(kind, documents)

    def _find(self, kind: str, query: dict[str, Json], options: dict[str, Json]) -> list[dict[str, Json]]:
        return self._documents.find(kind, query, **options)

    def count(self, doc_type: str, query: Mapping[str, Json] = {}) -> int:  # never changed
        """Return the exact number of documents that a filter finds; see `find`."""
        return self._documents.count(doc_type, plain(dict(query), "query"))

    def orphans(self, doc_type: str) -> list[dict[str, Json]]:
        """Return the documents of a kind whose parent was not there when a lenient client took them.

        Parameters
        ----------
        doc_type : str
            The kind of document.

        Returns
        -------
        list of dict
            The documents, oldest first.
        """
        return self._documents.orphans(doc_type)

    def connection_status(self) -> bool:
        """Return True: there is no server to be lost."""
        return True

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
            See `ClientVerbs.lineage`.
        """
        return trace(self._documents, uid, direction)

    def close(self) -> None:
        """Close the database."""
        self._documents.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, self._arguments

    def __repr__(self) -> str:
        return f"LocalAnalysisClient({self._arguments[0]!r})"


def _reopened(directory: str, strict: bool, database: PathLike | None) -> LocalAnalysisClient:
    return LocalAnalysisClient(directory, strict=strict, database=database)
