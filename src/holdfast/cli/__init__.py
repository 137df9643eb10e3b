"""The command line: one roof over the commands of all faces.

A command's module is imported when the command is run; help is printed from the table below, so that
``holdfast --help`` loads no face.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import holdfast
from holdfast import console
from holdfast.config import settings
from holdfast.errors import HoldfastError
from holdfast.lazy import loading

__all__ = ["COMMANDS", "FACES", "main", "roof", "run"]

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("holdfast.cli.serving", "Serve a directory: data, metadata and files, over HTTP."),
    "key": ("holdfast.cli.upkeep", "Create, list and revoke the API keys of a directory."),
    "index": (
        "holdfast.catalog.commands",
        "Catalogue a directory of files, or bring its catalog up to date.",
    ),
    "ls": ("holdfast.catalog.commands", "List the entries of a container."),
    "show": ("holdfast.catalog.commands", "Show one node: structure, metadata, files and digests."),
    "search": ("holdfast.catalog.commands", "Find nodes by their metadata."),
    "download": (
        "holdfast.catalog.commands",
        "Take data home: verified files and a catalog that serves them.",
    ),
    "export": ("holdfast.catalog.commands", "Save the data of one node in another format."),
    "check": ("holdfast.catalog.commands", "Compare all files with their recorded digests."),
    "demo": ("holdfast.cli.serving", "Walk the whole circle on a small real data set, or on a directory."),
    "backup": ("holdfast.cli.upkeep", "Copy the database of a directory while it is in use."),
    "upgrade": ("holdfast.cli.upkeep", "Bring a directory to the format of this release, after a backup."),
    "records": ("holdfast.records.commands", "A directory of arrays used like a dict."),
    "store": ("holdfast.store.commands", "Keys with data and metadata."),
    "archive": ("holdfast.archive.commands", "Results that nobody can change unnoticed."),
    "analysis": ("holdfast.analysis.commands", "What was computed from what, when, by whom."),
}
"""Each word after ``holdfast``: the module of its command, and one line of help."""

FACES = ("records", "store", "archive", "analysis")


class _Deferred(TyperCommand):
    """A command whose module is imported when it is run."""

    def __init__(self, name: str) -> None:
        module, text = COMMANDS[name]
        super().__init__(name, help=text, add_help_option=False)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        with loading():
            return self._command().make_context(info_name, args, parent, **extra)

    def _command(self) -> Any:
        """Return the real command: a face's whole group, or one command of a group."""
        assert self.name is not None
        group = get_command(import_module(self._module).app)
        return group if self.name in FACES else group.commands[self.name]  # type: ignore[attr-defined]  # a group


class _Roof(TyperGroup):
    """The group of all commands, in the order of the table."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _Deferred(cmd_name) if cmd_name in COMMANDS else None


roof = typer.Typer(cls=_Roof, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.line(holdfast.__version__)
        raise typer.Exit


@roof.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Keep scientific data: find it, trust it, take it along."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: what the process was started with.

    Raises
    ------
    SystemExit
        Always, with the exit code of the error's class, 0 without one.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are printed, one clear line each.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``holdfast``.

    Returns
    -------
    int
        The exit code.
    """
    try:
        roof(list(arguments), prog_name="holdfast")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except HoldfastError as error:
        if settings().traceback:
            raise
        return console.failure(error)
    except BaseExceptionGroup as group:
        if settings().traceback or group.split(HoldfastError)[1] is not None:
            raise
        return console.failure(group)
    return 0
