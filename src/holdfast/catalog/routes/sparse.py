"""Own the answers with sparse arrays: stored values and their coordinates, as the columns of a table.

References
----------
Tiled 0.2.20: ``/array/full`` and ``/array/block`` of nodes of the family ``sparse``, by default as an Arrow
file with the columns ``dim0``, ``dim1`` … and ``data``; coordinates count from the start of the slice or
block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.routes.tables import TABLE_ALIASES, TABLE_TYPES, table_reply
from holdfast.http.limits import Limits
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.formats.slicing import Selection
    from holdfast.formats.sparse import SparseReader

__all__ = ["SPARSE_ALIASES", "SPARSE_TYPES", "sparse_reply"]

SPARSE_TYPES, SPARSE_ALIASES = TABLE_TYPES, TABLE_ALIASES


def sparse_reply(request: Request, reader: SparseReader, selection: Selection, filename: str) -> Reply:
    """Answer a part of a sparse array.

    Parameters
    ----------
    request : Request
        The request.
    reader : SparseReader
        The array.
    selection : Selection
        The part.
    filename : str
        The name a browser saves it under.

    Raises
    ------
    NotAcceptableError
        Another format than one for tables.
    TooLargeError
        More is stored there than an answer may have.
    """
    media_type = negotiate(request, SPARSE_TYPES, SPARSE_ALIASES)
    found = reader.select(selection, Limits().answer_bytes)
    return table_reply(request, found.to_table(), media_type, filename)
