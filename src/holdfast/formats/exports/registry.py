"""The registry of exports: one line for each target, and entry points for those of others.

Owns which target answers for a family and a media type, and the refusal that names what is possible.

>>> exports_of("array").media_types[:2]
('application/octet-stream', 'application/x-npy')
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from holdfast.errors import NotAcceptableError
from holdfast.formats.exports.base import Export, Exported

__all__ = ["ENTRY_POINT_GROUP", "Exports", "exports_of"]

ENTRY_POINT_GROUP = "holdfast.exports"
"""Where a package of a third party names its exports."""

# Module and name of each target; of a family the first one is the first choice.
_BUILT_IN = (
    "holdfast.formats.exports.npy:RAW",
    "holdfast.formats.exports.npy:NPY",
    "holdfast.formats.exports.arraytext:JSON",
    "holdfast.formats.exports.arraytext:CSV",
    "holdfast.formats.exports.arraytext:TEXT",
    "holdfast.formats.exports.hdf5:ARRAY",
    "holdfast.formats.exports.png:PNG",
    "holdfast.formats.exports.tiff:TIFF",
    "holdfast.formats.exports.html:ARRAY",
    "holdfast.formats.exports.arrow:ARROW",
    "holdfast.formats.exports.arrow:PARQUET",
    "holdfast.formats.exports.tabletext:CSV",
    "holdfast.formats.exports.tabletext:JSON",
    "holdfast.formats.exports.tabletext:JSON_SEQ",
    "holdfast.formats.exports.tabletext:TEXT",
    "holdfast.formats.exports.xlsx:XLSX",
    "holdfast.formats.exports.hdf5:TABLE",
    "holdfast.formats.exports.html:TABLE",
    "holdfast.formats.exports.tree:JSON",
    "holdfast.formats.exports.hdf5:CONTAINER",
    "holdfast.formats.exports.zip:ZIP",
)


class Exports:
    """The targets of one kind of structure.

    Parameters
    ----------
    targets : sequence of Export
        In order of preference.

    Attributes
    ----------
    media_types : tuple of str
        Those that are announced.
    aliases : dict of str to str
        The announced media types by short names, and by the types that are understood too.
    """

    def __init__(self, targets: Sequence[Export[Any]]) -> None:
        self._targets = {target.media_types[0]: target for target in targets}
        self.media_types = tuple(self._targets)
        self.aliases: dict[str, str] = {}
        for target in targets:
            for name in (*target.suffixes, *target.media_types[1:]):
                self.aliases.setdefault(name, target.media_types[0])

    def __getitem__(self, media_type: str) -> Export[Any]:
        return self._targets[media_type]

    def export(self, media_type: str, part: Any) -> Exported:
        """Return the bytes of an array, a table or a tree.

        Parameters
        ----------
        media_type : str
            One that is announced.
        part : ArrayPart, TablePart or ExportNode
            What is exported.

        Raises
        ------
        NotAcceptableError
            The target cannot hold it; the message says why, and which ones can.
        MissingDependencyError
            The library that writes it is not installed.
        """
        reason = self[media_type].refusal(part)
        if reason is None:
            return self[media_type].export(part)
        possible = [name for name, target in self._targets.items() if target.refusal(part) is None]
        raise NotAcceptableError(f"{reason}, or ask for {', '.join(possible)}", possible=possible)


@cache
def exports_of(*families: str) -> Exports:
    """Return the targets of a family, or of several, those of the first one first.

    Parameters
    ----------
    *families : str
        ``array``, ``table``, ``container``, names of specs; a media type that two of them have is that of the
        first.
    """
    found: dict[str, Export[Any]] = {}
    for family in families:
        for target in _all():
            if family in target.families:
                found.setdefault(target.media_types[0], target)
    return Exports(tuple(found.values()))


@cache
def _all() -> tuple[Export[Any], ...]:
    ours = [getattr(import_module(module), name) for module, name in (each.split(":") for each in _BUILT_IN)]
    theirs = map(_loaded, entry_points(group=ENTRY_POINT_GROUP))
    return (*ours, *(export for export in theirs if export is not None))


def _loaded(entry: EntryPoint) -> Export[Any] | None:
    """Load the target of another package; one that cannot be used is left out, with a warning."""
    try:
        value = entry.load()
    except Exception as error:  # a package of a third party may raise anything
        reason = f"{type(error).__name__}: {error}"
    else:
        if isinstance(value, Export):
            return value
        reason = "it is no instance of Export"
    warnings.warn(f"the export {entry.value} is left out: {reason}", RuntimeWarning, stacklevel=2)
    return None
