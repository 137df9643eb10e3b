"""Sequences: the files of a numbered run that are of one shape and type become one array node.

Owns which files of a run are looked into, and which nodes the run becomes; `runs` says which files are one
run, the round looks into them.

Notes
-----
A file that is recorded and did not change is not looked into again: its shape stands in the database. Files
of another shape than the most make a sequence of their own, named after its first file; a single one, and one
that cannot be read, stays a file of its own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.catalog.described import file_node, own_asset
from holdfast.catalog.runs import number_of
from holdfast.catalog.scanning import Found
from holdfast.catalog.tree import Catalog
from holdfast.database import FRAMES, AssetState, NewAsset, NewNode, NewSource, Place, Transaction
from holdfast.formats.probe import Probed
from holdfast.formats.registry import SEQUENCE_TYPE
from holdfast.formats.structures import ArrayStructure, data_type_from_json
from holdfast.types import Json

__all__ = ["Sequences", "Step", "Write"]

Known = tuple[int, int | None, int | None, AssetState]
Write = Callable[[Transaction, int], list[str]]
"""Writes the nodes of a run into a container; returns ``added`` or ``updated`` for each of its new files."""

_MAX_GAPS = 100


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done next about a run.

    Parameters
    ----------
    run : Found
        The run.
    wanted : sequence of (Found, bool)
        Files to look into, and whether shape and type are enough.
    write : callable, optional
        Writes the run; None when it is as recorded, or not known yet.
    is_known : bool
        Whether nothing is to be found out any more.
    """

    run: Found
    wanted: Sequence[tuple[Found, bool]] = ()
    write: Write | None = None
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was found in a file."""

    probed: Probed
    is_growing: bool


@dataclass(slots=True)
class _Run:
    """A run with what is known of its files, by location."""

    found: Found
    frames: dict[str, Found]
    known: Mapping[str, int]
    places: Mapping[str, Place]
    waiting: set[str] = field(default_factory=set)
    looked: dict[str, _Looked] = field(default_factory=dict)
    described: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the frames of one sequence have in common."""

    media_type: str
    parameters: str
    data_type: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, media_type: str, parameters: Any, structure: Mapping[str, Any]) -> _Kind:
        text = json.dumps(structure["data_type"], sort_keys=True)
        return cls(media_type, json.dumps(parameters, sort_keys=True), text, tuple(structure["shape"]))


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A sequence that a run becomes."""

    key: str
    kind: _Kind
    frames: list[Found]


class Sequences:
    """The runs of one round.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.

    Attributes
    ----------
    looked : int
        How many files were looked into of runs that are not known yet.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.looked = 0
        self._catalog = catalog
        self._runs: dict[str, _Run] = {}

    def begin(self, found: Found, known: Mapping[str, Known], changed: Sequence[Found]) -> Step:
        """Take a run, or a single file that was a frame.

        Parameters
        ----------
        found : Found
            The run.
        known : mapping of str to tuple
            What is recorded, by location; the first value is the id of the asset.
        changed : sequence of Found
            Its files that are new or not as recorded.
        """
        frames = {frame.location: frame for frame in found.frames or (found,)}
        ids = {location: known[location][0] for location in frames if location in known}
        places = self._catalog.database.frames.places(ids.values())
        at = {location: places[number] for location, number in ids.items() if number in places}
        run = _Run(found, frames, ids, at)
        wanted = {frame.location: frame for frame in changed}
        # A file without a node has no shape on record.
        wanted |= {location: frame for location, frame in frames.items() if location not in at}
        if not wanted:
            return self._settle(run)
        first = next(iter(frames))
        return self._ask(run, [(frame, location != first) for location, frame in wanted.items()])

    def take(self, frame: Found, probed: Probed | None, *, is_growing: bool = False) -> Step | None:
        """Take what was found in a file; None for a file that is no part of a run.

        Parameters
        ----------
        frame : Found
            The file.
        probed : Probed, optional
            What is in it; None when it vanished.
        is_growing : bool
            Whether it is being written.
        """
        run = self._runs.get(frame.location)
        if run is None:
            return None
        run.waiting.discard(frame.location)
        if probed is None:
            run.frames.pop(frame.location, None)
        elif frame.location not in run.looked:
            self.looked += 1
            run.looked[frame.location] = _Looked(probed, is_growing)
        else:
            # Looked into once more for its metadata: what was digested before stays.
            run.looked[frame.location].probed.description = probed.description
        return Step(run.found) if run.waiting else self._settle(run)

    def is_waited_for(self, location: str) -> bool:
        """Whether a file belongs to a run that is not known yet."""
        return location in self._runs

    def _ask(self, run: _Run, wanted: Sequence[tuple[Found, bool]]) -> Step:
        for frame, is_outline in wanted:
            run.waiting.add(frame.location)
            self._runs[frame.location] = run
            if not is_outline:
                run.described.add(frame.location)
        return Step(run.found, wanted)

    def _settle(self, run: _Run) -> Step:
        """Say what a run becomes, once the kind of every file is known."""
        sequences, single = _split(run)
        wanted = [frame for frame in single if _needs_node(run, frame)]
        wanted += [each.frames[0] for each in sequences if _needs_description(run, each)]
        missing = [(frame, False) for frame in wanted if frame.location not in run.described]
        if missing:
            return self._ask(run, missing)
        self.looked -= len(run.looked)
        for location in run.frames:
            self._runs.pop(location, None)
        writing = _Writing(self._catalog, run, sequences, single)
        return Step(run.found, write=writing.write if writing.is_needed else None, is_known=True)


def _split(run: _Run) -> tuple[list[_Sequence], list[Found]]:
    """Return the sequences of a run, the longest first, and its files that are in none."""
    kinds: dict[_Kind, list[Found]] = {}
    single: list[Found] = []
    recorded: dict[int, _Kind | None] = {}
    for location, frame in run.frames.items():
        kind = _kind_of(run, location, recorded)
        if kind is None:
            single.append(frame)
        else:
            kinds.setdefault(kind, []).append(frame)
    single += [frames[0] for frames in kinds.values() if len(frames) == 1]
    longest = sorted((item for item in kinds.items() if len(item[1]) > 1), key=lambda item: -len(item[1]))
    names = [run.found.key[-1], *(frames[0].key[-1] for _, frames in longest[1:])]
    return [
        _Sequence(name, kind, frames) for name, (kind, frames) in zip(names, longest, strict=False)
    ], single


def _kind_of(run: _Run, location: str, recorded: dict[int, _Kind | None]) -> _Kind | None:
    """Return what a file is as a frame; None if it cannot be one."""
    looked = run.looked.get(location)
    if looked is None:
        place = run.places[location]
        if place.node not in recorded:
            recorded[place.node] = _recorded_kind(place)
        return recorded[place.node]
    description = looked.probed.description
    if description is None or description.root.structure is None or description.root.family != "array":
        return None
    root = description.root
    if root.children or root.linked:
        return None
    return _Kind.of(description.media_type, root.parameters, root.structure or {})


def _recorded_kind(place: Place) -> _Kind | None:
    if place.family != "array" or place.structure is None:
        return None
    structure = json.loads(place.structure)
    if place.num >= 0:
        structure["shape"] = structure["shape"][1:]
    media_type = place.mimetype.removeprefix(SEQUENCE_TYPE)
    return _Kind.of(media_type, json.loads(place.parameters), structure)


def _needs_node(run: _Run, frame: Found) -> bool:
    """Whether a single file is new, changed, or has no node of its own yet."""
    place = run.places.get(frame.location)
    return frame.location in run.looked or place is None or place.num >= 0


def _needs_description(run: _Run, sequence: _Sequence) -> bool:
    """Whether the metadata of a sequence is to be had from its first file anew."""
    first = sequence.frames[0].location
    place = run.places.get(first)
    return first in run.looked or place is None or (place.key, place.num) != (sequence.key, 0)


class _Writing:
    """Write what a run becomes.

    Parameters
    ----------
    catalog : Catalog
        Says how locations are spelled.
    run : _Run
        The run.
    sequences : list of _Sequence
        Its sequences.
    single : list of Found
        Its other files.
    """

    def __init__(self, catalog: Catalog, run: _Run, sequences: list[_Sequence], single: list[Found]) -> None:
        self._places, self._run = catalog.places, run
        self._sequences = [each for each in sequences if self._is_changed(each)]
        self._single = [frame for frame in single if _needs_node(run, frame)]
        kept = {each.key for each in sequences} | {frame.key[-1] for frame in single}
        self._obsolete = {(place.node, place.key) for place in run.places.values() if place.key not in kept}

    @property
    def is_needed(self) -> bool:
        """Whether anything differs from what is recorded."""
        return bool(self._sequences or self._single or self._obsolete)

    def write(self, tx: Transaction, parent: int) -> list[str]:
        """Write the nodes; those that the run was before go."""
        run = self._run
        tx.nodes.discard(self._obsolete)
        outcomes: list[str] = []
        for sequence in self._sequences:
            node = self._node(sequence)
            is_described = sequence.frames[0].location in run.looked
            tx.frames.sync(parent, node, self._assets(sequence.frames), is_described=is_described)
            looked = [frame.location for frame in sequence.frames if frame.location in run.looked]
            outcomes += ["updated" if location in run.known else "added" for location in looked]
        single = [self._file(frame) for frame in self._single]
        return outcomes + [each.what for each in tx.nodes.sync(parent, single)]

    def _is_changed(self, sequence: _Sequence) -> bool:
        run = self._run
        if any(frame.location in run.looked for frame in sequence.frames):
            return True
        at = [run.places[frame.location] for frame in sequence.frames]
        is_same = all(place.key == sequence.key and place.num == n for n, place in enumerate(at))
        return not is_same or json.loads(at[0].structure or "{}")["shape"][0] != len(at)

    def _file(self, frame: Found) -> NewNode:
        looked = self._run.looked[frame.location]
        return file_node(frame, looked.probed, self._places, is_growing=looked.is_growing)

    def _assets(self, frames: Iterable[Found]) -> list[int | NewAsset]:
        run = self._run
        return [
            self._asset(frame) if frame.location in run.looked else run.known[frame.location]
            for frame in frames
        ]

    def _asset(self, frame: Found) -> NewAsset:
        looked = self._run.looked[frame.location]
        return replace(own_asset(frame, looked.probed, is_growing=looked.is_growing), parameter=FRAMES)

    def _node(self, sequence: _Sequence) -> NewNode:
        kind = sequence.kind
        dtype = data_type_from_json(json.loads(kind.data_type)).to_numpy()
        shape = (len(sequence.frames), *kind.shape)
        structure = ArrayStructure.build(dtype, shape, stored=(1, *kind.shape)).to_json()
        source = NewSource(
            "array", SEQUENCE_TYPE + kind.media_type, structure, parameters=json.loads(kind.parameters)
        )
        metadata = {**self._metadata(sequence.frames[0]), "sequence": _facts(sequence.frames)}
        return NewNode(sequence.key, "array", metadata, (), structure, [source])

    def _metadata(self, first: Found) -> dict[str, Json]:
        looked = self._run.looked.get(first.location)
        if looked is None or looked.probed.description is None:
            return {}
        return looked.probed.description.root.metadata


def _facts(frames: Sequence[Found]) -> dict[str, Json]:
    """Return what the numbers of the files say: from where to where, and which are not there."""
    numbers = [number_of(frame.key[-1]) for frame in frames]
    gaps: list[Json] = [
        [before + 1, after - 1] for before, after in itertools.pairwise(numbers) if after > before + 1
    ]
    facts: dict[str, Json] = {"frames": len(frames), "first": numbers[0], "last": numbers[-1]}
    if gaps:
        facts["missing"] = gaps[:_MAX_GAPS]
        facts["gaps"] = len(gaps)
    return facts
