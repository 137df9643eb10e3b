"""Own the way between the keys of a store and the names of its files.

A key that is a valid file name keeps it. Any other key is escaped, reversibly from the name alone, below
the directory ``%``: see docs/format/store.md. Whether a file exists is not asked here.

>>> name_of("run 7"), name_of("a/b"), name_of(".hidden")
('run 7', '%/a%2Fb', '%/%2Ehidden')
>>> key_of("%/a%2Fb"), key_of("a%2Fb")
('a/b', 'a%2Fb')
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from holdfast.errors import InvalidInputError
from holdfast.paths import is_reserved, parse_key

__all__ = ["DATA", "ESCAPED", "METADATA", "check_key", "key_of", "literal_name", "name_of"]

DATA, METADATA = ".data", ".metadata"
"""The suffixes of the two files of a key."""

ESCAPED = "%"
"""The directory of escaped names; each directory below it that continues a long name ends in ``%`` too."""

_LONGEST_PLAIN = 255 - len(METADATA)
_LONGEST_PART = 200
_LONGEST_NAME = 3600
_UNSAFE = re.compile(r"[%/\\\x00-\x1f\x7f]|^\.")
_PART = re.compile(r"%[0-9A-F]{2}|[^%]")


def check_key(key: str) -> str:
    """Check that a key is text that a store can keep.

    Parameters
    ----------
    key : str
        Any text but the empty one and one with NUL.

    Returns
    -------
    str
        The key.

    Raises
    ------
    InvalidInputError
        For anything else.
    """
    if type(key) is str and key and key.isascii() and "\0" not in key:
        return key  # nearly every key
    if not isinstance(key, str):
        raise InvalidInputError(f"a key is text, not {type(key).__name__}: {key!r:.80}")
    if not key:
        raise InvalidInputError("a key must not be empty; give it a name")
    if "\x00" in key:
        raise InvalidInputError(f"the key {key!r:.80} holds NUL; leave it out")
    if not key.isascii():
        _encoded(key)
    return key


def _encoded(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"the key {key!r:.80} is not valid Unicode; rename it") from None


@lru_cache(maxsize=8192)
def name_of(key: str) -> str:
    """Return the path, without suffix and relative to the store, under which a key is written.

    Parameters
    ----------
    key : str
        The key.

    Returns
    -------
    str
        The key itself if that is a valid file name, else its escaped form below `ESCAPED`.

    Raises
    ------
    InvalidInputError
        For a key that no store can keep, or one too long for any path.
    """
    check_key(key)
    if _is_plain(key):
        return key
    escaped = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", key)
    name = "/".join([ESCAPED, *_parts(escaped)])
    if len(name.encode()) > _LONGEST_NAME:
        raise InvalidInputError(f"the key {key[:40]!r}… is too long for a file system; shorten it")
    return name


def _is_plain(key: str) -> bool:
    if key[0] == "." or "/" in key or len(key.encode()) > _LONGEST_PLAIN:
        return False
    return not is_reserved(key + DATA) and not is_reserved(key)


def _parts(escaped: str) -> list[str]:
    """Cut an escaped name into parts of at most 200 bytes, between characters; all but the last end in %."""
    parts, part, size = [], "", 0
    for token in _PART.findall(escaped):
        length = len(token.encode())
        if size + length > _LONGEST_PART:
            parts.append(part + ESCAPED)
            part, size = "", 0
        part += token
        size += length
    return [*parts, part]


def key_of(name: str) -> str:
    """Return the key that a name stands for.

    Parameters
    ----------
    name : str
        A path relative to the store, without suffix.

    Returns
    -------
    str
        What was escaped; for every name that `name_of` would not have made, the name itself.
    """
    if not name.startswith(ESCAPED + "/"):
        return name
    joined = name[len(ESCAPED) + 1 :].replace(ESCAPED + "/", "")
    try:
        key = unquote_to_bytes(joined).decode()
        return key if key and name_of(key) == name else name
    except (UnicodeDecodeError, InvalidInputError):
        return name


def literal_name(key: str) -> str | None:
    """Return the other name under which a key may lie: the one that a foreign program gave it.

    Parameters
    ----------
    key : str
        The key.

    Returns
    -------
    str or None
        The key itself where it is a possible name of a single file and `name_of` would escape it.
    """
    if name_of(key) == key or ("/" in key and not key.startswith(ESCAPED + "/")):
        return None
    try:
        parse_key(key, reserved=True)
    except InvalidInputError:
        return None
    return key if key_of(key) == key else None
