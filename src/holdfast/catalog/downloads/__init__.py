"""Take data home: the files themselves, verified, and a ``catalog.db`` with all that is known of them.

>>> from holdfast.catalog.downloads import download
>>> download.__name__
'download'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from threading import Lock

from holdfast import console
from holdfast.catalog.client.assets import manifest
from holdfast.catalog.client.node import Node
from holdfast.catalog.client.session import Path
from holdfast.catalog.downloads.facts import write_facts
from holdfast.catalog.downloads.placing import Placing, place
from holdfast.catalog.downloads.selection import select
from holdfast.catalog.downloads.staging import DATA, staged
from holdfast.catalog.downloads.transfer import Arrived, Transfer, transfer
from holdfast.errors import InvalidTypeError
from holdfast.events import ProgressEnd, ProgressStart, ProgressStep, bus
from holdfast.reports import Report
from holdfast.types import PathLike

__all__ = ["download"]

Progress = Callable[[int, int], object]
_OPERATION = "download"


def download(
    source: Node,
    destination: PathLike,
    *,
    workers: int = 4,
    progress: bool | Progress = True,
) -> Report:
    """Copy data and what is known of it into a directory that can be moved, served and opened again.

    Parameters
    ----------
    source : Node
        A search result, a container, or any other node; all below it goes along.
    destination : path-like
        Gets ``catalog.db`` and ``data/``, which mirrors the paths of the catalog. It must not exist, be
        empty, or be an earlier download of the same catalog, which is then brought up to date: what is
        unchanged does not travel again, nodes that a fully downloaded container has no more go, and other
        files of yours stay.
    workers : int, default 4
        Files at a time.
    progress : bool or callable, default True
        True shows a bar where standard error is a terminal; a callable takes bytes done and bytes in all.

    Returns
    -------
    Report
        ``checked`` counts the files. Notes name files that others refer to and that were absent at the source
        already, nodes whose data is in no file there (`export` saves it), and files for which the source had
        recorded no digest: theirs was computed on arrival.

    Raises
    ------
    BulkError
        All failures together (an ExceptionGroup): damaged, missing, unreachable or unwritable files. The
        destination is untouched; the same call goes on where it stopped.
    AlreadyExistsError
        When the destination holds something else.
    InvalidInputError
        When the server gives names that are no file names or lead outside.
    BusyError
        When another download to the same destination is going on.

    Events
    ------
    ProgressStart, ProgressStep, ProgressEnd
        Of the operation ``"download"``, on ``events.bus``; steps are bytes.

    Notes
    -----
    Everything grows in a hidden directory beside the destination and appears in one step.

    References
    ----------
    Seed 4: ``download(client.search(...), "stuff/")``.
    """
    if not isinstance(source, Node):
        raise InvalidTypeError(
            f"{source!r} is no node; give a search result, a container or a node of a catalog"
        )
    session = source.session
    with staged(destination, session.name) as staging:
        selection = select(source)
        placing = place(selection.nodes, lambda path, asset: manifest(session, path, asset))
        staging.keep_only(placing.files)
        earlier = staging.earlier / DATA if staging.earlier else None
        with _counting(_total(placing), progress) as advance:
            job = Transfer(session, staging.data, staging.incoming, earlier, advance)
            arrived = transfer(job, placing.files, workers)
        staging.clear_database()
        dropped = write_facts(staging, session, selection, placing, arrived)
        staging.publish(dropped)
    return _report(placing, arrived)


def _total(placing: Placing) -> int:
    sizes = {(each.asset.id, each.relative): each.asset.size or 0 for each in placing.files.values()}
    return sum(sizes.values())


class _Counter:
    """Add up the bytes of many threads and tell who listens."""

    def __init__(self, total: int, listener: Progress | None) -> None:
        self._total = total
        self._done = 0
        self._listener = listener
        self._lock = Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            if bus.has_listeners(ProgressStep):
                bus.emit(ProgressStep(operation=_OPERATION, step=self._done, steps=self._total))
            if self._listener is not None:
                self._listener(self._done, self._total)


@contextmanager
def _counting(total: int, progress: bool | Progress) -> Iterator[Callable[[int], object]]:
    """Tell listeners of the start, the steps and the end of a download; show them where somebody watches."""
    is_shown = progress is True and console.is_watched()
    with console.following(_OPERATION, in_bytes=True) if is_shown else nullcontext():
        bus.emit(ProgressStart(operation=_OPERATION, steps=total))
        state = "exception"
        try:
            yield _Counter(total, progress if callable(progress) else None)
            state = "normal"
        finally:
            bus.emit(ProgressEnd(operation=_OPERATION, exit_state=state))


def _report(placing: Placing, arrived: Mapping[Path, Arrived]) -> Report:
    notes = [f"absent at the source already: {location}" for location in placing.absent]
    notes += [
        f"in no file at the source, only its description was taken: {path}" for path in placing.without_file
    ]
    notes += [
        f"digest computed on arrival, none was recorded: {'/'.join(target)}"
        for target, facts in arrived.items()
        if not facts.is_verified
    ]
    return Report(len(arrived), [], notes)
