"""Own the patterns of Like: ``%`` for any characters, ``_`` for one.

>>> from holdfast.queries.likes import like_pattern
>>> like_pattern("Ni%").fullmatch("Nickel") is not None
True
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["like_pattern"]


@lru_cache(maxsize=256)
def like_pattern(pattern: str, case_sensitive: bool = True) -> re.Pattern[str]:  # a cache key
    r"""Return the regular expression of a pattern of `Like`; it needs no time limit.

    Parameters
    ----------
    pattern : str
        With ``%``, ``_`` and ``\\``.
    case_sensitive : bool, default True
        Whether case matters.

    Returns
    -------
    re.Pattern
        To be used with ``fullmatch``.
    """
    # Atomic groups keep many % from backtracking: each takes the earliest place of the run after it.
    pieces = [_piece(match) for match in re.finditer(r"%+|_|\\?.|\\", pattern, re.DOTALL)]
    return re.compile("".join(_lazily(pieces)), re.DOTALL | (0 if case_sensitive else re.IGNORECASE))


def _piece(match: re.Match[str]) -> str | None:
    text = match[0]
    if text.startswith("%"):
        return None
    if text == "_":
        return "."
    return re.escape(text[1:] if len(text) == 2 else text)


def _lazily(pieces: list[str | None]) -> Iterable[str]:
    first, *rest = _runs(pieces)
    yield first
    if rest:
        yield from (f"(?>.*?{run})" for run in rest[:-1])
        yield f".*{rest[-1]}"


def _runs(pieces: list[str | None]) -> list[str]:
    runs = [""]
    for piece in pieces:
        if piece is None:
            runs.append("")
        else:
            runs[-1] += piece
    return runs
