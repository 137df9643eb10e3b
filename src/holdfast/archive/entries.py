"""Own what an entry of an archive is, and the only way from outside names to its place.

>>> place = Place.of("S000000xx", "Prod0", "sub/b.xml")
>>> place.path, place.link_text("f" * 32)
('S000000xx/Prod0/sub/b.xml', '../ffffffffffffffffffffffffffffffff')
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from holdfast.database.archive import EntryRow
from holdfast.errors import InvalidInputError, InvalidTypeError
from holdfast.hashing import Digest
from holdfast.paths import check_name, parse_key
from holdfast.types import Json

__all__ = ["Entry", "Listed", "Place", "check_uuid"]

Listed = tuple[str, str, str, str, str]
"""What the original knows of an entry: event, production, name, hash, uuid."""

_UUID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands: its event, production and name, all checked.

    Parameters
    ----------
    event, production : str
        Single names.
    name : str
        A name, or a relative path such as ``sub/b``.
    """

    event: str
    production: str
    name: str

    @classmethod
    def of(cls, event: object, production: object, name: object) -> Place:
        """Check names that come from outside.

        Parameters
        ----------
        event, production : str or object with a ``name``
            The original takes its event and production objects too.
        name : str or path
            The entry's own name.

        Returns
        -------
        Place
            The checked place.

        Raises
        ------
        InvalidInputError
            For a name that is absolute, empty, over-long or reserved, or has parts that go up.
        """
        return cls(
            _single(_text(event, "event"), "event"),
            _single(_text(production, "production"), "production"),
            _name(name),
        )

    def beside(self, name: object) -> Place:
        """Return the place of another name in the same production; `InvalidInputError` as from `of`."""
        return Place(self.event, self.production, _name(name))

    @property
    def path(self) -> str:
        """The entry's own name below the root."""
        return f"{self.event}/{self.production}/{self.name}"

    @property
    def directory(self) -> str:
        """The directory, below the root, that holds the production's files."""
        return f"{self.event}/{self.production}"

    def link_text(self, uuid: str) -> str:
        """Return what the link under the entry's own name says."""
        return "../" * self.name.count("/") + uuid


# Few of them come again and again.
_single = lru_cache(maxsize=1024)(check_name)


def _name(name: object) -> str:
    return "/".join(parse_key(_text(name, "file name"), "file name"))


def _text(value: object, what: str) -> str:
    named = getattr(value, "name", value)
    if isinstance(value, os.PathLike):
        named = os.fspath(value)
    if not isinstance(named, str):
        raise InvalidTypeError(f"{what} must be text, not {type(value).__name__}; give its name")
    return named


def check_uuid(text: str) -> str:
    """Read a uuid in any of its forms.

    Parameters
    ----------
    text : str
        32 hexadecimal digits, with or without dashes, braces or ``urn:uuid:``.

    Returns
    -------
    str
        32 digits in lower case.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    digits = text.strip().lower().removeprefix("urn:uuid:").strip("{}").replace("-", "")
    if not _UUID.match(digits):
        raise InvalidInputError(f"{text!r} is not a uuid; give its 32 hexadecimal digits")
    return digits


@dataclass(frozen=True, slots=True)
class Entry:
    """Say what an archive knows of one file.

    Parameters
    ----------
    place : Place
        Where it stands.
    uuid : str
        32 hexadecimal digits.
    digests : mapping of str to Digest
        By algorithm. Blake3 and sha256 of every entry that was added here; md5 unless it was refused.
    size : int or None
        Bytes; None for a foreign entry.
    added_at : str
        When it was added, ISO 8601 in UTC; empty for a foreign entry.
    origin, who : str
        Where it came from, and who added it.
    is_foreign : bool
        Whether only the YAML manifest knows it.
    """

    place: Place
    uuid: str
    digests: Mapping[str, Digest]
    size: int | None = None
    added_at: str = ""
    origin: str = ""
    who: str = ""
    is_foreign: bool = False

    @classmethod
    def of_row(cls, row: EntryRow) -> Entry:
        """Return the entry that a row of the manifest describes."""
        hexes = {"blake3": row.blake3, "sha256": row.sha256, "md5": row.md5}
        digests = {name: Digest(name, value) for name, value in hexes.items() if value is not None}
        place = Place(row.event, row.production, row.name)
        return cls(place, row.uuid, digests, row.size, row.added_at, row.origin, row.who)

    @property
    def main_digest(self) -> Digest:
        """The digest that the original knows: md5, else sha256."""
        return self.digests.get("md5") or self.digests["sha256"]

    @property
    def listed(self) -> Listed:
        """What the original knows of it."""
        place = self.place
        return place.event, place.production, place.name, self.main_digest.hex, self.uuid

    def to_dict(self) -> dict[str, Json]:
        """Return the entry as JSON values, with digests in hexadecimal by algorithm."""
        return {
            "event": self.place.event,
            "production": self.place.production,
            "name": self.place.name,
            "uuid": self.uuid,
            "size": self.size,
            "digests": {name: digest.hex for name, digest in self.digests.items()},
            "added_at": self.added_at,
            "origin": self.origin,
            "who": self.who,
            "foreign": self.is_foreign,
        }

    @classmethod
    def of_dict(cls, facts: Mapping[str, Json]) -> Entry:
        """Return the entry that `to_dict` described, its names and digests checked again.

        Parameters
        ----------
        facts : mapping
            From a server or another archive's export.

        Returns
        -------
        Entry
            The entry.

        Raises
        ------
        InvalidInputError
            A name, uuid or digest is not acceptable.
        """
        try:
            return cls(
                Place.of(facts["event"], facts["production"], facts["name"]),
                check_uuid(facts["uuid"]),
                {name: Digest.parse(f"{name}:{value}") for name, value in facts["digests"].items()},
                facts.get("size"),
                str(facts.get("added_at") or ""),
                str(facts.get("origin") or ""),
                str(facts.get("who") or ""),
                bool(facts.get("foreign")),
            )
        except (KeyError, AttributeError, TypeError) as error:
            raise InvalidInputError(f"this describes no entry of an archive: {dict(facts)!r:.200}") from error
