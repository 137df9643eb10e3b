"""The registry of formats: one line for each, and entry points for those of others.

Owns which format answers for a file or a media type; loads a format's module when first asked.

>>> get_format("application/x-npy").name
'npy'
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from holdfast.errors import UnreadableError
from holdfast.formats.base import Format
from holdfast.formats.source import Source

__all__ = [
    "ENTRY_POINT_GROUP",
    "SEQUENCE_TYPE",
    "all_formats",
    "detect",
    "entry_names",
    "frame_formats",
    "get_format",
    "is_built_in",
]

SEQUENCE_TYPE = "multipart/related;type="
"""What the media type of a sequence begins with; that of its frames follows."""

ENTRY_POINT_GROUP = "holdfast.formats"
"""Where a package of a third party names its formats."""

# Module and name of each format, in the order in which they are asked about a file.
_BUILT_IN = (
    "holdfast.formats.sealed.format:SEALED",
    "holdfast.formats.hdf5:HDF5",
    "holdfast.formats.netcdf:NETCDF",
    "holdfast.formats.fits:FITS",
    "holdfast.formats.zarr:ZARR",
    "holdfast.formats.npy:NPY",
    "holdfast.formats.npz:NPZ",
    "holdfast.formats.parquet:PARQUET",
    "holdfast.formats.arrow:ARROW",
    "holdfast.formats.excel:EXCEL",
    "holdfast.formats.tiff:TIFF",
    "holdfast.formats.images:IMAGE",
    "holdfast.formats.csv:CSV",
    "holdfast.formats.json:JSON",
)
# They answer for what is left, so they come after everybody else's.
_LAST = ("holdfast.formats.text:TEXT", "holdfast.formats.text:BYTES")


# Why a package of a third party is left out, by its entry point.
_left_out: dict[str, str] = {}


@cache
def all_formats() -> tuple[Format, ...]:
    """Return every format: ours, those of other packages, then text and bytes.

    Warns
    -----
    RuntimeWarning
        A package cannot be loaded, or brings no format; it is left out, the others stay.
    """
    _left_out.clear()
    theirs = [_load_entry(entry) for entry in entry_points(group=ENTRY_POINT_GROUP)]
    return (*map(_load, _BUILT_IN), *filter(None, theirs), *map(_load, _LAST))


def detect(source: Source) -> Format:
    """Return the format of a file: by content, else by suffix; text and bytes answer last.

    Parameters
    ----------
    source : Source
        The file.

    Notes
    -----
    A file that has a format's suffix but not its content still gets that format, whose `describe` says
    what is wrong with it.
    """
    head = source.head()
    *known, text, plain = all_formats()
    for each in known:
        if each.sniff(head, source):
            return each
    suffix = source.path.suffix.lower()
    for each in known:
        if suffix and suffix in each.suffixes:
            return each
    return text if text.sniff(head, source) else plain


def get_format(media_type: str) -> Format:
    """Return the format that reads a media type.

    Raises
    ------
    UnreadableError
        No installed format does.
    """
    for each in all_formats():
        if media_type in each.media_types:
            return each
    broken = f" (left out: {'; '.join(_left_out.values())})" if _left_out else ""
    raise UnreadableError(
        f"no installed format reads {media_type}; install the package that brings it{broken}"
    )


@cache
def frame_formats() -> dict[str, str]:
    """Return by suffix the names of the formats whose numbered files may be the frames of one array."""
    return {suffix: form.name for form in all_formats() if form.is_frame for suffix in form.suffixes}


@cache
def entry_names() -> tuple[str, ...]:
    """Return the names of the files by which a directory is one node, of all formats, in order."""
    return tuple(name for form in all_formats() for name in form.entries)


def is_built_in(form: Format) -> bool:
    """Whether a format is one of ours."""
    return type(form).__module__.startswith("holdfast.")


def _load(target: str) -> Format:
    module, name = target.split(":")
    found = getattr(import_module(module), name)
    assert isinstance(found, Format)
    return found


def _load_entry(entry: EntryPoint) -> Format | None:
    """Load a format of a third party; None if that fails, for the others must not fail with it."""
    try:
        found = entry.load()
    except Exception as error:  # a package of a third party may raise anything
        _leave_out(entry, f"{type(error).__name__}: {error}")
        return None
    if isinstance(found, Format):
        return found
    _leave_out(entry, "it is no instance of Format")
    return None


def _leave_out(entry: EntryPoint, reason: str) -> None:
    _left_out[entry.name] = f"{entry.name} of {entry.value}, {reason}"
    warnings.warn(f"a format is left out: {_left_out[entry.name]}", RuntimeWarning, stacklevel=3)
