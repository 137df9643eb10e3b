"""Own what a listener of live rows is told, as Server-Sent Events.

It does not hold a thread: the watcher wakes it, and it takes what is new.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from holdfast.formats.sealed.datatypes import description_of
from holdfast.formats.sealed.selection import bytes_of
from holdfast.http.reply import ServerEvent, encode_json
from holdfast.records.answers import json_value
from holdfast.records.following import Follower
from holdfast.records.watching import Watcher
from holdfast.types import Json

__all__ = ["EntryListener", "row_of"]

_ROWS = 256


class EntryListener:
    """Tell one listener the rows of an entry as they arrive.

    Parameters
    ----------
    watcher : Watcher
        Who wakes it.
    path, what : str
        The base, and the entry for messages.
    start : int
        The first row.
    exact : bool
        Send the bytes of each row instead of JSON numbers, for our own client.

    Attributes
    ----------
    timeout_s : float or None
        End after so many seconds without a row.
    """

    def __init__(self, watcher: Watcher, path: str, what: str, start: int, *, exact: bool) -> None:
        self._watcher, self._path, self._exact = watcher, path, exact
        self._follower = Follower(path, what, start)
        self._wake: Callable[[], None] = lambda: None
        self.timeout_s: float | None = None
        self._last = time.monotonic()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have ``wake`` called when there may be rows; return what ends that."""
        self._wake = wake
        return self._watcher.subscribe(self._path, wake)

    def take(self) -> list[ServerEvent] | None:
        """Return the rows since the last call, never waiting."""
        rows = self._follower.take(_ROWS)
        if rows:
            self._last = time.monotonic()
        elif self.timeout_s is not None and time.monotonic() - self._last >= self.timeout_s:
            return None
        first = self._follower.row - len(rows)
        if len(rows) == _ROWS:
            self._wake()  # there may be more at once
        return [self._event(first + number, row) for number, row in enumerate(rows)]

    def _event(self, number: int, row: Any) -> ServerEvent:
        array = np.asarray(row)
        if not self._exact or array.dtype.kind in "OU":
            value = array.tolist() if array.dtype.kind in "OU" else json_value(array)
            return ServerEvent(_text({"row": number, "value": value}), id=str(number))
        facts = {
            "row": number,
            "dtype": description_of(array.dtype),
            "shape": list(array.shape),
            "data": base64.b64encode(bytes_of(np.ascontiguousarray(array))).decode(),
        }
        return ServerEvent(_text(facts), id=str(number))


def _text(value: Json) -> str:
    return encode_json(value).decode()


def row_of(data: str, dtype_of: Callable[[Json], np.dtype[Any]]) -> tuple[int, Any]:
    """Return the number and value of a row that an exact listener was told."""
    facts = json.loads(data)
    if "data" not in facts:
        value = facts["value"]
        if isinstance(value, list):
            out = np.empty(np.shape(value), object)
            out[...] = value
            return facts["row"], out
        return facts["row"], value
    raw = base64.b64decode(facts["data"])
    array = np.frombuffer(raw, dtype_of(facts["dtype"])).reshape(facts["shape"]).copy()
    return facts["row"], array if array.shape else array[()]
