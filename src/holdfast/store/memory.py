"""Own the store in memory: for tests, caches and the top of a `MountedStore`.

>>> store = MemoryStore()
>>> store.set_metadata("k", {"n": 1}); store.get_metadata("k")
{'n': 1}
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from holdfast.hashing import hash_bytes
from holdfast.reports import Finding, Report
from holdfast.store.base import Store
from holdfast.store.changes import HeldContent, Outcome, missing
from holdfast.store.matching import Condition, Found
from holdfast.store.value import HeldReader, Value, held_value

__all__ = ["MemoryStore"]


class MemoryStore(Store):
    """Keep everything in the memory of this process.

    A pickled copy, and a forked process, has the contents of that moment and goes its own way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, Value] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: (_data(v), v.text, v.modified, v.created) for key, v in self._values.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        MemoryStore.__init__(self)
        self._values = {
            key: held_value(data, text, modified, created, key)
            for key, (data, text, modified, created) in state.items()
        }

    def _find(self, key: str) -> Value:
        value = self._values.get(key)
        if value is None:
            raise missing(key)
        return value.with_text(value.text)

    def _text(self, key: str) -> str | None:
        value = self._values.get(key)
        return None if value is None else value.text

    def _search(self, condition: Condition) -> Iterator[Found]:
        return condition.matching([(key, value.text) for key, value in list(self._values.items())])

    def _keys(self, pattern: str) -> Iterator[str]:
        return iter(list(self._values))

    def _exclusive(self) -> AbstractContextManager[object]:
        return self._lock

    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        values = dict(self._values) if len(outcomes) > 1 else self._values
        for outcome in outcomes:
            if outcome.is_removal:
                values.pop(outcome.key, None)
            else:
                values[outcome.key] = self._made(outcome)
        self._values = values

    def _made(self, outcome: Outcome) -> Value:
        now, old = time.time(), self._values.get(outcome.key)
        created = now if old is None else old.created
        data = b"" if old is None else _data(old)
        if isinstance(outcome.content, HeldContent):
            data = outcome.content.data
        return held_value(data, outcome.text, now, created, outcome.key)

    def check(self) -> Report:
        """Verify all data against the digests that were taken at writing.

        Returns
        -------
        Report
            Findings are ``changed``.
        """
        values = list(self._values.items())
        now = [(key, value.digest, hash_bytes(_data(value))) for key, value in values]
        return Report(
            len(values), [Finding("changed", key, str(old), str(new)) for key, old, new in now if old != new]
        )


def _data(value: Value) -> bytes:
    assert isinstance(value.reader, HeldReader)
    return bytes(value.reader.data)
