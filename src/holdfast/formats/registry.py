"""The registry of formats: one line for each, and entry points for those of others.

Owns which format answers for a file or a media type; loads a format's module when first asked.

>>> get_format("application/x-npy").name
'npy'
"""

from __future__ import annotations

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
    "holdfast.formats.npy:NPY",
    "holdfast.formats.npz:NPZ",
    "holdfast.formats.parquet:PARQUET",
    "holdfast.formats.arrow:ARROW",
    "holdfast.formats.excel:EXCEL",
    "holdfast.formats.csv:CSV",
    "holdfast.formats.json:JSON",
)
# They answer for what is left, so they come after everybody else's.
_LAST = ("holdfast.formats.text:TEXT", "holdfast.formats.text:BYTES")


@cache
def all_formats() -> tuple[Format, ...]:
    """Return every format: ours, those of other packages, then text and bytes."""
    theirs = [_load_entry(entry) for entry in entry_points(group=ENTRY_POINT_GROUP)]
    return (*map(_load, _BUILT_IN), *theirs, *map(_load, _LAST))


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
    raise UnreadableError(f"no installed format reads {media_type}; install the package that brings it")


@cache
def frame_formats() -> dict[str, str]:
    """Return by suffix the names of the formats whose numbered files may be the frames of one array."""
    return {suffix: form.name for form in all_formats() if form.is_frame for suffix in form.suffixes}


def is_built_in(form: Format) -> bool:
    """Whether a format is one of ours."""
    return type(form).__module__.startswith("holdfast.")


def _load(target: str) -> Format:
    module, name = target.split(":")
    return _checked(getattr(import_module(module), name), target)


def _load_entry(entry: EntryPoint) -> Format:
    return _checked(entry.load(), f"{entry.name} of {entry.value}")


def _checked(value: object, name: str) -> Format:
    if not isinstance(value, Format):
        raise UnreadableError(
            f"{name} is registered as a format and is none; it must be an instance of Format"
        )
    return value
