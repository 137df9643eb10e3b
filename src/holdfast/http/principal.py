"""Own who asks: a name and what the key allows.

It does not look at keys.

>>> from holdfast.http.principal import ANONYMOUS
>>> ANONYMOUS.scope is None
True
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.types import Scope

__all__ = ["ANONYMOUS", "LOCAL", "Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Be who asks.

    Parameters
    ----------
    name : str
        For logs; never the key.
    scope : {"read", "write"} or None
        What the key allows; None without a key.
    """

    name: str
    scope: Scope | None = None


ANONYMOUS = Principal("anonymous")
LOCAL = Principal("local", "write")
"""Who asks in the process that holds the data."""
