"""A node with entries: listing, looking up, searching and sorting them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from holdfast.catalog.client.listing import Listing
from holdfast.catalog.client.node import Node, make_node
from holdfast.catalog.client.session import Pairs, Path, Session
from holdfast.catalog.client.wire import path_of
from holdfast.errors import InvalidInputError, InvalidTypeError, NotFoundError
from holdfast.paths import parse_key, split_key
from holdfast.queries import And, Everything, KeyLookup, Query, to_filters
from holdfast.types import Json

__all__ = ["Container"]

_SHOWN = 8
_EVERYTHING = Everything()


@dataclass(frozen=True, slots=True)
class _Search:
    """What was asked of a container: a query, an order, and whether entries of all depths are meant."""

    query: Query = _EVERYTHING
    order: tuple[tuple[str, int], ...] = ()
    is_deep: bool = False


class Container(Node, Mapping[str, Node]):
    """Be a node with entries, or what a search of one found.

    Parameters
    ----------
    session : Session
        The catalog.
    path : tuple of str
        The keys from the root.
    item : mapping
        The server's description.

    Notes
    -----
    The keys of what `search_deep` found are paths below the container that was searched.

    Examples
    --------
    ``client["runs"].search(Key("n") > 5).sort(("n", -1)).values().head(3)``
    """

    _label = "Container"

    def __init__(self, session: Session, path: Path, item: Mapping[str, Json]) -> None:
        super().__init__(session, path, item)
        self._search = _Search()

    @property
    def _identity(self) -> tuple[Any, ...]:
        return *super()._identity, self._search

    @property
    def is_search(self) -> bool:
        """Whether this is what a search found, not all entries of a container."""
        return self._search.is_deep or self._search.query != _EVERYTHING

    def _with(self, **changes: Any) -> Self:
        asked = copy.copy(self)
        asked._search = replace(self._search, **changes)
        return asked

    def search(self, query: Query) -> Self:
        """Return the entries that match a query, beside what was asked before.

        Parameters
        ----------
        query : Query
            From ``holdfast.queries``.

        Returns
        -------
        Container
            Nothing is asked of the server until it is looked at.

        Raises
        ------
        InvalidTypeError
            When it is no query.
        """
        if not isinstance(query, Query):
            raise InvalidTypeError(f"{query!r} is no query; make one, for example Key('color') == 'red'")
        before = self._search.query
        return self._with(query=query if before == _EVERYTHING else And(before, query))

    def search_deep(self, query: Query | None = None) -> Self:
        """Return the nodes of the whole subtree that match a query.

        Parameters
        ----------
        query : Query, optional
            From ``holdfast.queries``; all nodes when absent.

        Returns
        -------
        Container
            Its keys are paths below this container.
        """
        deep = self._with(is_deep=True)
        return deep if query is None else deep.search(query)

    def sort(self, *keys: str | tuple[str, int]) -> Self:
        """Return the entries in another order; entries without the field come last.

        Parameters
        ----------
        *keys : str or (str, int)
            Metadata keys, dotted, with 1 (ascending) or -1.

        Raises
        ------
        InvalidInputError
            For a direction that is neither 1 nor -1.
        """
        order = tuple((key, 1) if isinstance(key, str) else (key[0], key[1]) for key in keys)
        if any(direction not in {1, -1} for _, direction in order):
            raise InvalidInputError(f"sort directions are 1 (ascending) and -1 (descending), not {order!r}")
        return self._with(order=order)

    def distinct(
        self, *keys: str, structure_families: bool = False, specs: bool = False, counts: bool = False
    ) -> dict[str, Json]:
        """Return which values entries have.

        Parameters
        ----------
        *keys : str
            Metadata keys, dotted.
        structure_families, specs : bool
            Ask for these too.
        counts : bool
            Count how often each occurs.

        Returns
        -------
        dict
            ``{"metadata": {key: [{"value": …, "count": … or None}]}, "structure_families": …, "specs": …}``.
        """
        flags = {
            "structure_families": structure_families,
            "specs": specs,
            "counts": counts,
            "deep": self._search.is_deep,
        }
        query = [("metadata", key) for key in keys]
        query += [(name, "true") for name, wanted in flags.items() if wanted]
        return self.session.get("distinct", self.path, [*query, *self._filters(self._search.query)])

    def keys(self) -> Listing[str]:  # type: ignore[override]  # a listing that also takes slices
        """Return the keys of the entries."""
        return Listing(self, lambda item: self._key(path_of(item)), keys_only=True)

    def values(self) -> Listing[Node]:  # type: ignore[override]  # a listing that also takes slices
        """Return the entries themselves."""
        return Listing(self, self._node)

    def items(self) -> Listing[tuple[str, Node]]:  # type: ignore[override]  # a listing that also takes slices
        """Return pairs of key and entry."""
        return Listing(self, lambda item: (self._key(path_of(item)), self._node(item)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return self.session.count(self._route, self.path, self._filters(self._search.query))

    def fetch(
        self, start: int, stop: int | None, *, keys_only: bool = False, extra: Pairs = ()
    ) -> Iterator[Json]:
        """Give the server's descriptions of the entries start … stop."""
        query = [*self._pairs(keys_only=keys_only), *extra]
        return self.session.pages(self._route, self.path, query, start, stop)

    def _filters(self, query: Query) -> Pairs:
        filters = to_filters(query)
        if filters:
            self.session.check_filters(filters)
        return filters

    @property
    def _route(self) -> str:
        return "search-deep" if self._search.is_deep else "search"

    def _pairs(self, *, keys_only: bool) -> Pairs:
        order = [("sort", key if direction > 0 else f"-{key}") for key, direction in self._search.order]
        return [*self._filters(self._search.query), *order, *([("fields", "")] if keys_only else [])]

    def _key(self, path: Path) -> str:
        return "/".join(path[len(self.path) :])

    def _node(self, item: Json) -> Node:
        return make_node(self.session, path_of(item), item)

    def __getitem__(self, keys: str | tuple[str, ...]) -> Node:
        """Return an entry, or one further down: ``client["a/b"]`` is ``client["a", "b"]``.

        Raises
        ------
        NotFoundError
            When there is none; of a search result, also when it did not match.
        """
        below = _parts(keys)
        if not below:
            return self
        if self.is_search:
            hit = below if self._search.is_deep else below[:1]
            found = self._hit(hit)
            if hit == below:
                return self._node(found)
        path = (*self.path, *below)
        return make_node(self.session, path, self.session.item(path))

    def _hit(self, below: Path) -> Json:
        """Return the description of one entry of a search result."""
        query = self._filters(And(self._search.query, KeyLookup(below[-1])))
        parent = (*self.path, *below[:-1])
        found = next(self.session.pages("search", parent, query, 0, 1), None)
        if found is None:
            raise NotFoundError(f"no entry {'/'.join(below)!r} among what the search found in {self.uri}")
        return found

    def __contains__(self, keys: object) -> bool:
        try:
            self[keys]  # type: ignore[index]  # what is no key is not in it
        except (NotFoundError, InvalidTypeError):
            return False
        return True

    def _ipython_key_completions_(self) -> list[str]:
        return self.keys().head(100)

    def _export_query(self, options: dict[str, Any]) -> Pairs:
        fields = options.pop("fields", ())
        return [*((("field", name)) for name in fields), *super()._export_query(options)]

    def _summary(self) -> str:
        keys = self.keys().head(_SHOWN + 1)
        shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
        found = " found" if self.is_search else ""
        return f" of {len(self)}{found}: {shown}" if keys else f" of 0{found}"

    def _facts(self) -> dict[str, object]:
        return {"entries": len(self), "first": self.keys().head(_SHOWN), **super()._facts()}


def _parts(keys: object) -> Path:
    """Return the keys of a look-up; a name that no node can have is not found."""
    texts = keys if isinstance(keys, tuple) else (keys,)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidTypeError(f"{keys!r} is no key; give text, as in client['a/b'] or client['a', 'b']")
    try:
        if isinstance(keys, str):
            return split_key(keys)
        return tuple(part for text in texts for part in parse_key(text))
    except InvalidInputError as error:
        raise NotFoundError(f"no entry {keys!r}: {error}") from error
