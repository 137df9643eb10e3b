"""Own the way from outside text to keys and paths; nothing else joins outside names to paths.

It does not touch the disk, except where a symbolic link must be followed to say where it leads.

>>> from holdfast.paths import parse_key, is_reserved
>>> parse_key("image/path.jpg")
('image', 'path.jpg')
>>> is_reserved("catalog.db-wal")
True
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from holdfast.errors import ForbiddenError, InvalidInputError
from holdfast.types import PathLike

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_NAME_BYTES",
    "RESERVED_NAMES",
    "attachment_name",
    "check_name",
    "is_below",
    "is_reserved",
    "is_url",
    "join",
    "local_path",
    "parse_key",
    "quote_key",
    "resolve_below",
    "split_key",
    "unquote_key",
]

MAX_NAME_BYTES = 255
"""The longest single name, in bytes of UTF-8: the limit of the file systems."""

MAX_KEY_BYTES = 4000
"""The longest key, in bytes of UTF-8: a path of the system must still hold it."""

RESERVED_NAMES = frozenset({".holdfast", ".manifest", ".FSStore"})
"""Names that no face lists, serves, copies or deletes as entries; beside ``catalog.db*``."""

_DATABASE = re.compile(r"catalog\.db(-wal|-shm|-journal)?(\..*)?\Z", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_reserved(name: str) -> bool:
    """Tell whether a single name belongs to Holdfast itself.

    Parameters
    ----------
    name : str
        One part of a key or path.

    Returns
    -------
    bool
        True for `RESERVED_NAMES` and for ``catalog.db`` with its companions.
    """
    return name in RESERVED_NAMES or _DATABASE.match(name) is not None


def check_name(name: str, what: str = "name", *, reserved: bool = False) -> str:
    """Check one part of a key.

    Parameters
    ----------
    name : str
        The part.
    what : str, default "name"
        What the part belongs to, for the message.
    reserved : bool, default False
        Allow Holdfast's own names.

    Returns
    -------
    str
        The name as it was given.

    Raises
    ------
    InvalidInputError
        For a name that is empty, ``.`` or ``..``, over-long, reserved, not UTF-8, or holds a slash or NUL.
    """
    if not name:
        raise InvalidInputError(f"{what} has an empty part; give each part a name")
    if name in {".", ".."}:
        raise InvalidInputError(f"{what} has a part {name!r}; name the entry itself, without going up")
    if "/" in name or "\x00" in name:
        raise InvalidInputError(f"{what} has a part {name!r} with a slash or NUL; leave these out")
    if _bytes_of(name, what) > MAX_NAME_BYTES:
        raise InvalidInputError(
            f"{what} has a part of over {MAX_NAME_BYTES} bytes, {name[:40]!r}…; shorten it"
        )
    if not reserved and is_reserved(name):
        raise InvalidInputError(
            f"{what} has a part {name!r}, which Holdfast keeps for itself; choose another name"
        )
    return name


def _bytes_of(text: str, what: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{what} {text[:80]!r} is not valid UTF-8; rename it") from error


def parse_key(text: str | os.PathLike[str], what: str = "key", *, reserved: bool = False) -> tuple[str, ...]:
    """Read a key with parts separated by slashes.

    Parameters
    ----------
    text : str or path-like
        For example ``"directory/path"``.
    what : str, default "key"
        What it is, for the message.
    reserved : bool, default False
        Allow Holdfast's own names.

    Returns
    -------
    tuple of str
        At least one part.

    Raises
    ------
    InvalidInputError
        For a key that is empty, absolute, over-long or has a part that `check_name` refuses.
    """
    key = os.fspath(text) if isinstance(text, os.PathLike) else text
    if not isinstance(key, str):
        raise InvalidInputError(f"{what} must be text, not {type(key).__name__}")
    if not key:
        raise InvalidInputError(f"{what} is empty; give a name")
    if key.startswith("/"):
        raise InvalidInputError(f"{what} {key[:80]!r} is absolute; give it relative, without the first slash")
    if _bytes_of(key, what) > MAX_KEY_BYTES:
        raise InvalidInputError(f"{what} {key[:40]!r}… is over {MAX_KEY_BYTES} bytes; shorten it")
    name = f"{what} {key[:80]!r}"
    return tuple(check_name(part, name, reserved=reserved) for part in key.split("/"))


def split_key(text: str, what: str = "path") -> tuple[str, ...]:
    """Read a path of the wire, where doubled, leading and trailing slashes mean nothing.

    Parameters
    ----------
    text : str
        For example ``"//box/a"``.
    what : str, default "path"
        What it is, for the message.

    Returns
    -------
    tuple of str
        The parts; empty for the root.

    Raises
    ------
    InvalidInputError
        For a part that `check_name` refuses.
    """
    key = "/".join(part for part in text.split("/") if part)
    return parse_key(key, what) if key else ()


def join(root: PathLike, parts: Iterable[str], what: str = "key", *, reserved: bool = False) -> Path:
    """Join checked parts to a root.

    Parameters
    ----------
    root : path-like
        The directory.
    parts : iterable of str
        The parts, checked again here.
    what : str, default "key"
        What they are, for the message.
    reserved : bool, default False
        Allow Holdfast's own names.

    Returns
    -------
    Path
        A path that is below the root by its name; `resolve_below` also looks at symbolic links.

    Raises
    ------
    InvalidInputError
        For a part that `check_name` refuses.
    """
    return Path(root, *(check_name(part, what, reserved=reserved) for part in parts))


def is_below(path: PathLike, root: PathLike) -> bool:
    """Tell whether a path, with all its symbolic links followed, lies in or is a root.

    Parameters
    ----------
    path, root : path-like
        Existing or not.

    Returns
    -------
    bool
        True when nothing leads outside.
    """
    real, top = os.path.realpath(path), os.path.realpath(root)
    return real == top or real.startswith(top.rstrip("/") + "/")


def resolve_below(path: PathLike, roots: PathLike | Sequence[PathLike], what: str = "path") -> Path:
    """Follow symbolic links and refuse what leaves the roots.

    Parameters
    ----------
    path : path-like
        The path.
    roots : path-like or sequence of path-like
        The directories that may be served.
    what : str, default "path"
        What it is, for the message.

    Returns
    -------
    Path
        The real path.

    Raises
    ------
    ForbiddenError
        When it lies outside all roots.
    """
    tops = [roots] if isinstance(roots, str | os.PathLike) else list(roots)
    if any(is_below(path, top) for top in tops):
        return Path(os.path.realpath(path))
    raise ForbiddenError(
        f"{what} {os.fspath(path)!r} leads outside the served directory; allow it with --allow-outside DIR"
    )


def is_url(target: str | os.PathLike[str]) -> bool:
    """Tell whether a target is the URL of a server and not a path of this machine.

    Parameters
    ----------
    target : str or path-like
        What the user gave.

    Returns
    -------
    bool
        True for ``http://`` and ``https://``.

    Raises
    ------
    InvalidInputError
        For a URL of another scheme than http, https and file.
    """
    if not isinstance(target, str) or not _SCHEME.match(target):
        return False
    scheme = target.split(":", 1)[0].lower()
    if scheme in {"http", "https"}:
        return True
    if scheme == "file":
        return False
    raise InvalidInputError(
        f"{target!r}: the scheme {scheme!r} is not known; give http://, https://, file:// or a path"
    )


def local_path(target: str | os.PathLike[str]) -> Path:
    """Read a path of this machine, also in its ``file://`` form.

    Parameters
    ----------
    target : str or path-like
        A path, ``file:///…`` or ``file://localhost/…``.

    Returns
    -------
    Path
        The path, with ``~`` expanded.

    Raises
    ------
    InvalidInputError
        For NUL, for an empty text, and for a ``file://`` URL of another host.
    """
    text = os.fspath(target)
    if not text or "\x00" in text or not _is_encodable(text):
        raise InvalidInputError(f"{text!r} is not a path; give the name of a directory or file")
    if not text.lower().startswith("file://"):
        return Path(os.path.expanduser(text))  # noqa: PTH111 # Path.expanduser raises for an unknown ~user
    host, slash, rest = text[len("file://") :].partition("/")
    path = os.fsdecode(unquote_to_bytes(os.fsencode(slash + rest)))
    if host not in {"", "localhost"}:
        raise InvalidInputError(f"{text!r} names a file of the host {host!r}; only local files can be opened")
    if not path or "\x00" in path:
        raise InvalidInputError(f"{text!r} is not a path; give file:// and the name of a directory or file")
    return Path(path)


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def quote_key(parts: Iterable[str]) -> str:
    """Write parts as a path of a URL, each percent-encoded.

    Parameters
    ----------
    parts : iterable of str
        The parts.

    Returns
    -------
    str
        For example ``"box/a%2Fb"``.
    """
    return "/".join(quote(part, safe="") for part in parts)


def unquote_key(raw: str | bytes, what: str = "path") -> tuple[str, ...]:
    """Read the still encoded path of a URL: an encoded slash stays inside its part.

    Parameters
    ----------
    raw : str or bytes
        The path as it stands in the request line.
    what : str, default "path"
        What it is, for the message.

    Returns
    -------
    tuple of str
        The parts; empty for the root.

    Raises
    ------
    InvalidInputError
        For bytes that are not UTF-8 and for parts that `check_name` refuses.
    """
    encoded = raw.encode("latin-1", "replace") if isinstance(raw, str) else raw
    try:
        parts = [unquote_to_bytes(part).decode() for part in encoded.split(b"/") if part]
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{what} {encoded[:80]!r} is not UTF-8; encode it as UTF-8") from error
    return tuple(check_name(part, what) for part in parts)


def attachment_name(name: str) -> str:
    """Return a file name as it may stand in quotes in ``Content-Disposition``.

    Parameters
    ----------
    name : str
        Any name.

    Returns
    -------
    str
        The name without directories, control characters and quotes; ``"download"`` if nothing is left.
    """
    plain = _CONTROL.sub("", name.rsplit("/", 1)[-1]).replace('"', "'").replace("\\", "_")
    return plain.encode("ascii", "replace").decode().replace("?", "_") or "download"
