"""Own transactions over files: intent, publish, then finish or undo, now or at the next opening.

It knows nothing of what a transaction does: each kind has a `Participant`, whose two methods may run more
than once. Posted entries are the outbox from which facts catch up with files after a crash.

>>> import tempfile
>>> class Print:
...     def finish(self, facts): print("finish", facts)
...     def undo(self, facts): print("undo", facts)
>>> journal = Journal(tempfile.mkdtemp(), {"move": Print()})
>>> with journal.begin("move", {"to": "b"}) as transaction:
...     transaction.decide()
finish {'to': 'b'}
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from holdfast.errors import BusyError, HashError, InvalidInputError, NewerFormatError, NotFoundError
from holdfast.files import Lock, lock, make_directories, os_errors, remove, replace, sweep, write_atomic
from holdfast.hashing import hash_bytes
from holdfast.types import Json, PathLike

__all__ = ["Entry", "Journal", "Participant", "Transaction"]

FORMAT, VERSION = "holdfast-journal", 1
_INTENT, _DECIDED = ".intent", ".decided"
Facts = dict[str, Json]


class Participant(Protocol):
    """Do what one kind of transaction means. Both methods may be called again after a crash inside them."""

    def finish(self, facts: Facts) -> object:
        """Bring about what was decided."""
        ...

    def undo(self, facts: Facts) -> object:
        """Take back what was prepared and not decided."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Describe a transaction or a posted fact that is not finished yet.

    Parameters
    ----------
    kind : str
        Which participant it belongs to.
    facts : dict
        JSON values.
    decided : bool
        Whether it will be finished; else it will be undone.
    at : datetime
        When it began, UTC.
    """

    kind: str
    facts: Facts
    decided: bool
    at: datetime


class Journal:
    """A directory of entries, one file each; safe across threads, processes and crashes.

    Parameters
    ----------
    directory : path
        Made when the first entry is.
    participants : mapping of str to Participant
        Who finishes and undoes which kind.

    Notes
    -----
    A transaction costs one synced file and three synced names. Its owner holds a lock on it: what can be
    locked was left by a dead process.
    """

    def __init__(self, directory: PathLike, participants: Mapping[str, Participant]) -> None:
        self.directory = os.fspath(directory)
        self._participants = dict(participants)
        self._drain_lock = threading.Lock()

    def begin(self, kind: str, facts: Facts) -> Transaction:
        """Write down durably what is going to be done.

        Parameters
        ----------
        kind : str
            One of the participants' kinds.
        facts : dict
            JSON values: all that `Participant.undo` needs.

        Returns
        -------
        Transaction
            A context manager; leaving it finishes or undoes.

        Raises
        ------
        InvalidInputError
            Unknown kind.
        StorageError
            The intent could not be written; nothing was done.
        """
        participant = self._participant(kind)
        path, held = self._write(kind, facts, _INTENT)
        return Transaction(path, held, participant, kind, facts)

    def post(self, kind: str, facts: Facts) -> None:
        """Write down durably what `drain` shall finish.

        Parameters
        ----------
        kind : str
            One of the participants' kinds.
        facts : dict
            JSON values.

        Raises
        ------
        InvalidInputError
            Unknown kind.
        """
        self._participant(kind)
        _, held = self._write(kind, facts, _DECIDED)
        held.release()

    def drain(self, limit: int | None = None) -> int:
        """Finish decided entries that nobody works on, oldest first.

        Parameters
        ----------
        limit : int, optional
            At most so many.

        Returns
        -------
        int
            How many were finished. The first exception of a participant stops it and leaves the entry.
        """
        done = 0
        with self._drain_lock:
            for name in self._names(_DECIDED):
                if limit is not None and done >= limit:
                    break
                done += self._settle(name)
        return done

    def recover(self) -> int:
        """Finish what was decided and undo what was not, of processes that are dead.

        Returns
        -------
        int
            How many entries were settled.
        """
        if os.path.isdir(self.directory):
            sweep(self.directory)
        undone = sum(self._settle(name) for name in self._names(_INTENT))
        return undone + self.drain()

    def pending(self) -> list[Entry]:
        """Return all entries that are not finished, oldest first, those of living processes too."""
        found = []
        for name in self._names(""):
            with contextlib.suppress(NotFoundError):
                found.append(_read(os.path.join(self.directory, name)))
        return found

    def _participant(self, kind: str) -> Participant:
        try:
            return self._participants[kind]
        except KeyError:
            known = ", ".join(sorted(self._participants))
            raise InvalidInputError(
                f"journal {self.directory} has no participant {kind!r}; it knows: {known}"
            ) from None

    def _write(self, kind: str, facts: Facts, state: str) -> tuple[str, Lock]:
        make_directories(self.directory)
        name = f"{time.time_ns():016x}-{secrets.token_hex(8)}"
        path = os.path.join(self.directory, name)
        content = _encoded(kind, facts)
        # Between the name and its lock nobody may take the entry for abandoned.
        with lock(self.directory, shared=True):
            write_atomic(path + state, content, replace=False)
            held = lock(path + state, create=False)
        return path, held

    def _names(self, state: str) -> Iterator[str]:
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(state or (_INTENT, _DECIDED)):
                yield name

    def _settle(self, name: str) -> bool:
        path = os.path.join(self.directory, name)
        held = self._abandoned(path)
        if held is None:
            return False
        with held:
            entry = _read(path)
            participant = self._participant(entry.kind)
            (participant.finish if entry.decided else participant.undo)(entry.facts)
            remove(path)
        return True

    def _abandoned(self, path: str) -> Lock | None:
        """Lock an entry whose owner is dead; None when it lives or the entry is settled."""
        with lock(self.directory):
            try:
                return lock(path, timeout_s=0, create=False)
            except (BusyError, NotFoundError):
                return None


class Transaction:
    """What `Journal.begin` returns.

    Attributes
    ----------
    facts : dict
        May be extended until `decide`; what `undo` needs must be there from the beginning.
    """

    def __init__(self, path: str, held: Lock, participant: Participant, kind: str, facts: Facts) -> None:
        self.facts = facts
        self._path = path
        self._held = held
        self._participant = participant
        self._kind = kind
        self._content = _encoded(kind, facts)
        self._decided = False
        self._owner = os.getpid()

    def decide(self) -> None:
        """Make the decision durable: from here it will be finished, by this process or a later one.

        Raises
        ------
        StorageError
            It could not be written; the transaction is still undecided.
        """
        intent = self._path + _INTENT
        content = _encoded(self._kind, self.facts)
        if content != self._content:
            self._rewrite(intent, content)
        # The lock belongs to the file, not to its name, and stays.
        replace(intent, self._path + _DECIDED)
        self._decided = True

    def _rewrite(self, intent: str, content: bytes) -> None:
        with lock(os.path.dirname(intent), shared=True):
            write_atomic(intent, content)
            held = lock(intent, create=False)
        self._held.release()
        self._held, self._content = held, content

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._owner:
            return
        with self._held:
            if self._decided:
                self._participant.finish(self.facts)
                remove(self._path + _DECIDED)
            else:
                # A decision whose sync failed has its name already: it must not be found by anybody.
                remove(self._path + _DECIDED, missing_ok=True)
                self._participant.undo(self.facts)
                remove(self._path + _INTENT, missing_ok=True)


def _encoded(kind: str, facts: Facts) -> bytes:
    entry = {"format": FORMAT, "version": VERSION, "kind": kind, "facts": facts}
    text = json.dumps(entry, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
    return b"%s\n%s\n" % (str(hash_bytes(text)).encode(), text)


def _read(path: str) -> Entry:
    with os_errors(path, "read"), open(path, "rb") as file:
        digest, _, text = file.read().partition(b"\n")
    text = text.removesuffix(b"\n")
    if digest.decode("ascii", "replace") != str(hash_bytes(text)):
        raise HashError(f"journal entry {path} is damaged; restore it, or move it away to give it up")
    entry = json.loads(text.decode("utf-8", "surrogatepass"))
    if entry["version"] > VERSION:
        raise NewerFormatError(f"journal entry {path} was written by a newer release; open it with that one")
    nanoseconds = int(os.path.basename(path).partition("-")[0], 16)
    at = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    return Entry(entry["kind"], entry["facts"], path.endswith(_DECIDED), at)
