"""Own the names of objects, the only form stored in links, and the resolvers that faces register.

>>> name = ObjectName("0123456789abcdef0123456789abcdef", "records", ("runs", "a b"), "3")
>>> str(name), ObjectName.parse(str(name)) == name
('holdfast:0123456789abcdef0123456789abcdef/records/runs/a%20b@3', True)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from holdfast.errors import InvalidInputError, NotFoundError

__all__ = ["FACES", "ObjectName", "Resolver", "register_resolver", "resolve"]

FACES = ("records", "store", "archive", "analysis", "catalog")
"""The faces that an object name can name."""

_NAME = re.compile(r"holdfast:([0-9a-f]{32})/([a-z]+)((?:/[^/@]+)*)(?:@([^/@]+))?\Z")


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Name an object of any face for ever: ``holdfast:UID/FACE/PATH[@REVISION]``.

    Parameters
    ----------
    uid : str
        The uid of the repository, 32 hexadecimal digits.
    face : str
        One of `FACES`.
    path : tuple of str
        The parts of its key.
    revision : str or None
        Which of its states; None for whatever it is.
    """

    uid: str
    face: str
    path: tuple[str, ...] = ()
    revision: str | None = None

    def __str__(self) -> str:
        parts = "".join("/" + quote(part, safe="-._~!$&'()*+,;=:") for part in self.path)
        return f"holdfast:{self.uid}/{self.face}{parts}" + (
            f"@{quote(self.revision)}" if self.revision else ""
        )

    @classmethod
    def parse(cls, text: str) -> ObjectName:
        """Read an object name.

        Parameters
        ----------
        text : str
            ``holdfast:UID/FACE/PATH[@REVISION]``, its parts percent-encoded.

        Returns
        -------
        ObjectName
            The name.

        Raises
        ------
        InvalidInputError
            For any other text.
        """
        match = _NAME.match(text)
        if match is None or match[2] not in FACES:
            raise InvalidInputError(f"{text!r:.200} is not an object name holdfast:UID/FACE/PATH[@REVISION]")
        path = tuple(unquote(part) for part in match[3].split("/")[1:])
        return cls(match[1], match[2], path, None if match[4] is None else unquote(match[4]))


Resolver = Callable[[ObjectName], Any]
"""Give what a face knows of an object: digest and state, or raise `NotFoundError`."""

_resolvers: dict[str, Resolver] = {}


def register_resolver(face: str, resolver: Resolver) -> None:
    """Let a face answer for the names of its objects; done once, at the roof.

    Parameters
    ----------
    face : str
        One of `FACES`.
    resolver : callable
        Takes an `ObjectName`.
    """
    if face not in FACES:
        raise InvalidInputError(f"unknown face {face!r:.40}; use one of {', '.join(FACES)}")
    _resolvers[face] = resolver


def resolve(name: ObjectName) -> Any:
    """Ask the face of a name about the object.

    Parameters
    ----------
    name : ObjectName
        The name.

    Returns
    -------
    object
        What the face's resolver gives.

    Raises
    ------
    NotFoundError
        When the face has no resolver in this process, or does not know the object.
    """
    resolver = _resolvers.get(name.face)
    if resolver is None:
        raise NotFoundError(f"nothing in this process can look up {name}; open its repository")
    return resolver(name)
