"""Own the commands ``holdfast archive …``; those of the original are in `holdfast.archive.locutus`.

TARGET is a directory or the address of a served archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import console
from holdfast.archive.archive import LocalArchive
from holdfast.archive.contract import Archive
from holdfast.archive.entries import Entry
from holdfast.archive.exporting import export_bag, export_ocfl
from holdfast.archive.importing import import_from
from holdfast.config import read_key_file
from holdfast.errors import BulkError, HoldfastError, InvalidInputError, NotFoundError
from holdfast.events import ProgressEnd, ProgressStart, ProgressStep, bus
from holdfast.paths import is_url

__all__ = [
    "add",
    "adopt",
    "app",
    "check",
    "export",
    "fetch",
    "find",
    "head",
    "import_source",
    "info",
    "init",
    "list_entries",
    "log",
    "rebuild",
    "shown_progress",
]

app = typer.Typer(no_args_is_help=True, help="Results that nobody can change unnoticed.")

Target = Annotated[str, typer.Argument(metavar="DIR", help="The archive's directory, or a server's address.")]
Event = Annotated[str, typer.Argument(metavar="EVENT")]
Production = Annotated[str, typer.Argument(metavar="PRODUCTION")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyFile = Annotated[Path | None, typer.Option("--api-key-file", help="A file that holds the server's key.")]
Key = Annotated[str | None, typer.Option("--api-key", help="The key itself; it shows in process lists.")]

_COLUMNS = ("event", "production", "name", "size", "hash", "uuid")


def _opened(target: str, key: str | None = None, key_file: Path | None = None) -> Archive:
    if not is_url(target):
        return LocalArchive(target)
    return Archive(target, key if key_file is None else read_key_file(key_file))


def _local(target: str) -> LocalArchive:
    if is_url(target):
        raise InvalidInputError(f"{target} is a server; give the directory, on the machine where it lies")
    return LocalArchive(target)


def _row(entry: Entry) -> dict[str, Any]:
    return {**entry.to_dict(), "hash": entry.main_digest.hex}


@contextmanager
def shown_progress(operation: str, total: int = -1) -> Iterator[Callable[[int], object]]:
    """Show how many bytes of an operation are done.

    Parameters
    ----------
    operation : str
        Its name.
    total : int, optional
        All bytes, if known.

    Yields
    ------
    callable
        Takes the number of bytes done so far.
    """
    with console.following(operation, in_bytes=True):
        bus.emit(ProgressStart(operation=operation, steps=total))
        try:
            yield lambda done: bus.emit(ProgressStep(operation=operation, step=done, steps=total))
        finally:
            bus.emit(ProgressEnd(operation=operation))


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New, or empty.")],
    name: Annotated[str | None, typer.Option(help="The archive's name; the directory's by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new archive."""
    with LocalArchive.make(directory, name or directory.resolve().name) as archive:
        console.fields({"root": archive.root, "name": archive.name, "uid": archive.uid}, as_json=as_json)


@app.command()
def add(
    target: Target,
    event: Event,
    production: Production,
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The files.")],
    *,
    name: Annotated[str | None, typer.Option(help="The name in the archive, for one file.")] = None,
    tree: Annotated[bool, typer.Option("--tree", help="FILE is a directory: add all files in it.")] = False,
    md5: Annotated[bool, typer.Option(help="Take the md5, by which the original verifies.")] = True,
    api_key: Key = None,
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Store files: copied, hashed, read-only, recorded."""
    if len(sources) > 1 and (name is not None or tree):
        raise InvalidInputError("--name and --tree are for one FILE; give one")
    total = sum(path.stat().st_size for path in sources if path.is_file())
    with _opened(target, api_key, api_key_file) as archive, shown_progress("add", total) as progress:
        if tree:
            added = archive.add_tree(event, production, sources[0], md5, progress=progress)
        else:
            added = _add_each(archive, (event, production), sources, name, md5, progress)
    console.rows(added, ("file", "size", "hash", "uuid"), as_json=as_json)


def _add_each(
    archive: Archive,
    place: tuple[str, str],
    sources: list[Path],
    name: str | None,
    md5: bool,
    progress: Callable[[int], object],
) -> list[dict[str, Any]]:
    added, failures, done = [], [], 0
    for path in sources:
        try:
            added.append(archive.add_file(*place, path, name, md5, progress=_shifted(progress, done)))
            done += added[-1]["size"]
        except HoldfastError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BulkError(f"{len(failures)} of {len(sources)} files could not be added", failures)
    return added


def _shifted(progress: Callable[[int], object], done: int) -> Callable[[int], object]:
    """Return progress that counts on from what is done."""
    return lambda copied: progress(done + copied)


@app.command()
def fetch(
    target: Target,
    event: Event,
    production: Production,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    hash: Annotated[str | None, typer.Option(help="A digest it must have: hex, or algorithm:hex.")] = None,
    api_key: Key = None,
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify a file and print its path."""
    with _opened(target, api_key, api_key_file) as archive:
        path = archive.fetch_file(event, production, name, hash)
        if as_json:
            console.fields({**_row(archive.entry(event, production, name)), "path": path}, as_json=True)
        else:
            console.line(path)


@app.command("list")
def list_entries(
    target: Target,
    event: Annotated[str | None, typer.Argument(metavar="[EVENT]")] = None,
    production: Annotated[str | None, typer.Argument(metavar="[PRODUCTION]")] = None,
    api_key: Key = None,
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the entries of an archive, an event or a production."""
    with _opened(target, api_key, api_key_file) as archive:
        entries = archive.entries(event, production)
    if event is not None and not entries:
        raise NotFoundError(f"nothing is in {target} under {'/'.join(filter(None, (event, production)))}")
    console.rows(map(_row, entries), _COLUMNS, as_json=as_json)


@app.command()
def find(
    target: Target,
    where: Annotated[str, typer.Argument(metavar="WHERE", help="Such as 'size > 1000 and event == \"S1\"'.")],
    api_key: Key = None,
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Find entries by what is known of them."""
    with _opened(target, api_key, api_key_file) as archive:
        console.rows(map(_row, archive.find(where)), _COLUMNS, as_json=as_json)


@app.command()
def info(target: Target, api_key: Key = None, api_key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Say what an archive is and how much is in it."""
    with _opened(target, api_key, api_key_file) as archive:
        entries = archive.entries()
        facts = {
            "root": archive.root,
            "name": archive.name,
            "uid": archive.uid,
            "entries": len(entries),
            "size": sum(entry.size or 0 for entry in entries),
            "foreign": sum(entry.is_foreign for entry in entries),
            "head": f"sha256:{archive.log()[-1].hash}" if archive.log() else None,
        }
    console.fields(facts, as_json=as_json)


@app.command()
def check(
    target: Target,
    *,
    fast: Annotated[bool, typer.Option("--fast", help="Structure, sizes and permissions only.")] = False,
    subset: Annotated[str | None, typer.Option(help="Read a part: 10% or 3/7.")] = None,
    head: Annotated[str | None, typer.Option(help="An earlier head, kept elsewhere.")] = None,
    repair_from: Annotated[str | None, typer.Option(help="Heal from this other archive.")] = None,
    api_key: Key = None,
    api_key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify every file; the exit code is 1 if anything is wrong."""
    with _opened(target, api_key, api_key_file) as archive, shown_progress("check") as progress:
        if repair_from is not None:
            local = _local(target)
            report = local.check(fast, subset, head, repair_from=repair_from, progress=progress)
            local.close()
        else:
            report = archive.check(fast, subset, head, progress=progress)
    raise typer.Exit(console.report(report, as_json=as_json))


@app.command()
def log(target: Target, api_key: Key = None, api_key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Print the append-only log, oldest row first."""
    with _opened(target, api_key, api_key_file) as archive:
        rows = [{**row.facts, "hash": row.hash} for row in archive.log()]
    console.rows(rows, ("seq", "at", "action", "event", "production", "name", "who", "hash"), as_json=as_json)


@app.command()
def head(target: Target, api_key: Key = None, api_key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Print the digest that, kept elsewhere, proves that nothing was changed since."""
    with _opened(target, api_key, api_key_file) as archive:
        digest = archive.head()
    console.fields({"head": digest}, as_json=True) if as_json else console.line(digest)


@app.command()
def adopt(target: Target, as_json: AsJson = False) -> None:
    """Take in, verified, what the original added."""
    with _local(target) as archive:
        report = archive.adopt()
    raise typer.Exit(console.report(report, as_json=as_json))


@app.command()
def rebuild(target: Target, as_json: AsJson = False) -> None:
    """Make lost or damaged manifests anew from the files; the log begins anew."""
    raise typer.Exit(console.report(LocalArchive.rebuild(target), as_json=as_json))


@app.command()
def export(
    target: Target,
    bagit: Annotated[Path | None, typer.Option(help="Write a bag (RFC 8493) there.")] = None,
    ocfl: Annotated[Path | None, typer.Option(help="Write an OCFL 1.1 storage root there.")] = None,
    digest: Annotated[str, typer.Option(help="Of the OCFL objects: sha512 or sha256.")] = "sha512",
    as_json: AsJson = False,
) -> None:
    """Copy an archive into a form that other programs verify."""
    if (bagit is None) == (ocfl is None):
        raise InvalidInputError("give --bagit DEST or --ocfl DEST, one of them")
    with _local(target) as archive, shown_progress("export") as progress:
        if bagit is not None:
            report = export_bag(archive, bagit, progress=progress)
        else:
            report = export_ocfl(archive, str(ocfl), digest, progress=progress)
    raise typer.Exit(console.report(report, as_json=as_json))


@app.command("import")
def import_source(
    target: Target,
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A bag, an OCFL root, or an archive.")],
    as_json: AsJson = False,
) -> None:
    """Take in all that another archive, a bag or an OCFL storage root holds."""
    with _local(target) as archive, shown_progress("import") as progress:
        added = import_from(archive, source, progress=progress)
    console.rows(added, ("file", "size", "hash", "uuid"), as_json=as_json)
