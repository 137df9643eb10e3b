"""Own the answers with awkward arrays: their buffers, all or those of some nodes of the form.

References
----------
Tiled 0.2.20: ``/awkward/buffers``, GET with ``form_key`` and POST with a list of them, and ``/awkward/full``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import AwkwardParams, BuffersParams
from holdfast.formats.awkward import assembled
from holdfast.http.limits import Limits
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, bytes_reply
from holdfast.http.request import Request
from holdfast.http.zipstream import ZIP_MEDIA_TYPE

if TYPE_CHECKING:
    import numpy as np

    from holdfast.catalog.tree import Catalog
    from holdfast.formats.awkward import AwkwardStructure

__all__ = ["AWKWARD_ALIASES", "AWKWARD_TYPES", "BUFFERS_TYPES", "AwkwardRoutes"]

JSON, ARROW, PARQUET = "application/json", "application/vnd.apache.arrow.file", "application/x-parquet"
BUFFERS_TYPES = (ZIP_MEDIA_TYPE,)
AWKWARD_TYPES = (ZIP_MEDIA_TYPE, JSON, ARROW, PARQUET)
AWKWARD_ALIASES = {"zip": ZIP_MEDIA_TYPE, "json": JSON, "arrow": ARROW, "parquet": PARQUET}
_SUFFIXES = {media_type: f".{name}" for name, media_type in AWKWARD_ALIASES.items()}


class AwkwardRoutes:
    """Answer with awkward arrays.

    Parameters
    ----------
    catalog : Catalog
        The arrays.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def buffers(self, request: Request) -> Reply:
        """Answer the buffers of the nodes that are named, of all when none is."""
        params = request.params(BuffersParams)
        named: list[str] = request.json(list[str]) if request.method == "POST" else params.form_key
        negotiate(request, BUFFERS_TYPES, {"zip": ZIP_MEDIA_TYPE})
        path = node_path(request)
        # A POST of no keys asks for no buffers; a GET without any asks for all.
        chosen = named if named or request.method == "POST" else None
        with self._catalog.awkward(path) as reader:
            packed = _zipped(reader.buffers(chosen, Limits().answer_bytes))
        return bytes_reply(
            request, packed, media_type=ZIP_MEDIA_TYPE, filename=params.filename or f"{path[-1]}.zip"
        )

    def full(self, request: Request) -> Reply:
        """Answer the whole array: its buffers, or another form of it."""
        params = request.params(AwkwardParams)
        media_type = negotiate(request, AWKWARD_TYPES, AWKWARD_ALIASES)
        path = node_path(request)
        with self._catalog.awkward(path) as reader:
            buffers = reader.buffers(None, Limits().answer_bytes)
            structure = reader.structure
        body = (
            _zipped(buffers) if media_type == ZIP_MEDIA_TYPE else _converted(structure, buffers, media_type)
        )
        filename = params.filename or f"{path[-1]}{_SUFFIXES[media_type]}"
        return bytes_reply(request, body, media_type=media_type, filename=filename)


def _zipped(buffers: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Return a ZIP file of buffers as they are, not compressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for name, buffer in buffers.items():
            file.writestr(zipfile.ZipInfo(name), buffer.tobytes())
    return out.getvalue()


def _converted(
    structure: AwkwardStructure, buffers: Mapping[str, np.ndarray[Any, Any]], media_type: str
) -> bytes:
    """Return the whole array in a form that needs the library."""
    array = assembled(structure, buffers)
    import awkward
    import pyarrow.parquet

    if media_type == JSON:
        return str(awkward.to_json(array)).encode()
    table, sink = awkward.to_arrow_table(array), pyarrow.BufferOutputStream()
    if media_type == ARROW:
        with pyarrow.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())
