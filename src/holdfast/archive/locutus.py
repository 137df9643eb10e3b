"""Own ``locutus``: the original's command, with its arguments and answers, in the current directory.

Where the original prints a message and says that all is well, this one's exit code tells the truth.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer.main import get_command

from holdfast import console
from holdfast.archive.archive import LocalArchive
from holdfast.errors import HoldfastError

__all__ = ["app", "fetch", "info", "init", "list_resources", "main", "store"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Event = Annotated[str, typer.Argument(metavar="EVENT")]
Production = Annotated[str, typer.Argument(metavar="PRODUCTION")]
FileName = Annotated[str, typer.Argument(metavar="FILENAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _about() -> None:
    """Keep results of productions in the store that is the current directory."""


@app.command()
def init(
    name: Annotated[str, typer.Option(prompt="Name for the store: ", help="The name for the store.")],
) -> None:
    """Initialise a new Store in the current directory, which must be empty."""
    LocalArchive.make(os.getcwd(), name).close()


@app.command()
def info(as_json: AsJson = False) -> None:
    """Print what this Store holds."""
    with LocalArchive(os.getcwd()) as store:
        data = store.manifest.data
    console.fields(data, as_json=True) if as_json else console.line(repr(data))


@app.command()
def store(event: Event, production: Production, filename: FileName, as_json: AsJson = False) -> None:
    """Store a file in the Store."""
    with LocalArchive(os.getcwd()) as archive:
        added = archive.add_file(event, production, filename)
    if as_json:
        console.fields(added, as_json=True)
    else:
        console.line(repr({name: added[name] for name in ("file", "hash", "uuid")}))


@app.command()
def fetch(
    event: Event,
    production: Production,
    filename: FileName,
    hash: Annotated[
        str | None, typer.Option(help="Optional hash to check the returned file against.")
    ] = None,
) -> None:
    """Verify a file of an event's production and print its path."""
    with LocalArchive(os.getcwd()) as archive:
        console.line(archive.fetch_file(event, production, filename, hash))


@app.command("list")
def list_resources(event: Event, production: Production, as_json: AsJson = False) -> None:
    """List the files of an event's production."""
    with LocalArchive(os.getcwd()) as archive:
        resources = archive.manifest.list_resources(event, production)
    if as_json:
        console.fields(resources, as_json=True)
        return
    console.line(f"{'Resource':30} {'Hash':32} {'UUID':32}")
    console.line("-" * 96)
    for name, details in resources.items():
        console.line(f"{name:30} {details['hash']:32} {details['uuid']:32}")


def main() -> None:
    """Run the command line of this process and exit.

    Raises
    ------
    SystemExit
        Always: 0 ok, 1 damaged, 2 wrong use, 3 not found, 4 already present, 5 not a store.
    """
    try:
        get_command(app)(prog_name="locutus")
    except HoldfastError as error:
        sys.exit(console.failure(error))
