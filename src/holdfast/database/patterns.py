"""Own the search of users' patterns in texts, within a time limit.

>>> search("^a+$", "AAA", False)
True
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import regex

from holdfast.database.flatten import MAX_TEXT
from holdfast.database.scopes import Scope
from holdfast.errors import InvalidInputError, TimeLimitError
from holdfast.queries import And, Like, Not, Or, Query, Regex
from holdfast.queries.elements import ElementMatch
from holdfast.queries.likes import like_pattern
from holdfast.queries.values import TEXT

__all__ = ["TIME_LIMIT_S", "check_patterns", "glob_of", "matching_texts", "search"]

TIME_LIMIT_S = 2.0
"""How long the regular expressions of one query may take in all, seconds."""


def search(pattern: str, text: str, case_sensitive: bool, timeout_s: float = TIME_LIMIT_S) -> bool:
    """Tell whether a regular expression is found in a text.

    Parameters
    ----------
    pattern, text : str
        The expression and the text.
    case_sensitive : bool
        Whether case matters.
    timeout_s : float
        How long it may take, seconds.

    Returns
    -------
    bool
        Whether it is found anywhere.

    Raises
    ------
    InvalidInputError
        For a malformed expression.
    TimeLimitError
        When it takes too long.
    """
    try:
        flags = regex.V0 | (0 if case_sensitive else regex.IGNORECASE)
        return regex.search(pattern, text, flags, timeout=max(timeout_s, 0.001)) is not None
    except TimeoutError:
        raise TimeLimitError(
            f"the regular expression {pattern!r:.200} took over {TIME_LIMIT_S} s; make it simpler"
        ) from None
    except (regex.error, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"the regular expression {pattern!r:.200} is malformed: {error}") from error


def check_patterns(query: Query) -> None:
    """Check every regular expression of a query, whether or not any text will be searched with it.

    Parameters
    ----------
    query : Query
        Any query.

    Raises
    ------
    InvalidInputError
        For a malformed one.
    """
    if isinstance(query, And | Or):
        for each in query.queries:
            check_patterns(each)
    elif isinstance(query, Not | ElementMatch):
        check_patterns(query.query)
    elif isinstance(query, Regex):
        search(query.pattern, "", query.case_sensitive)


def matching_texts(connection: sqlite3.Connection, scope: Scope, path: int, query: Query) -> list[str]:
    """Return the different texts under a path that a pattern matches, whole texts only.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a read transaction.
    scope : Scope
        Which nodes are looked at.
    path : int
        The id of a path.
    query : Like or Regex
        The pattern.

    Returns
    -------
    list of str
        Those of at most 200 characters; a longer one does not stand in the index as it is.

    Raises
    ------
    InvalidInputError, TimeLimitError
        See `search`.
    """
    texts = _distinct(connection, scope, path)
    if isinstance(query, Like):
        pattern = like_pattern(query.pattern, query.case_sensitive)
        return [text for text in texts if pattern.fullmatch(text)]
    assert isinstance(query, Regex)
    end = time.monotonic() + TIME_LIMIT_S
    return [
        text for text in texts if search(query.pattern, text, query.case_sensitive, end - time.monotonic())
    ]


def _distinct(connection: sqlite3.Connection, scope: Scope, path: int) -> Iterator[str]:
    select = f"{scope.prefix}SELECT DISTINCT value FROM node_values WHERE parent{scope.test}"
    rows = connection.execute(f"{select} AND path = {path} AND kind = {TEXT}", (scope.parent,))
    return (text for (text,) in rows if len(text) <= MAX_TEXT)


_GLOB_WILD = 3


def glob_of(query: Like) -> str | None:
    r"""Return a pattern of Like as one of GLOB, which can use the index.

    Parameters
    ----------
    query : Like
        The pattern.

    Returns
    -------
    str or None
        None where GLOB cannot say it, or would take too long.
    """
    if not query.case_sensitive or query.pattern.count("%") > _GLOB_WILD:
        return None
    pieces, characters = [], iter(query.pattern)
    for character in characters:
        if character == "%":
            pieces.append("*")
        elif character == "_":
            pieces.append("?")
        else:
            plain = next(characters, "\\") if character == "\\" else character
            pieces.append(f"[{plain}]" if plain in "*?[" else plain)
    return "".join(pieces)
