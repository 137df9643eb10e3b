"""The files of a catalog that cannot be read, kept from one indexing to the next.

Owns that list: a file that did not change is not looked into again, and still cannot be read.
"""

from __future__ import annotations

import json

from holdfast.catalog.tree import Catalog

__all__ = ["Failures"]

_FACT = "failures"
_MAX_KEPT = 10_000


class Failures:
    """Why files cannot be read, by their locations.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stored = catalog.database.fact(_FACT) or "{}"
        self._messages: dict[str, str] = json.loads(self._stored)

    def put(self, location: str, message: str) -> None:
        """Say why a file cannot be read."""
        self._messages[location] = message

    def clear(self, location: str) -> None:
        """Say that a file can be read, or is gone."""
        self._messages.pop(location, None)

    def locations(self) -> list[str]:
        """Return the locations of all files that cannot be read."""
        return list(self._messages)

    def save(self) -> None:
        """Write the list down, if it changed."""
        text = json.dumps(dict(sorted(self._messages.items())[:_MAX_KEPT]), ensure_ascii=False)
        if text != self._stored:
            self._catalog.database.write(lambda tx: tx.note(_FACT, text))
            self._stored = text

    def messages(self) -> list[tuple[str, str]]:
        """Return path and message of every file that cannot be read."""
        places = self._catalog.places
        return [(str(places.path(location)), message) for location, message in sorted(self._messages.items())]
