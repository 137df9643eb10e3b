"""Keeping a served catalog up to date: listing, digesting and watching behind the answers.

Owns the thread that does it; what is done stands in `indexing` and `digesting`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence

from holdfast.catalog.digesting import digest_pending
from holdfast.catalog.indexing import index_catalog
from holdfast.catalog.resting import GROWING_S
from holdfast.catalog.rounds import DigestWhen, Options, Summary, grouping
from holdfast.catalog.scanning import Found, look, look_around
from holdfast.catalog.tree import Catalog
from holdfast.database import AssetRow
from holdfast.errors import HoldfastError
from holdfast.events import EventBus, bus
from holdfast.formats.workers import ProbePool

__all__ = ["Keeper"]

_LOG = logging.getLogger(__name__)
_POLITENESS = 10


class Keeper:
    """A thread that keeps a catalog as its directory is.

    Parameters
    ----------
    catalog : Catalog
        Open for writing; closed by its owner after `stop`.
    digest : "later" or "never"
        Whether files are digested behind their listing.
    watch_s : float, optional
        List the directory again after so many seconds; only once when None.
    head_start_s : float
        Begin so many seconds later, so that a server answers first.
    sequences : bool, optional
        Whether numbered images become one array; as the last time when None.
    events : EventBus
        Who is told about progress.

    Attributes
    ----------
    summary : Summary, optional
        What the last listing did.
    failure : HoldfastError, optional
        Why it ended early; the next one may succeed.

    Notes
    -----
    The processes that look into files run with low priority. Files that grow are looked at every two seconds
    until they rest.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        digest: DigestWhen = "later",
        watch_s: float | None = None,
        head_start_s: float = 0.0,
        sequences: bool | None = None,
        events: EventBus = bus,
    ) -> None:
        self.summary: Summary | None = None
        self.failure: HoldfastError | None = None
        self._catalog = catalog
        self._digest = digest
        self._watch_s = watch_s
        self._head_start_s = head_start_s
        self._bus = events
        self._sequences = sequences
        self._pool = ProbePool(niceness=_POLITENESS)
        self._stopped = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holdfast-keeper", daemon=True)

    @property
    def is_busy(self) -> bool:
        """Whether something is being listed or digested."""
        return self._thread.is_alive() and not self._idle.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is listed and digested once; return whether it is."""
        return self._idle.wait(timeout_s)

    def stop(self) -> None:
        """End after the file in work; a second time does nothing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.close()

    def _run(self) -> None:
        try:
            if self._stopped.wait(self._head_start_s):
                return
            due = self._list_all()
            while not self._stopped.is_set():
                growing = self._growing()
                self._idle.set()
                pause = self._pause(due, is_growing=bool(growing))
                if pause is None or self._stopped.wait(pause):
                    return
                if self._watch_s is not None and time.monotonic() >= due:
                    due = self._list_all()
                elif growing:
                    self._index(growing)
        finally:
            self._idle.set()

    def _pause(self, due: float, *, is_growing: bool) -> float | None:
        """Return how long nothing is to be done; None when nothing will be."""
        pauses = [GROWING_S] if is_growing else []
        if self._watch_s is not None:
            pauses.append(max(due - time.monotonic(), 0.0))
        return min(pauses, default=None)

    def _list_all(self) -> float:
        """List the whole directory; return when to do it again."""
        self._index(None)
        return time.monotonic() + (self._watch_s or 0.0)

    def _index(self, found: Sequence[Found] | None) -> None:
        self._idle.clear()
        options = Options(
            digest=self._digest,
            bus=self._bus,
            pool=self._pool,
            is_stopped=self._stopped.is_set,
            found=found,
            sequences=self._sequences,
        )
        try:
            summary = index_catalog(self._catalog, options)
            if self._digest != "never":
                summary.digested += digest_pending(self._catalog, self._bus, self._stopped.is_set)
            self.summary, self.failure = summary, None
        except HoldfastError as error:
            _LOG.warning("keeping %s up to date failed: %s", self._catalog.places.storage, error)
            self.failure = error

    def _growing(self) -> list[Found]:
        """Return the files that are being written; a frame with the run that it belongs to."""
        catalog = self._catalog
        assets: list[AssetRow] = [
            asset for asset in catalog.database.assets.each("growing") if not asset.is_directory
        ]
        at = catalog.database.frames.places(asset.id for asset in assets)
        frames = {asset.location for asset in assets if asset.id in at and at[asset.id].num >= 0}
        places = catalog.places
        stores = [each.location for each in catalog.database.assets.each("growing") if each.is_directory]
        single = [
            asset.location
            for asset in assets
            if asset.location not in frames
            and not any(asset.location.startswith(f"{each}/") for each in stores)
        ]
        found = [look(places, location) for location in (*single, *stores)]
        return [*(each for each in found if each is not None), *self._runs_with(frames)]

    def _runs_with(self, frames: set[str]) -> Iterator[Found]:
        group = grouping(self._catalog.database, self._sequences)
        for location in {location.rpartition("/")[0]: location for location in frames}.values():
            for found in look_around(self._catalog.places, location, group):
                if not frames.isdisjoint(each.location for each in found.frames or (found,)):
                    yield found
