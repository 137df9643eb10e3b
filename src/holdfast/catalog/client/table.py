"""Tables: named columns, read as far as they are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from holdfast.catalog.client.array import ArrayNode
from holdfast.catalog.client.node import Node, make_node
from holdfast.catalog.client.session import Pairs
from holdfast.errors import InvalidTypeError, NotFoundError
from holdfast.formats.structures import TableStructure
from holdfast.formats.tables import Table

__all__ = ["TableNode"]

_ARROW = "application/vnd.apache.arrow.file"
# Wide choices of columns do not fit into a URL that every proxy passes on.
_MOST_NAMED = 50


class TableNode(Node):
    """Be a table of a catalog.

    Examples
    --------
    ``table["x"][2:5]``, ``table.read(columns=["x", "y"])``
    """

    _label = "Table"

    @cached_property
    def _layout(self) -> TableStructure:
        return TableStructure.from_json(self._attributes["structure"])

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._layout.columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, column: object) -> bool:
        return column in self._layout.columns

    def __getitem__(self, column: str) -> Node:
        """Return one column as an array that is read when it is looked at.

        Raises
        ------
        NotFoundError
            When there is none of this name.
        """
        self._check([column])
        path = (*self.path, column)
        return make_node(self.session, path, self.session.item(path))

    def read(self, columns: Iterable[str] | None = None) -> Any:
        """Return the table, or some of its columns.

        Parameters
        ----------
        columns : iterable of str, optional
            Which, in which order; all when absent.

        Returns
        -------
        pandas.DataFrame or Table
            A data frame where pandas is installed (``holdfast[tables]``), else a `Table`, whose columns are
            numpy arrays under the same names.

        Raises
        ------
        NotFoundError
            When there is no such column.
        """
        table = self.read_columns(columns)
        return table.to_pandas() if find_spec("pandas") else table

    def read_columns(self, columns: Iterable[str] | None = None) -> Table:
        """Return the table, or some of its columns, as numpy arrays.

        Parameters
        ----------
        columns : iterable of str, optional
            Which, in which order; all when absent.

        Returns
        -------
        Table
            The columns by name.
        """
        if isinstance(columns, str):
            raise InvalidTypeError(f"columns is a list of names; give [{columns!r}]")
        names = self.columns if columns is None else list(columns)
        self._check(names)
        if not find_spec("pyarrow"):
            return Table({name: self._column(name).read() for name in names})
        return self._partitions(names).select(names)

    def _column(self, name: str) -> ArrayNode:
        node = self[name]
        assert isinstance(node, ArrayNode)
        return node

    def _partitions(self, names: list[str]) -> Table:
        asked: Pairs = [("column", name) for name in names] if len(names) <= _MOST_NAMED else []
        parts = [self._partition(number, asked) for number in range(self._layout.npartitions)]
        return Table.joined(parts)

    def _partition(self, number: int, asked: Pairs) -> Table:
        route = self.session.route("table/partition", self.path)
        query = [("partition", str(number)), ("format", _ARROW), *asked]
        return Table.from_ipc(b"".join(self.session.connection.pieces(route, query)))

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._layout.columns:
                raise NotFoundError(f"no column {name!r} in {self!r}; it has {', '.join(self.columns[:20])}")

    def _ipython_key_completions_(self) -> list[str]:
        return self.columns

    def _export_query(self, options: dict[str, Any]) -> Pairs:
        names = list(options.pop("columns", ()))
        self._check(names)
        return [*(("column", name) for name in names), *super()._export_query(options)]

    def _summary(self) -> str:
        return f" of {len(self.columns)} columns: {', '.join(self.columns[:8])}"

    def _facts(self) -> dict[str, object]:
        return {"columns": self.columns, **super()._facts()}
