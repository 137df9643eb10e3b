"""Own the way in: batches of files, repeated when something that no manifest knows stood in their way.

What one batch does, and in which order, is `holdfast.archive.batches`'.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence

from holdfast import files
from holdfast.archive import writers
from holdfast.archive.aside import set_aside
from holdfast.archive.batches import Batch, OccupiedError, Wanted, now, present
from holdfast.archive.entries import Place
from holdfast.archive.manifest import Manifest
from holdfast.database.archive import EntryRow
from holdfast.errors import AlreadyPresentException, InvalidInputError

__all__ = ["Adder", "Wanted", "now"]

_ALONE_S = 60.0
# How long somebody who lost the race for a name looks for the winner's record before asking to be alone.
_LOOKS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class Adder:
    """Adds files to one archive.

    Parameters
    ----------
    manifest : Manifest
        The archive's.
    writer : Writer
        The mark of this process.
    who : str
        Who adds.
    """

    def __init__(self, manifest: Manifest, writer: writers.Writer, who: str) -> None:
        self._manifest = manifest
        self._root = manifest.root
        self._writer = writer
        self._who = who

    def add(
        self, wanted: Sequence[Wanted], *, md5: bool = True, progress: Callable[[int], object] | None = None
    ) -> tuple[list[EntryRow], list[str]]:
        """Add files, all or none.

        Parameters
        ----------
        wanted : sequence of Wanted
            The files.
        md5 : bool, optional
            Take the md5 too.
        progress : callable, optional
            Called with the number of bytes copied so far.

        Returns
        -------
        tuple of list of EntryRow and list of str
            What was recorded, and the head of the log after each.

        Raises
        ------
        AlreadyPresentException, ChangedError, HashError, InvalidInputError, NotFoundError, StorageError
            See `Archive.add_file`; nothing was added then.
        """
        _refuse_twins(wanted)
        self._manifest.open_for_writing()
        self._manifest.unsettled.mend()
        mark = self._writer.mark()
        self._refuse_foreign(wanted)
        while True:
            try:
                with self._writer.adding:
                    return Batch(self._manifest, self._who, mark, md5, progress).run(wanted)
            except OccupiedError:
                for each in wanted:
                    self._clear(each.place)

    def _refuse_foreign(self, wanted: Sequence[Wanted]) -> None:
        foreign = self._manifest.foreign()
        if foreign:
            places = {entry.place for entry in foreign}
            for each in wanted:
                if each.place in places:
                    raise present(each.place)

    def _clear(self, place: Place) -> None:
        """Say what stands at a place, or remove what a dead writer left there."""
        path = os.path.join(self._root, place.path)
        if not os.path.lexists(path):
            return
        for pause in _LOOKS_S:
            self._refuse_known(place)
            time.sleep(pause)
        with writers.alone(self._root, _ALONE_S):
            self._refuse_known(place)
            left = writers.left_behind(path, self._manifest.knows)
            if left is None:
                raise AlreadyPresentException(
                    f"cannot add {place.path}: something that no manifest knows is there already; choose "
                    "another name, or see 'holdfast archive check'"
                )
            files.remove(path, missing_ok=True)
            set_aside(self._root, os.path.join(self._root, place.directory, left))

    def _refuse_known(self, place: Place) -> None:
        if self._manifest.find(place) is not None:
            raise present(place)


def _refuse_twins(wanted: Sequence[Wanted]) -> None:
    if len({each.place for each in wanted}) == len(wanted):
        return
    for place, count in Counter(each.place for each in wanted).items():
        if count > 1:
            raise InvalidInputError(f"{place.path} is given {count} times; give each file a name of its own")
