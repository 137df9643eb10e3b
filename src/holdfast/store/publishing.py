"""Own how changes of a store directory happen: files wait, the index decides, then the files are moved.

Committing the rows is the decision. A crash before it leaves waiting files that nobody names; after it, files
that the next opening moves: the old pairs or the new pairs, of all keys of a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from holdfast.database.store_index import ABSENT, LIVE, IndexRow, StoreIndex
from holdfast.errors import HoldfastError
from holdfast.hashing import BLOCK_BYTES
from holdfast.store.changes import HeldContent, Outcome, received
from holdfast.store.directory import StoreDirectory, new_name
from holdfast.store.staging import Staged
from holdfast.store.survey import TRUST_NS, UNKNOWN, Survey, kept

__all__ = ["Publisher"]

_BURIED_AT_ONCE = 256


class Publisher:
    """Carry out changes; the caller holds the lock of the directory.

    Parameters
    ----------
    directory : StoreDirectory
        The files.
    index : StoreIndex
        What is known of them, and the journal.
    survey : Survey
        What other programs did.
    """

    def __init__(self, directory: StoreDirectory, index: StoreIndex, survey: Survey) -> None:
        self._directory, self._index, self._survey = directory, index, survey
        self._gone: list[str] = []

    def apply(self, outcomes: Sequence[Outcome]) -> None:
        """Make all outcomes true, or none.

        Parameters
        ----------
        outcomes : sequence of Outcome
            One for each key.

        Raises
        ------
        StorageFullError, StorageError, ReadOnlyError
            The disk is full or failing, or may not be written; nothing was changed.
        """
        rows: list[IndexRow] = []
        bases: list[str] = []
        try:
            for outcome in outcomes:
                base = self._directory.base(outcome.key)
                row = self._deleted(outcome, base) if outcome.is_removal else self._prepared(outcome, base)
                if row is not None:
                    rows.append(row)
                    bases.append(base)
            self._directory.sync_staging()
            self._index.put(rows)
        except BaseException:
            self._directory.discard(row.staged for row in rows if row.staged)
            raise
        self._carry_out(rows, bases)

    def _prepared(self, outcome: Outcome, base: str) -> IndexRow:
        """Return what a key shall be; its new files wait."""
        content = self._content(outcome, base)
        if content is None:
            name, (size, data_time, digest, blocks) = new_name(), self._kept(outcome.key, base)
        else:
            name, size, data_time = content.name, content.size, content.time_ns
            digest, blocks = content.digest, content.blocks
        self._directory.make_room(base)
        replaces = content is None or content.replaces
        text_size, text_time = self._directory.stage_text(
            name, outcome.text.encode(), base, replaces=replaces
        )
        latest = max(data_time, text_time)
        recorded = latest + TRUST_NS  # no other program can have left these times behind
        times = size, data_time, text_size, text_time, recorded, latest
        return IndexRow(outcome.key, outcome.text, digest, 0, LIVE, *times, blocks, name)

    def _content(self, outcome: Outcome, base: str) -> Staged | None:
        """Return the data that wait for a key; None where the present ones stay."""
        content = outcome.content
        if isinstance(content, Staged):
            return content
        if content is None and self._directory.look(base).size >= 0:
            return None
        data = content.data if isinstance(content, HeldContent) else b""
        if len(data) <= BLOCK_BYTES:
            return self._directory.hold(data, outcome.key)
        incoming = self._directory.incoming(outcome.key, len(data))
        return cast("Staged", received(incoming, (data,), lambda done: None))

    def _kept(self, key: str, base: str) -> tuple[int, int, bytes | None, bytes | None]:
        row = self._settled(key, base)
        return kept(row, self._directory.look(base)) or UNKNOWN

    def _settled(self, key: str, base: str) -> IndexRow | None:
        """Return what a key is, with all its files in their places."""
        row, _ = self._survey.settle(key, base)
        if row is not None and row.staged:
            self._directory.publish(row.staged, base)
        return row

    def _deleted(self, outcome: Outcome, base: str) -> IndexRow | None:
        row = self._settled(outcome.key, base)
        if row is None:
            return None
        size, data_time, text_size, text_time = self._directory.look(base)
        return row._replace(
            state=ABSENT,
            size=size,
            data_time=data_time,
            text_size=text_size,
            text_time=text_time,
            staged="",
        )

    def _carry_out(self, rows: Sequence[IndexRow], bases: Sequence[str]) -> None:
        """Move and delete files as was decided; if the very first cannot be moved, nothing was decided."""
        is_first = True
        for row, base in zip(rows, bases, strict=True):
            if row.state == ABSENT:
                self._directory.remove(base)
                self._gone.append(row.key)
            else:
                self._survey.will_publish(base)
                try:
                    self._directory.publish(row.staged, base)
                except HoldfastError:
                    if is_first:
                        self._index.drop([each.key for each in rows])
                        self._directory.discard(each.staged for each in rows if each.staged)
                    raise
            is_first = False
        self._directory.settle(bases)
        if len(self._gone) >= _BURIED_AT_ONCE:
            self._index.bury(self._gone)
            self._gone.clear()

    def recover(self) -> None:
        """Finish what a writer decided and did not live to do, and undo what it did not decide."""
        if not self._directory.waiting() and not self._index.deleted():
            return
        with self._directory.lock:
            waiting = self._directory.waiting()
            rows = self._index.staged(waiting)
            bases = [self._directory.base(row.key) for row in rows]
            for row, base in zip(rows, bases, strict=True):
                self._directory.make_room(base)
                self._directory.publish(row.staged, base)
            self._directory.settle(bases)
            self._directory.sweep(waiting - {row.staged for row in rows})
            deleted = self._index.deleted()
            for row in deleted:
                base = self._directory.base(row.key)
                look = self._directory.look(base)
                if row[7:9] == look[2:4] or (look.text_size < 0 and row[5:7] == look[0:2]):
                    self._directory.remove(base)
            self._index.bury([row.key for row in deleted])
