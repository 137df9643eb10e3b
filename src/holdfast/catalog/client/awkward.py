"""Awkward arrays: nested lists and records of uneven length, read by their buffers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from holdfast.catalog.client.node import Node
from holdfast.catalog.client.session import Pairs
from holdfast.errors import ServerError
from holdfast.formats.awkward import AwkwardStructure, assembled

__all__ = ["AwkwardNode"]

_ZIP = "application/zip"
# More keys than these do not fit into a URL that every proxy passes on; all buffers come then.
_MOST_NAMED = 50


class AwkwardNode(Node):
    """Be an awkward array of a catalog.

    Examples
    --------
    ``node.read()[0, "hits"]``
    """

    _label = "Awkward"

    @cached_property
    def _layout(self) -> AwkwardStructure:
        return AwkwardStructure.from_json(self._attributes["structure"])

    @property
    def form(self) -> dict[str, Any]:
        """How it is nested, as Awkward Array writes a form in JSON."""
        return dict(self._layout.form)

    def __len__(self) -> int:
        return self._layout.length

    def read(self) -> Any:
        """Return the whole array.

        Returns
        -------
        awkward.Array
            Slice it as you like; all buffers have travelled.

        Raises
        ------
        MissingDependencyError
            When Awkward Array is not installed; `buffers` needs no library.
        UnreadableError
            When the buffers do not fit the form.
        """
        return assembled(self._layout, self.buffers())

    def __getitem__(self, index: Any) -> Any:
        """Return a part of the whole array, which is read."""
        return self.read()[index]

    def buffers(self, form_keys: Iterable[str] | None = None) -> dict[str, bytes]:
        """Return the buffers of some nodes of the form, or of all.

        Parameters
        ----------
        form_keys : iterable of str, optional
            ``form_key`` of each node that is wanted.

        Returns
        -------
        dict of str to bytes
            Little-endian numbers, as `form` says.

        Raises
        ------
        ServerError
            When the server sends something else.
        """
        keys = [] if form_keys is None else list(form_keys)
        query: Pairs = [("form_key", key) for key in keys] if len(keys) <= _MOST_NAMED else []
        route = self.session.route("awkward/buffers", self.path)
        data = b"".join(self.session.connection.pieces(route, [*query, ("format", _ZIP)]))
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                found = {name: file.read(name) for name in file.namelist()}
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ServerError(f"the server's buffers of {self.uri} are no ZIP file: {error}") from error
        wanted = set(keys)
        return {name: data for name, data in found.items() if not keys or name.rpartition("-")[0] in wanted}

    def _summary(self) -> str:
        fields = self.form.get("fields") or []
        return f" of {len(self)} items" + (f": {', '.join(map(str, fields[:8]))}" if fields else "")

    def _facts(self) -> dict[str, object]:
        return {"items": len(self), "class": self.form.get("class"), **super()._facts()}
