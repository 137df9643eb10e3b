"""Own the words of full text: how a text becomes tokens, and a query becomes phrases.

Both the reference matcher and every index use exactly these tokens, so that all agree.

>>> from holdfast.queries.words import phrases, words
>>> words("Beam-line_7, Ångström"), phrases('half-cell "')
(['beam', 'line', '7', 'ångström'], [['half', 'cell']])
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MAX_WORD", "contains_phrase", "phrases", "words"]

MAX_WORD = 500
"""The longest token; the rest of a longer run of letters is cut off."""

_TOKEN = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return the tokens of a text: folded runs of letters and digits.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        NFKC, case-folded, each at most `MAX_WORD` characters.
    """
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return [token[:MAX_WORD] for token in _TOKEN.findall(folded)]


def phrases(text: str) -> list[list[str]]:
    """Return what a full-text query asks for: one phrase for each blank-separated word.

    Parameters
    ----------
    text : str
        What the user typed; punctuation only separates.

    Returns
    -------
    list of list of str
        All phrases must occur; an empty list finds nothing.
    """
    return [tokens for tokens in map(words, text.split()) if tokens]


def contains_phrase(tokens: list[str], phrase: list[str]) -> bool:
    """Tell whether the tokens of one text contain a phrase.

    Parameters
    ----------
    tokens, phrase : list of str
        What `words` gave.

    Returns
    -------
    bool
        Whether the phrase stands in the tokens, without gaps.
    """
    size = len(phrase)
    return any(tokens[start : start + size] == phrase for start in range(len(tokens) - size + 1))
