"""Own the answers with tables: whole, by partition, some columns, as Arrow, CSV or JSON.

References
----------
Tiled 0.2.20: ``/table/full`` and ``/table/partition``, GET and (for long lists of columns) POST.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import PartitionParams, TableParams
from holdfast.errors import TooLargeError
from holdfast.formats.tables import Table
from holdfast.http.limits import Limits
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, bytes_reply, encode_json
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["TABLE_ALIASES", "TABLE_TYPES", "TableRoutes", "table_reply"]

ARROW, CSV, JSON = "application/vnd.apache.arrow.file", "text/csv", "application/json"
JSON_LINES = "application/json-seq"
TABLE_TYPES = (ARROW, CSV, JSON, JSON_LINES)
TABLE_ALIASES = {"arrow": ARROW, "csv": CSV, "json": JSON, "json-seq": JSON_LINES}
_SUFFIXES = {ARROW: ".arrow", CSV: ".csv", JSON: ".json", JSON_LINES: ".jsonl"}


class TableRoutes:
    """Answer with tables.

    Parameters
    ----------
    catalog : Catalog
        The tables.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def full(self, request: Request) -> Reply:
        """Answer a whole table."""
        params = request.params(TableParams)
        columns = _columns(request, [*params.column, *params.field])
        return self._answer(request, columns, None, params.filename)

    def partition(self, request: Request) -> Reply:
        """Answer one partition of a table."""
        params = request.params(PartitionParams)
        columns = _columns(request, [*params.column, *params.field])
        return self._answer(request, columns, params.partition, params.filename)

    def _answer(
        self, request: Request, columns: list[str] | None, partition: int | None, filename: str | None
    ) -> Reply:
        media_type = negotiate(request, TABLE_TYPES, TABLE_ALIASES)
        path = node_path(request)
        with self._catalog.table(path) as reader:
            table = reader.read(columns, partition)
        return table_reply(request, table, media_type, filename or f"{path[-1]}{_SUFFIXES[media_type]}")


def table_reply(request: Request, table: Table, media_type: str, filename: str) -> Reply:
    """Answer a table.

    Parameters
    ----------
    request : Request
        The request.
    table : Table
        What is sent.
    media_type : str
        One of `TABLE_TYPES`.
    filename : str
        The name a browser saves it under.

    Raises
    ------
    TooLargeError
        Over the limit of an answer.
    """
    _check_size(table)
    return bytes_reply(request, _WRITERS[media_type](table), media_type=media_type, filename=filename)


def _columns(request: Request, named: Sequence[str]) -> list[str] | None:
    if request.method == "POST":
        posted: list[str] = request.json(list[str])
        return posted or None
    return list(named) or None


def _check_size(table: Table) -> None:
    size = sum(table[name].nbytes for name in table.columns)
    if size > Limits().answer_bytes:
        raise TooLargeError(
            f"this table has {size} bytes, over the limit of {Limits().answer_bytes}; ask for some columns"
        )


def _json(table: Table) -> bytes:
    rows = table.to_rows()
    return encode_json({name: [row[name] for row in rows] for name in table.columns})


def _json_lines(table: Table) -> bytes:
    return b"".join(b"\x1e" + encode_json(row) + b"\n" for row in table.to_rows())


def _csv(table: Table) -> bytes:
    return table.to_csv().encode("utf-8", "backslashreplace")


_WRITERS = {ARROW: Table.to_ipc, CSV: _csv, JSON: _json, JSON_LINES: _json_lines}
