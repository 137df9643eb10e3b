"""The commands of the analysis face: list, show, find, draw, trace and export analyses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import console
from holdfast.analysis.client import AnalysisClient
from holdfast.analysis.kinds import HEADER, KINDS, REFERENCE, STREAM, TAIL
from holdfast.analysis.local import LocalAnalysisClient
from holdfast.analysis.verbs import ClientVerbs
from holdfast.config import read_key_file
from holdfast.database import locate
from holdfast.errors import InvalidInputError, NotAStoreError, NotFoundError, TransportError
from holdfast.files import write_atomic
from holdfast.paths import is_url
from holdfast.types import Json

__all__ = ["app", "export", "find", "lineage", "list_headers", "open_client", "show", "tree"]

app = typer.Typer(no_args_is_help=True, help="What was computed from what, when, by whom.")

Target = Annotated[str, typer.Argument(help="URL of a server, or a directory.")]
Uid = Annotated[str, typer.Argument(help="The uid of a document.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ApiKey = Annotated[str, typer.Option(help="API key; shows in process lists, prefer --api-key-file.")]
ApiKeyFile = Annotated[str, typer.Option(help="File that holds the API key.")]
Limit = Annotated[int, typer.Option(help="The most documents.")]


def open_client(target: str, api_key: str = "", api_key_file: str = "") -> ClientVerbs:
    """Open what a command is about.

    Parameters
    ----------
    target : str
        The URL of a server, of its analysis face or of one that serves all faces; or a directory.
    api_key, api_key_file : str
        The key, or a file that holds it; else ``HOLDFAST_API_KEY``.

    Returns
    -------
    ClientVerbs
        A client; nothing is made where there are no documents.

    Raises
    ------
    NotAStoreError
        For a directory without a database.
    TransportError
        When no server answers.
    """
    if not is_url(target):
        if not locate(target).exists:
            raise NotAStoreError(
                f"{target} has no analysis documents; insert some with LocalAnalysisClient first"
            )
        return LocalAnalysisClient(target)
    key = (read_key_file(api_key_file) if api_key_file else api_key) or None
    client = AnalysisClient(url=target, api_key=key)
    try:
        is_there = client.connection_status()
    except NotFoundError:
        client.close()
        client = AnalysisClient(url=f"{target.rstrip('/')}/analysis", api_key=key)
        is_there = client.connection_status()
    if not is_there:
        raise TransportError(f"no server answers at {target}; start it with 'holdfast serve'")
    return client


@app.command("ls")
def list_headers(
    target: Target,
    limit: Limit = 50,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """List the analyses, newest first."""
    with open_client(target, api_key, api_key_file) as client:
        headers = client.find(HEADER.name, {}, limit=limit)
        tails = {
            tail[HEADER.name]: tail
            for tail in client.find(
                TAIL.name, {HEADER.name: {"$in": [each["uid"] for each in headers]}}, sort=[("time", 1)]
            )
        }
    items = [
        {
            "uid": header["uid"],
            "time": _when(header["time"]),
            "status": tails.get(header["uid"], {}).get("exit_status", "unfinished"),
            "owner": header.get("owner", ""),
            "software": _software(header),
        }
        for header in headers
    ]
    console.rows(items, ("uid", "time", "status", "owner", "software"), as_json=as_json)


@app.command()
def show(
    target: Target, uid: Uid, as_json: AsJson = False, api_key: ApiKey = "", api_key_file: ApiKeyFile = ""
) -> None:
    """Show one document of any kind."""
    with open_client(target, api_key, api_key_file) as client:
        kind, document = _document(client, uid)
    console.fields({"kind": kind, **document}, as_json=as_json)


@app.command()
def find(
    target: Target,
    query: Annotated[str, typer.Argument(help="A filter in MongoDB's notation, JSON.")] = "{}",
    *,
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")] = HEADER.name,
    sort: Annotated[str, typer.Option(help="A field; with a minus before it, descending.")] = "-time",
    limit: Limit = 50,
    skip: Annotated[int, typer.Option(help="How many to leave out first.")] = 0,
    count: Annotated[bool, typer.Option("--count", help="Only print how many there are.")] = False,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Find documents by their fields."""
    wanted = _filter(query)
    with open_client(target, api_key, api_key_file) as client:
        if count:
            console.line(str(client.count(kind, wanted)))
            return
        order = [(sort.removeprefix("-"), -1 if sort.startswith("-") else 1)]
        found = client.find(kind, wanted, sort=order, limit=limit, skip=skip)
    rows = (
        found if as_json else [{**each, "time": _when(each["time"]), "fields": _rest(each)} for each in found]
    )
    console.rows(rows, ("uid", "time", "fields"), as_json=as_json)


@app.command()
def tree(
    target: Target, uid: Uid, as_json: AsJson = False, api_key: ApiKey = "", api_key_file: ApiKeyFile = ""
) -> None:
    """Draw an analysis: its header with streams, references and tail."""
    with open_client(target, api_key, api_key_file) as client:
        headers = client.find(HEADER.name, {"uid": uid}, limit=1)
        if not headers:
            raise NotFoundError(
                f"no analysis_header has the uid {uid!r}; list them with 'holdfast analysis ls'"
            )
        found = _whole(client, headers[0])
    if as_json:
        console.fields(found, as_json=True)
    else:
        for line in _drawn(found):
            console.line(line)


@app.command()
def lineage(
    target: Target,
    uid: Annotated[str, typer.Argument(help="The uid of a document, or the uri of an object.")],
    *,
    downstream: Annotated[
        bool, typer.Option("--downstream", help="What came of it, not what it came from.")
    ] = False,
    as_json: AsJson = False,
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Trace what a document came from, or which analyses used an object."""
    with open_client(target, api_key, api_key_file) as client:
        graph = client.lineage(uid, "downstream" if downstream else "upstream")
    if as_json:
        console.fields(graph.to_dict(), as_json=True)
    else:
        console.line(graph.tree())


@app.command()
def export(
    target: Target,
    uid: Uid,
    *,
    prov: Annotated[bool, typer.Option("--prov", help="W3C PROV-JSON.")] = False,
    event_model: Annotated[
        bool, typer.Option("--event-model", help="Lines of event-model documents.")
    ] = False,
    ro_crate: Annotated[str, typer.Option(help="Directory to make as an RO-Crate.")] = "",
    output: Annotated[str, typer.Option("-o", "--output", help="File to write; else standard output.")] = "",
    api_key: ApiKey = "",
    api_key_file: ApiKeyFile = "",
) -> None:
    """Export an analysis in a form that other programs know."""
    if prov + event_model + bool(ro_crate) != 1:
        raise InvalidInputError("choose one of --prov, --event-model and --ro-crate DIR")
    with open_client(target, api_key, api_key_file) as client:
        if ro_crate:
            client.export_ro_crate(uid, ro_crate)
            console.note(f"wrote {ro_crate}")
        elif prov:
            _write([json.dumps(client.export_prov(uid), ensure_ascii=False, indent=2)], output)
        else:
            _write(client.export_event_model(uid), output)


def _write(lines: Iterable[str], output: str) -> None:
    if output:
        write_atomic(Path(output), "".join(f"{line}\n" for line in lines).encode())
        return
    for line in lines:
        console.line(line)


def _filter(text: str) -> dict[str, Json]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f'the filter is not JSON: {error}; write it as \'{{"owner": "me"}}\''
        ) from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"a filter is an object of fields, not {found!r:.80}")
    return found


def _document(client: ClientVerbs, uid: str) -> tuple[str, dict[str, Json]]:
    for kind in KINDS:
        found = client.find(kind, {"uid": uid}, limit=1)
        if found:
            return kind, found[0]
    raise NotFoundError(f"no document has the uid {uid!r}; list analyses with 'holdfast analysis ls'")


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _software(header: dict[str, Any]) -> str:
    software = header.get("provenance", {}).get("software", "")
    if isinstance(software, dict):
        return " ".join(str(software[name]) for name in ("name", "version") if name in software)
    return str(software)


def _rest(document: dict[str, Json]) -> str:
    rest = {name: value for name, value in document.items() if name not in ("uid", "time")}
    return json.dumps(rest, ensure_ascii=False)


def _whole(client: ClientVerbs, header: dict[str, Json]) -> dict[str, Json]:
    uid = header["uid"]
    streams = client.find(STREAM.name, {HEADER.name: uid}, sort=[("time", 1)])
    tails = client.find(TAIL.name, {HEADER.name: uid}, sort=[("time", 1)])
    counts = [client.count(REFERENCE.name, {STREAM.name: stream["uid"]}) for stream in streams]
    return {
        "header": header,
        "streams": [{**stream, "references": count} for stream, count in zip(streams, counts, strict=True)],
        "tails": tails,
    }


def _drawn(found: dict[str, Json]) -> Iterator[str]:
    header = found["header"]
    about = "  ".join(
        part for part in (_when(header["time"]), header.get("owner", ""), _software(header)) if part
    )
    yield f"{header['uid']}  {about}"
    below = [*map(_stream_line, found["streams"]), *map(_tail_line, found["tails"])] or ["(nothing yet)"]
    for number, text in enumerate(below):
        yield f"{'└─' if number == len(below) - 1 else '├─'} {text}"


def _stream_line(stream: dict[str, Json]) -> str:
    name = stream.get("name", stream["uid"])
    keys = ", ".join(stream["data_keys"])
    return f"stream {name}  {stream['references']} references  {keys}"


def _tail_line(tail: dict[str, Json]) -> str:
    reason = f"  {tail['reason']}" if "reason" in tail else ""
    return f"tail {tail['exit_status']}  {_when(tail['time'])}{reason}"
