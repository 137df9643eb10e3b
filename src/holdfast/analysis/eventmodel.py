"""Own the way between analysis documents and those of event-model, both ways.

>>> kept("stop", {"uid": "s", "time": 2, "run_start": "h", "exit_status": "success"})[0]
'analysis_tail'

References
----------
event-model 1.24: run_start, event_descriptor, event, event_page, run_stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import InvalidInputError
from holdfast.types import Json

__all__ = ["Bundle", "kept", "pairs"]

_STATES = ("success", "abort", "fail")
_ORIGINAL = "exit_status_original"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Hold all documents of one analysis.

    Parameters
    ----------
    header : dict
        Its header.
    tail : dict or None
        Its latest tail.
    streams : list of dict
        Its data reference headers, oldest first.
    references : dict of str to list of dict
        The data references of each, by number.
    """

    header: dict[str, Json]
    tail: dict[str, Json] | None
    streams: list[dict[str, Json]]
    references: dict[str, list[dict[str, Json]]]


def pairs(bundle: Bundle) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield an analysis as event-model's documents.

    Parameters
    ----------
    bundle : Bundle
        The analysis.

    Yields
    ------
    (str, dict)
        Name and document, in the order in which a run makes them.
    """
    start = dict(bundle.header)
    if start.get("provenance") == {}:
        del start["provenance"]
    yield "start", start
    counts = {}
    for number, stream in enumerate(bundle.streams):
        descriptor = _renamed(stream, {"analysis_header": "run_start"})
        descriptor.setdefault("name", "primary" if number == 0 else f"stream_{number}")
        yield "descriptor", descriptor
        references = bundle.references[stream["uid"]]
        counts[descriptor["name"]] = len(references)
        yield from (("event", _event(each, stream)) for each in references)
    if bundle.tail is not None:
        yield "stop", _stop(bundle.tail, counts)


def _event(reference: dict[str, Json], stream: dict[str, Json]) -> dict[str, Json]:
    event = _renamed(reference, {"data_reference_header": "descriptor"})
    # An event needs a time stamp for each value; where none was kept it is the time of the event.
    event["timestamps"] = {key: event["timestamps"].get(key, event["time"]) for key in event["data"]}
    event.setdefault("seq_num", 1)
    return event


def _stop(tail: dict[str, Json], counts: dict[str, int]) -> dict[str, Json]:
    stop = _renamed(tail, {"analysis_header": "run_start"})
    if stop["exit_status"] not in _STATES:
        stop[_ORIGINAL], stop["exit_status"] = stop["exit_status"], "fail"
    return {"num_events": counts, **stop}


def _renamed(document: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in document.items()}


def kept(name: str, doc: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return what is kept of a document of event-model.

    Parameters
    ----------
    name : str
        Its name.
    doc : mapping
        The document.

    Returns
    -------
    (str, list of dict)
        The kind, and the documents to insert.

    Raises
    ------
    InvalidInputError
        For a name that cannot be kept.
    """
    if name == "start":
        return "analysis_header", [{"provenance": {}, **doc}]
    if name == "descriptor":
        return "data_reference_header", [_renamed(doc, {"run_start": "analysis_header"})]
    if name == "event":
        return "data_reference", [_reference(doc)]
    if name == "event_page":
        return "data_reference", [_reference(event) for event in _unpacked(doc)]
    if name == "bulk_events":
        return "data_reference", [_reference(event) for events in doc.values() for event in events]
    if name == "stop":
        tail = _renamed(doc, {"run_start": "analysis_header"})
        tail["exit_status"] = tail.pop(_ORIGINAL, tail.get("exit_status"))
        return "analysis_tail", [tail]
    raise InvalidInputError(
        f"documents of the name {name!r:.40} cannot be kept: there is a place for start, descriptor, event, "
        "event_page, bulk_events and stop; link files in the data instead"
    )


def _reference(event: Mapping[str, Any]) -> dict[str, Any]:
    return _renamed(event, {"descriptor": "data_reference_header"})


def _unpacked(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for number, uid in enumerate(page["uid"]):
        event = {name: page[name][number] for name in ("time", "seq_num")}
        columns = {
            name: _row(page[name], number) for name in ("data", "timestamps", "filled") if name in page
        }
        yield {"uid": uid, "descriptor": page["descriptor"], **event, **columns}


def _row(columns: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {key: values[number] for key, values in columns.items()}
