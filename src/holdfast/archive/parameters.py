"""Own what the addresses of a served archive take: parameters and bodies, checked before anything is done.

>>> NewEntries(entries=[]).md5
True
"""

from __future__ import annotations

import msgspec

__all__ = [
    "AddParams",
    "CheckParams",
    "EntriesParams",
    "FileParams",
    "NewEntries",
    "NewEntry",
    "NoParams",
    "OffsetParams",
]


class EntriesParams(msgspec.Struct, forbid_unknown_fields=True):
    """Which entries to list; ``where`` is a condition in the command line's language."""

    event: str | None = None
    production: str | None = None
    where: str | None = None


class FileParams(msgspec.Struct, forbid_unknown_fields=True):
    """A digest that the file must have."""

    hash: str | None = None


class AddParams(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the md5 is taken, and where the file comes from."""

    md5: bool = True
    origin: str = ""


class OffsetParams(msgspec.Struct, forbid_unknown_fields=True):
    """Where the bytes go."""

    offset: int = 0


class CheckParams(msgspec.Struct, forbid_unknown_fields=True):
    """What to check; see ``Archive.check``."""

    fast: bool = False
    subset: str | None = None
    head: str | None = None


class NoParams(msgspec.Struct, forbid_unknown_fields=True):
    """No parameter is known here."""


class NewEntry(msgspec.Struct, forbid_unknown_fields=True):
    """An upload that is to become an entry."""

    event: str
    production: str
    name: str
    upload: str
    origin: str = ""


class NewEntries(msgspec.Struct, forbid_unknown_fields=True):
    """Uploads that are to become entries, all or none."""

    entries: list[NewEntry]
    md5: bool = True
