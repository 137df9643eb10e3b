"""Own digests that somebody expects: how they are read, and what happens when a file has another.

>>> [str(digest)[:10] for digest in expected_digests("0" * 64)]
['sha256:000', 'blake3:000']
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.archive.entries import Entry
from holdfast.errors import InvalidInputError, MalformedHashError, UnexpectedHashError
from holdfast.hashing import Digest

__all__ = ["check_expected", "expected_digests"]


def expected_digests(text: str) -> list[Digest]:
    """Read a digest that somebody expects: a bare one of 64 digits may be sha256 or blake3.

    Parameters
    ----------
    text : str
        In any case, bare or with its algorithm.

    Returns
    -------
    list of Digest
        One of which the file must have.

    Raises
    ------
    MalformedHashError
        It is malformed, or its algorithm is unknown.
    """
    if not isinstance(text, str):
        raise MalformedHashError(f"an expected hash must be text, not {type(text).__name__}")
    bare = text.strip()
    names = ("sha256", "blake3") if ":" not in bare and len(bare) == 64 else ("",)
    try:
        return [Digest.parse(bare, default=name) for name in names]
    except InvalidInputError as error:
        raise MalformedHashError(f"an expected hash cannot be read: {error.message}") from error


def check_expected(entry: Entry, found: Mapping[str, Digest], expected: list[Digest]) -> None:
    """Compare what a file is with what somebody expects.

    Parameters
    ----------
    entry : Entry
        For the message.
    found : mapping of str to Digest
        The file's digests by algorithm; those of all expected algorithms.
    expected : list of Digest
        One of them must be there.

    Raises
    ------
    UnexpectedHashError
        None is; both digests are named.
    """
    if any(found[digest.algorithm] == digest for digest in expected):
        return
    actual = found[expected[0].algorithm]
    raise UnexpectedHashError(
        f"{entry.place.path} is not what you expect: expected {expected[0]}, recorded {actual}; "
        "check which version of the file you mean",
        expected=str(expected[0]),
        found=str(actual),
    )
