"""A round over a directory: what is seen, looked into, recorded, and missed.

Owns the order of these steps; each of them stands in its own module.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from holdfast.catalog.failures import Failures
from holdfast.catalog.members import Members
from holdfast.catalog.ordering import InOrder
from holdfast.catalog.places import STORAGE_FACT
from holdfast.catalog.progress import Progress
from holdfast.catalog.recording import Recorder
from holdfast.catalog.resting import is_recent, written_files
from holdfast.catalog.runs import SEQUENCES_FACT, grouped
from holdfast.catalog.scanning import Found, Group, scan
from holdfast.catalog.sequences import Known, Sequences, Step
from holdfast.catalog.tree import OWN_FILE, Catalog
from holdfast.catalog.vanished import Vanished
from holdfast.database import Database, Transaction
from holdfast.events import EventBus, bus
from holdfast.formats.probe import Job, Probed
from holdfast.formats.registry import frame_formats
from holdfast.formats.workers import ProbePool, shared_pool

__all__ = ["DIGESTS", "DigestWhen", "Options", "Round", "Summary", "grouping"]

DigestWhen = Literal["now", "later", "never"]
DIGESTS: tuple[DigestWhen, ...] = ("now", "later", "never")
"""When files are digested: before `index` returns, behind it by who serves, or not at all."""

# So many entries are scanned for each one looked into, so that the total is known early.
_AHEAD = 32
_ROOTS_FACT = "allowed outside"
_FLUSH_FILES = 512
_FLUSH_S = 0.5
_MAX_WAITING = 100_000


@dataclass(slots=True)
class Summary:
    """What indexing did.

    Parameters
    ----------
    files, directories : int
        How many lie there.
    added, updated, unchanged : int
        Files by what happened to their nodes.
    missing : int
        Recorded files and directories that are gone.
    pruned : int
        Nodes removed because of that.
    digested : int
        Files digested.
    errors : list of (path, message)
        Files that cannot be read.
    seconds : float
        How long it took.
    """

    files: int = 0
    directories: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    missing: int = 0
    pruned: int = 0
    digested: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """The number of files a second."""
        return self.files / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        parts = [f"{self.files:,} files", f"{self.added:,} added", f"{self.updated:,} updated"]
        parts += [f"{self.unchanged:,} unchanged"]
        parts += [
            f"{count:,} {name}"
            for name, count in (("missing", self.missing), ("pruned", self.pruned))
            if count
        ]
        parts += [f"{len(self.errors):,} with errors"] if self.errors else []
        return f"{', '.join(parts)}; {self.seconds:.1f} s, {self.rate:,.0f} files a second"


@dataclass(frozen=True, slots=True)
class Options:
    """How to index.

    Parameters
    ----------
    digest : "now", "later" or "never"
        When files are digested.
    prune : bool
        Remove the nodes of files that are gone.
    bus : EventBus
        Who is told about progress.
    pool : ProbePool
        Who looks into files.
    is_stopped : callable
        Asked now and then; when it answers yes, the rest is left for another time.
    found : sequence of Found, optional
        Look at these only, instead of the whole directory.
    sequences : bool, optional
        Whether numbered images become one array; as the last time when None.
    """

    digest: DigestWhen = "now"
    prune: bool = False
    bus: EventBus = bus
    pool: ProbePool = field(default_factory=shared_pool)
    is_stopped: Callable[[], bool] = lambda: False
    found: Sequence[Found] | None = None
    sequences: bool | None = None


def grouping(database: Database, sequences: bool | None = None) -> Group:
    """Return what puts the files of a directory together: runs, if these are to be sequences.

    Parameters
    ----------
    database : Database
        Remembers what was said last.
    sequences : bool, optional
        What is said now.
    """
    is_wanted = database.fact(SEQUENCES_FACT) == "yes" if sequences is None else sequences
    return partial(grouped, formats=frame_formats()) if is_wanted else list


class Round:
    """One round over the directory of a catalog.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    options : Options
        How.

    Attributes
    ----------
    summary : Summary
        What was done so far.
    progress : Progress
        Who is told.
    """

    def __init__(self, catalog: Catalog, options: Options) -> None:
        self._catalog, self._options = catalog, options
        self._places = catalog.places
        self._known = _known(catalog, options.found)
        self._recorder = Recorder(catalog)
        self._failures = Failures(catalog)
        self._vanished = Vanished(catalog, set(self._known))
        self._waiting: deque[tuple[Found, bool]] = deque()
        self._looked: dict[str, Found] = {}
        self._order: InOrder[Callable[[], None]] = InOrder()
        self._changed: list[int] = []
        self._renewed: set[str] = set()
        self._sequences = Sequences(catalog)
        is_grouped = options.sequences or catalog.database.fact(SEQUENCES_FACT) == "yes"
        self._members = Members(catalog, is_used=is_grouped)
        self._frames = catalog.database.frames.locations() if is_grouped else set()
        group = grouping(catalog.database, options.sequences)
        self._scan = scan(self._places, group) if options.found is None else iter(options.found)
        self._is_scanned = False
        self._is_widened = False
        self._written: set[tuple[int, int]] | None = None
        self.summary = Summary()
        self.progress = Progress(options.bus, "index", "files", self._places.storage)

    def go(self) -> Summary:
        """Scan, look into what is new or changed, record it; then see what is gone."""
        self._note_storage()
        self._probe(self._jobs())
        while self._waiting and not self._options.is_stopped():
            # The first frame of a sequence is known when the shapes of all others are.
            self._probe(self._jobs())
        self._probe(iter(self._masters()))
        self._waiting.extend((found, False) for found in self._members.settle(self.summary))
        self._probe(self._jobs())
        if self._options.found is None and not self._options.is_stopped():
            self._vanished.mark(self.summary, prune=self._options.prune)
            for location in self._vanished.among(self._failures.locations()):
                self._failures.clear(location)
        self._failures.save()
        self.summary.errors += self._failures.messages()
        return self.summary

    def _note_storage(self) -> None:
        """Write down where the files are, so that a copy of the database finds them, and what is allowed."""
        database = self._catalog.database
        allowed = "\n".join(map(str, self._places.roots[1:]))
        notes = {STORAGE_FACT: self._places.prefix or ".", _ROOTS_FACT: allowed}
        self._is_widened = bool(self._known) and (database.fact(_ROOTS_FACT) or "") != allowed
        if self._options.sequences is not None:
            notes[SEQUENCES_FACT] = "yes" if self._options.sequences else "no"
        for name, note in notes.items():
            if database.fact(name) != note:
                database.write(partial(_write_note, name, note))

    def _probe(self, jobs: Iterator[Job]) -> None:
        due = time.monotonic() + _FLUSH_S / 4
        for job, probed in self._options.pool.map(jobs, self._places.roots, self._options.is_stopped):
            self._take(self._looked.pop(str(job.path)), probed)
            now = time.monotonic()
            self._bring_in()
            if len(self._recorder) >= _FLUSH_FILES or now > due:
                self._flush()
                due = now + _FLUSH_S
        self._bring_in(is_last=True)
        self._flush()

    def _bring_in(self, *, is_last: bool = False) -> None:
        """Take what can be recorded in the order in which it was listed."""
        for put in self._order.take(is_last=is_last):
            put()

    def _flush(self) -> None:
        added, updated = self._recorder.flush()
        self.summary.added += added
        self.summary.updated += updated
        done = self.summary.added + self.summary.updated + self.summary.unchanged + self._sequences.looked
        self.progress.step(done, self.summary.files if self._is_scanned else -1)

    def _take(self, found: Found, probed: Probed) -> None:
        """Prepare the node of a file; one that vanished meanwhile is passed over."""
        if probed.failure is not None:
            if probed.failure.code == "missing-file" and not found.probed.exists():
                step = self._sequences.take(found, None)
                if step is None:
                    self._order.drop(found.location)
                else:
                    self._go_on(step)
                return
            self._failures.put(found.location, probed.failure.message)
        else:
            self._failures.clear(found.location)
        is_written = self._is_written(found, probed)
        if is_written:
            probed.digest = None
        is_growing = is_written or (probed.state is not None and is_recent(probed.state))
        if found.entry:
            self._order.put(
                found.location, partial(self._recorder.put_store, found, probed, self._growing(found))
            )
            return
        step = self._sequences.take(found, probed, is_growing=is_growing)
        if step is not None:
            self._go_on(step)
            return
        put = partial(self._recorder.put_file, found, probed, is_growing=is_growing)
        self._order.put(found.location, put)

    def _growing(self, found: Found) -> frozenset[str]:
        """Return the locations of those files of a directory that may still be written."""
        if self._written is None:
            self._written = written_files()
        device = _device(found.path)
        return frozenset(
            each.location
            for each in found.members
            if each.state is not None
            and (is_recent(each.state) or (device, each.state.inode) in self._written)
        )

    def _go_on(self, step: Step) -> None:
        """Look into more files of a run, or take it to be recorded."""
        self._waiting.extend(step.wanted)
        if step.write is not None:
            self._order.put(step.run.location, partial(self._recorder.put_run, step.run, step.write))
        elif step.is_known:
            self._order.drop(step.run.location)

    def _is_written(self, found: Found, probed: Probed) -> bool:
        """Whether a file changed while it was looked into, or somebody has it open for writing."""
        if probed.state is None or not probed.is_steady:
            return probed.state is not None
        if self._written is None:
            self._written = written_files()
        return bool(self._written) and (_device(found.path), probed.state.inode) in self._written

    # -- which files are looked into -----------------------------------------------------------------------

    def _jobs(self) -> Iterator[Job]:
        """Yield the files to look into, scanning some way ahead of them."""
        while (self._waiting or not self._is_scanned) and not self._options.is_stopped():
            self._scan_ahead()
            if self._waiting:
                yield self._job(*self._waiting.popleft())

    def _job(self, found: Found, is_outline: bool = False) -> Job:
        self._looked[str(found.probed)] = found
        return Job(found.probed, is_hashed=self._options.digest == "now", is_outline=is_outline)

    def _scan_ahead(self) -> None:
        if self._is_scanned or len(self._waiting) > _MAX_WAITING:
            return
        count = 0
        for found in islice(self._scan, _AHEAD):
            count += 1
            self._see(found)
        self._is_scanned = count < _AHEAD

    def _see(self, found: Found) -> None:
        """Decide what is done about something that lies there."""
        if found.frames or found.location in self._frames:
            self._see_run(found)
            return
        self._vanished.seen(found.location)
        known = self._known.get(found.location)
        if found.error:
            self.summary.errors.append((str(found.path), found.error))
        if found.companion_of:
            self._see_companion(found, known)
            return
        if found.entry:
            self._see_store(found, known)
            return
        if found.is_directory:
            self.summary.directories += 1
            self._failures.clear(found.location)
            was_file = known is not None and known[1] is not None
            self._order.put(found.location, partial(self._recorder.put_directory, found, was_file=was_file))
            return
        self.summary.files += 1
        if found.member_of and self._see_member(found, known):
            return
        if found.error:
            self._order.put(found.location, partial(self._recorder.put_refused, found))
        elif known is None or not self._is_unchanged(found, known) or self._members.lacks_node(found):
            self._waiting.append((found, False))
            self._order.expect(found.location)
            if known is not None:
                self._changed.append(known[0])
        else:
            self.summary.unchanged += 1

    def _see_store(self, found: Found, known: Known | None) -> None:
        """Look into a directory that is one node when any file in it is new, changed or gone."""
        self.summary.files += 1
        is_same = known is not None and known[1] is not None
        for member in found.members:
            self._vanished.seen(member.location)
            recorded = self._known.get(member.location)
            if member.error:
                self.summary.errors.append((str(member.path), member.error))
            elif recorded is None or not self._is_unchanged(member, recorded):
                is_same = False
        if self._options.prune and self._vanished.is_any_below(found.location):
            is_same = False
        if is_same:
            self.summary.unchanged += 1
            return
        self._waiting.append((found, False))
        self._order.expect(found.location)

    def _see_run(self, found: Found) -> None:
        """Find out which files of a run are to be looked into."""
        frames = found.frames or (found,)
        changed = []
        for frame in frames:
            self._vanished.seen(frame.location)
            known = self._known.get(frame.location)
            if known is None or not self._is_unchanged(frame, known):
                changed.append(frame)
        self.summary.files += len(frames)
        self.summary.unchanged += len(frames) - len(changed)
        step = self._sequences.begin(found, self._known, changed)
        if not step.is_known:
            self._order.expect(found.location)
        self._go_on(step)

    def _see_member(self, found: Found, known: Known | None) -> bool:
        """Leave a file to its master, if that names it, or may turn out to; return whether it does."""
        is_same = known is not None and self._is_unchanged(found, known)
        if not self._members.take(found, is_known=known is not None):
            return False
        if is_same:
            self.summary.unchanged += 1
        elif known is not None:
            self.summary.updated += 1
            self._renewed.add(found.member_of)
        return True

    def _see_companion(self, found: Found, known: Known | None) -> None:
        """Look again into a file whose companion changed: rows were appended beside it."""
        state = found.state
        is_same = known is not None and state is not None and known[1:3] == (state.size, state.mtime_ns)
        if not is_same and found.companion_of in self._known:
            self._renewed.add(found.companion_of)

    def _is_unchanged(self, found: Found, known: Known) -> bool:
        number, size, mtime_ns, state = known
        if self._is_widened:
            # What was refused may be allowed now, and the other way round.
            return False
        if found.state is None or (size, mtime_ns) != (found.state.size, found.state.mtime_ns):
            return False
        if state == "growing" and not is_recent(found.state):
            self._recorder.put_rested(number)
        return state not in ("missing", "error")

    def _masters(self) -> list[Job]:
        """Return the files that lead to files which changed or came back: what they hold changed too."""
        assets = self._catalog.database.assets
        found = {location: self._again(location) for location in sorted(self._renewed)}
        for number in self._changed:
            for node in assets.nodes(number):
                for asset in assets.of_node(node):
                    if asset.parameter == OWN_FILE and asset.id != number and not asset.is_directory:
                        found[asset.location] = self._again(asset.location)
        return [self._job(each) for each in found.values() if each.path.is_file()]

    def _again(self, location: str) -> Found:
        return Found(
            self._places.path(location), location, self._places.key(location), is_directory=False, state=None
        )


def _known(catalog: Catalog, found: Sequence[Found] | None) -> dict[str, Known]:
    """Return what is recorded of all files, or of those that are looked at."""
    assets = catalog.database.assets
    if found is None or any(each.frames or each.entry for each in found):
        return assets.facts()
    rows = [assets.by_location(each.location) for each in found]
    return {row.location: (row.id, row.size, row.mtime_ns, row.state) for row in rows}


def _device(path: Path) -> int:
    try:
        return path.stat().st_dev
    except OSError:
        return 0


def _write_note(name: str, note: str, tx: Transaction) -> None:
    tx.note(name, note)
