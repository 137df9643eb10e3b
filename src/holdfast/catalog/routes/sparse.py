"""Own the answers with sparse arrays: stored values and their coordinates, as the columns of a table.

References
----------
Tiled 0.2.20: ``/array/full`` and ``/array/block`` of nodes of the family ``sparse``, by default as an Arrow
file with the columns ``dim0``, ``dim1`` … and ``data``; coordinates count from the start of the slice or
block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.routes.exported import export_reply
from holdfast.formats.exports.base import HeldTable, TablePart
from holdfast.formats.exports.registry import exports_of
from holdfast.http.limits import Limits
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.formats.slicing import Selection
    from holdfast.formats.sparse import SparseReader

__all__ = ["sparse_reply"]


def sparse_reply(
    request: Request, reader: SparseReader, selection: Selection, name: str, filename: str | None
) -> Reply:
    """Answer a part of a sparse array.

    Parameters
    ----------
    request : Request
        The request.
    reader : SparseReader
        The array.
    selection : Selection
        The part.
    name : str
        The key of the node.
    filename : str or None
        The name that the client asks for.

    Raises
    ------
    NotAcceptableError
        Another format than one for tables.
    TooLargeError
        More is stored there than an answer may have.
    """
    exports = exports_of("sparse")
    media_type = negotiate(request, exports.media_types, exports.aliases)
    found = HeldTable(reader.select(selection, Limits().answer_bytes).to_table())
    return export_reply(request, exports, media_type, TablePart.of(found), name, filename)
