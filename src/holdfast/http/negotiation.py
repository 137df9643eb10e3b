"""Own the choice of a media type from what a client accepts and a route can give.

It does not convert anything.

>>> from holdfast.http.negotiation import choose
>>> choose("text/csv;q=0.5, application/json", ["text/csv", "application/json"])
'application/json'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.errors import NotAcceptableError
from holdfast.http.frames import FRAMES_MEDIA_TYPE
from holdfast.http.request import Request

__all__ = ["choose", "negotiate"]


def negotiate(request: Request, offered: Sequence[str], aliases: Mapping[str, str] | None = None) -> str:
    """Choose the media type of an answer.

    Parameters
    ----------
    request : Request
        Its ``format`` parameter (a media type or a short name, or several with commas, of which the first
        that is offered counts) wins over ``Accept``.
    offered : sequence of str
        Media types, the preferred one first.
    aliases : mapping of str to str, optional
        Media types by short names such as ``csv``.

    Returns
    -------
    str
        One of ``offered``.

    Raises
    ------
    NotAcceptableError
        When none fits; the message names all that are possible.
    """
    short = aliases or {}
    wanted = request.query.get("format")
    if not wanted:
        return choose(request.headers.get("accept"), offered, short)
    for each in wanted.split(","):
        name = each.partition(";")[0].strip().lower()
        # Tiled's client takes all that follows the first dot of a file's name for its suffix.
        for spelled in (name, name.rpartition(".")[2]):
            media_type = short.get(spelled, spelled)
            if media_type in offered:
                return media_type
    raise _refusal(wanted, offered, short)


def choose(accept: str | None, offered: Sequence[str], aliases: Mapping[str, str] | None = None) -> str:
    """Choose by the value of ``Accept`` alone.

    Parameters
    ----------
    accept : str or None
        The field.
    offered : sequence of str
        Media types, the preferred one first.
    aliases : mapping of str to str, optional
        Short names, and further names of the offered types.

    Returns
    -------
    str
        The offered type with the highest weight; of equals the one the client names first, then the
        one offered first.

    Raises
    ------
    NotAcceptableError
        When none fits.

    References
    ----------
    RFC 9110, section 12.5.1.
    """
    if not accept or accept.strip() == "*/*":
        return offered[0]
    # Frames wrap a body of any type; they are not one of the types to choose from.
    known = aliases or {}
    parsed = [_parse(part) for part in accept.split(",")]
    parsed = [(known.get(each, each), weight) for each, weight in parsed if each != FRAMES_MEDIA_TYPE]
    if not parsed:
        return offered[0]
    best, best_rank = "", (0.0, 0)
    for place, (pattern, weight) in enumerate(parsed):
        for media_type in offered:
            rank = (weight, -place)
            if weight > 0 and _fits(pattern, media_type) and (not best or rank > best_rank):
                best, best_rank = media_type, rank
                break
    if best:
        return best
    raise _refusal(accept, offered, known)


def _parse(part: str) -> tuple[str, float]:
    pattern, *parameters = (each.strip() for each in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return pattern.lower(), weight


def _fits(pattern: str, media_type: str) -> bool:
    if pattern in {"*/*", "*", media_type}:
        return True
    kind, slash, rest = pattern.partition("/")
    return bool(slash) and rest == "*" and media_type.startswith(kind + "/")


def _refusal(wanted: str, offered: Sequence[str], aliases: Mapping[str, str]) -> NotAcceptableError:
    names = sorted(name for name, kind in aliases.items() if kind in offered and "/" not in name)
    shorter = f" (format={', '.join(names)})" if names else ""
    return NotAcceptableError(
        f"{wanted[:200]!r} is not possible here; ask for {', '.join(offered)}{shorter}",
        possible=list(offered),
    )
