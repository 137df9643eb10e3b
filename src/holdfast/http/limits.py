"""Own the limits of every request and answer, and their messages.

It does not decide what happens at a limit of a face (pages, slices): faces take the numbers from here.

>>> from holdfast.http.limits import Limits
>>> Limits().page_items
300
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MEBIBYTE", "PIECE_BYTES", "SHARED_PIECE_BYTES", "Limits"]

MEBIBYTE = 1024 * 1024

PIECE_BYTES = MEBIBYTE
"""The size of a piece of a body that is alone on the wire."""

SHARED_PIECE_BYTES = 256 * 1024
"""The size of a piece of a body while other large bodies are on the wire."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold the limits of a site.

    Parameters
    ----------
    url_bytes : int
        The longest address, with its query; more is answered with 414.
    header_bytes : int
        The longest head besides its address; more is answered with 431.
    body_bytes : int
        The largest body that is read whole into memory (documents, queries).
    answer_bytes : int
        The largest answer that is computed for one request (a slice, a partition).
    page_items : int
        The most entries of one page.
    idle_s : float
        How long a peer may neither send nor take bytes, seconds.
    head_s : float
        How long a head may take to arrive, seconds.
    keep_alive_s : float
        How long an unused connection stays open, seconds.
    stop_s : float
        How long a stopping server waits for answers on their way, seconds.
    """

    url_bytes: int = MEBIBYTE
    header_bytes: int = 64 * 1024
    body_bytes: int = 32 * MEBIBYTE
    answer_bytes: int = 300 * 1000 * 1000
    page_items: int = 300
    idle_s: float = 60.0
    head_s: float = 30.0
    keep_alive_s: float = 75.0
    stop_s: float = 5.0
