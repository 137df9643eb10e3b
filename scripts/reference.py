#!/usr/bin/env python3
"""Write the pages of docs/ that follow from the code: errors, settings, events, commands, and two lists.

usage: scripts/reference.py            write the pages
       scripts/reference.py --check    say which are out of date (tests/test_docs.py does the same)
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Written by scripts/reference.py from the code; change the docstrings there. -->\n"


def load_all() -> None:
    """Import every module of the package, so that every class is known."""
    import holdfast

    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def meaning(thing: object) -> str:
    """Return the first paragraph of a docstring as one line."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def errors_page() -> str:
    """Make the page of error classes."""
    from holdfast import errors

    own = sorted(
        (c for c in errors.classes().values() if c.__module__.startswith("holdfast.")), key=lambda c: c.code
    )
    rows = ((f"`{c.code}`", f"`{c.__name__}`", c.status, c.exit_code, builtin(c), meaning(c)) for c in own)
    return f"""{NOTE}
# Errors

Every error that Holdfast raises is a `holdfast.HoldfastError`. A class carries a stable `code`, the HTTP
status that a server answers with and the exit code of the command line; it also inherits the builtin that a
Python program would catch. A client raises the same class that the server raised. Codes are only ever added.

{table(("code", "class", "status", "exit code", "also caught as", "meaning"), rows)}"""


def builtin(cls: type) -> str:
    found = [f"`{base.__name__}`" for base in cls.__mro__ if base.__module__ == "builtins"]
    return ", ".join(name for name in found if name not in ("`object`", "`BaseException`", "`Exception`"))


def settings_page() -> str:
    """Make the page of environment variables."""
    from dataclasses import fields

    from holdfast.config import Settings

    said = parameters(Settings)
    rows = (
        (f"`HOLDFAST_{f.name.upper()}`", f"`{f.default}`" if f.default != "" else "", said.get(f.name, ""))
        for f in fields(Settings)
    )
    return f"""{NOTE}
# Settings

Read from the environment by `holdfast.config` alone; an argument or an option always wins over a setting.

{table(("variable", "default", "meaning"), rows)}"""


def parameters(cls: type) -> dict[str, str]:
    """Read the descriptions of a numpydoc `Parameters` section."""
    section = (inspect.getdoc(cls) or "").partition("Parameters\n----------\n")[2].split("\n\n")[0]
    found = re.findall(r"^(\w+) : .*\n((?:    .*\n?)+)", section + "\n", re.MULTILINE)
    return {name: " ".join(text.replace("``", "`").split()) for name, text in found}


def events_page() -> str:
    """Make the page of event classes."""
    from holdfast.events import Event

    rows = (
        (f"`{c.__name__}`", f"`{c.__module__}`", f"`{c.__base__.__name__}`", meaning(c)) for c in below(Event)
    )
    return f"""{NOTE}
# Events

Connect to one with `holdfast.events.bus.connect(EventClass, listener)`; a listener of a class hears its
subclasses. An emit costs one `if` when nobody listens.

{table(("class", "module", "is a", "meaning"), rows)}"""


def below(cls: type) -> list[type]:
    """Return the subclasses of a class within the package, by module and name."""
    found = {cls}
    waiting = [cls]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child not in found and child.__module__.startswith("holdfast."):
                found.add(child)
                waiting.append(child)
    return sorted(found - {cls}, key=lambda c: (c.__module__, c.__name__))


def commands_page() -> str:
    """Make the page of commands."""
    sections = "\n".join(section(path, command) for path, command in commands())
    return f"""{NOTE}
# Commands

`holdfast VERB …` acts on the catalog, `holdfast FACE VERB …` on another face. Listing commands take `--json`.
Exit codes are those of the [errors](errors.md).

{sections}"""


def commands() -> Iterator[tuple[str, Any]]:
    """Walk the command line: each command with the words that call it."""
    from typer.main import get_command

    from holdfast import cli

    for name, (module, _) in cli.COMMANDS.items():
        group = get_command(import_module(module).app)
        yield from walk(f"holdfast {name}", group if name in cli.FACES else group.commands[name])


def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = command.list_commands(None) if hasattr(command, "list_commands") else []
    if not children:
        yield path, command
    for name in children:
        yield from walk(f"{path} {name}", command.get_command(None, name))


def section(path: str, command: Any) -> str:
    """Describe one command with its arguments and options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    call = " ".join([path, *(placeholder(p) for p in arguments)])
    rows = (
        (f"`{', '.join([*p.opts, *p.secondary_opts])}`", (p.help or "").replace("|", "\\|")) for p in options
    )
    text = f"## {call}\n\n{(command.help or '').strip()}\n"
    return text + ("\n" + table(("option", "meaning"), rows) if options else "")


def placeholder(argument: Any) -> str:
    if argument.metavar:
        return str(argument.metavar)
    name = argument.name.upper()
    name = name if argument.nargs == 1 else name.removesuffix("…").removesuffix("...") + "…"
    return name if argument.required else f"[{name}]"


def formats_page() -> str:
    """Make the list of format descriptions."""
    return f"""{NOTE}
# Formats on disk and on the wire

Byte by byte, so that a program of another day can read them without this one.

{listed(HOME / "format")}"""


def decisions_page() -> str:
    """Make the list of decisions."""
    return f"""{NOTE}
# Decisions

Each is hard to reverse: the problem, the choice, what was rejected and why, how to check. They are
superseded, never rewritten.

{listed(HOME / "design")}"""


def listed(folder: Path) -> str:
    """List the pages of a folder by their titles, for readers and for Sphinx."""
    pages = [page for page in sorted(folder.glob("*.md")) if page.name != "index.md"]
    lines = "".join(f"- [{page.read_text().splitlines()[0].lstrip('# ')}]({page.name})\n" for page in pages)
    names = "".join(f"{page.stem}\n" for page in pages)
    return f"{lines}\n```{{toctree}}\n:hidden:\n\n{names}```\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/errors.md": errors_page,
    "reference/settings.md": settings_page,
    "reference/events.md": events_page,
    "reference/commands.md": commands_page,
    "format/index.md": formats_page,
    "design/index.md": decisions_page,
}


def stale() -> list[str]:
    """Return the names of the pages that are not as the code has them."""
    load_all()
    return [n for n, page in PAGES.items() if not (HOME / n).exists() or (HOME / n).read_text() != page()]


def main() -> int:
    found = stale()
    if "--check" in sys.argv:
        print("\n".join(f"out of date: docs/{name}; run scripts/reference.py" for name in found))
        return 1 if found else 0
    for name in found:
        (HOME / name).parent.mkdir(parents=True, exist_ok=True)
        (HOME / name).write_text(PAGES[name]())
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
