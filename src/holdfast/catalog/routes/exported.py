"""Own the answer with an export: its pieces, its name, and whether a browser shows or saves it.

It neither chooses the format nor makes the bytes.
"""

from __future__ import annotations

from typing import Any

from holdfast.formats.exports.registry import Exports
from holdfast.http.reply import Reply, stream_reply
from holdfast.http.request import Request

__all__ = ["export_reply"]


def export_reply(
    request: Request,
    exports: Exports,
    media_type: str,
    part: Any,
    name: str,
    filename: str | None,
) -> Reply:
    """Answer with an array, a table or a tree in another format.

    Parameters
    ----------
    request : Request
        The request.
    exports : Exports
        The targets of its family.
    media_type : str
        The chosen one.
    part : ArrayPart, TablePart or ExportNode
        What is exported; it stays open until the answer is closed.
    name : str
        The key of the node, from which the name of the file is made.
    filename : str or None
        The name that the client asks for.

    Raises
    ------
    NotAcceptableError
        The target cannot hold it.
    """
    made, target = exports.export(media_type, part), exports[media_type]
    if filename is None and not target.is_shown:
        filename = f"{name}.{target.suffixes[0]}"
    return stream_reply(request, made.pieces, media_type=media_type, size=made.size, filename=filename)
