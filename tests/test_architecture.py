"""The house rules that a program can check; `.importlinter` checks the floors and the rooms.

Each guard reads the syntax tree of one module and answers with its faults, and must find a planted one.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
SOURCE = TOP / "src" / "holdfast"
MODULES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES, FUNCTION_LINES, ARGUMENTS = 500, 60, 8
ASYNC_ROOMS = ("http/edge.py", "http/pool.py")
# The roof, the last door of the server, and where code of others runs: listeners, delayed writes, plug-ins.
CATCH_ALL_ROOMS = (
    "app.py",
    "cli.py",
    "events.py",
    "files/durability.py",
    "http/at_once.py",
    "http/edge.py",
    "http/pool.py",
    "formats/registry.py",
    "formats/exports/registry.py",
    "formats/probe.py",
)
HEAVY = {"asyncio", "dask", "h5py", "hdf5plugin", "msgspec", "numpy", "pandas", "pyarrow", "regex", "rich"}
HEAVY |= {"starlette", "typer", "urllib3", "uvicorn", "xarray", "yaml"}
FORBIDDEN_MODULES = {
    "anyio": "routes are synchronous; async lives in http/edge.py",
    "dill": "unsafe to load",
    "diskcache": "unfixed pickle vulnerability",
    "httpx": "urllib3 is the one HTTP client",
    "marshal": "unsafe to load",
    "pickle": "unsafe to load",
    "requests": "urllib3 is the one HTTP client",
    "shelve": "unsafe to load",
    "sqlalchemy": "database/ makes SQL",
}
ONE_ROOM_MODULES = {
    "asyncio": (*ASYNC_ROOMS, "http/serving.py"),
    "sqlite3": ("database/",),
    "starlette": ("http/", "app.py"),
    "urllib3": ("http/client/",),
    "uvicorn": ("http/",),
}
FORBIDDEN_NAMES = {
    "BaseHTTPMiddleware": "breaks the in-process transport and slows every request",
    "BackgroundTask": "needs an event loop",
    "FileResponse": "four times slower than our own reply",
    "StreamingResponse": "hops a thread for each piece",
    "full_load": "yaml.safe_load is the loader",
    "unsafe_load": "yaml.safe_load is the loader",
}
UNSAFE_WORDS = {
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.Loader",
    "yaml.UnsafeLoader",
}
BANNED_ROOMS = {"common", "core", "helper", "helpers", "manager", "misc", "util", "utils"}

Guard = Callable[[ast.Module, str], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(node: Function) -> int:
    """Count the lines of a function without those of its docstring."""
    docstring = ast.get_docstring(node, clean=False) or ""
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring.count("\n")


def is_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or (room.endswith("/") and name.startswith(room)) for room in rooms)


def functions_are_short(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and lines_of(node) > FUNCTION_LINES:
            yield f"{name}:{node.lineno} {node.name} has {lines_of(node)} lines (at most {FUNCTION_LINES})"


def functions_take_few_arguments(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and not node.name.startswith("__"):
            places = len(
                [a for a in [*node.args.posonlyargs, *node.args.args] if a.arg not in ("self", "cls")]
            )
            if places > ARGUMENTS:
                yield f"{name}:{node.lineno} {node.name} takes {places} places (at most {ARGUMENTS})"


def only_config_reads_the_environment(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb", "getenv")
            and name != "config.py"
        ):
            yield f"{name}:{node.lineno} reads the environment; add a field to config.Settings"


def async_lives_at_the_edge(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
            and name not in ASYNC_ROOMS
        ):
            yield f"{name}:{node.lineno} is asynchronous; only {' and '.join(ASYNC_ROOMS)} are"


def is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and 100 <= node.value <= 599


def says_status(node: ast.AST | None) -> bool:
    word = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return word in ("status", "status_code")


def status_codes_stay_in_their_rooms(tree: ast.Module, name: str) -> Iterator[str]:
    if is_in(name, ("errors.py", "http/")) or Path(name).name.startswith("routes") or "/routes/" in name:
        return
    for node in ast.walk(tree):
        found = (
            (
                isinstance(node, ast.keyword)
                and node.arg in ("status", "status_code")
                and is_status(node.value)
            )
            or (
                isinstance(node, ast.Assign) and any(map(says_status, node.targets)) and is_status(node.value)
            )
            or (
                isinstance(node, ast.Compare)
                and says_status(node.left)
                and any(map(is_status, node.comparators))
            )
            or (isinstance(node, ast.Attribute) and node.attr == "HTTPStatus")
        )
        if found:
            yield f"{name}:{getattr(node, 'lineno', '?')} writes an HTTP status; see errors.py"


def imported(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Give the line, the module and the name of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def nothing_forbidden_is_imported(tree: ast.Module, name: str) -> Iterator[str]:
    for line, module, thing in imported(tree):
        root = module.partition(".")[0]
        reason = FORBIDDEN_MODULES.get(root) or FORBIDDEN_NAMES.get(thing)
        if reason:
            yield f"{name}:{line} imports {thing or module}: {reason}"
        rooms = ONE_ROOM_MODULES.get(root)
        if rooms and not is_in(name, rooms):
            yield f"{name}:{line} imports {root}, which belongs to {', '.join(rooms)}"


def nothing_unsafe_is_called(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("eval", "exec")
        ):
            yield f"{name}:{node.lineno} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            word = f"{node.value.id}.{node.attr}"
            if word in UNSAFE_WORDS:
                yield f"{name}:{node.lineno} uses {word}; yaml.safe_load is the loader"


def nobody_catches_everything(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler) or is_in(name, CATCH_ALL_ROOMS):
            continue
        caught = node.type.id if isinstance(node.type, ast.Name) else "" if node.type else "everything"
        passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if caught in ("Exception", "BaseException", "everything") and not passes_on:
            yield f"{name}:{node.lineno} catches {caught} and goes on; name the errors"


def public_names_are_listed(tree: ast.Module, name: str) -> Iterator[str]:
    listed = declared_names(tree)
    defined = {
        n.name for n in tree.body if isinstance(n, Function | ast.ClassDef) and not n.name.startswith("_")
    }
    if listed is None:
        if defined:
            yield f"{name} defines {', '.join(sorted(defined))} but has no __all__"
        return
    for missing in sorted(defined - listed):
        yield f"{name}: {missing} is public but not in __all__"
    known = defined | bound_names(tree)
    if "__getattr__" not in known:
        for unknown in sorted(listed - known):
            yield f"{name}: __all__ names {unknown}, which is not there"


def declared_names(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            return {
                e.value for e in ast.walk(value) if isinstance(e, ast.Constant) and isinstance(e.value, str)
            }
    return None


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a module binds at its top, conditional ones and imports included."""
    names = {alias.asname or alias.name.partition(".")[0] for node in ast.walk(tree)
             if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}  # fmt: skip
    names |= {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return names | {node.name for node in tree.body if isinstance(node, Function | ast.ClassDef)}


def nothing_is_left_undone(tree: ast.Module, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        raised = node.exc if isinstance(node, ast.Raise) else None
        raised = raised.func if isinstance(raised, ast.Call) else raised
        if isinstance(raised, ast.Name) and raised.id == "NotImplementedError":
            yield f"{name}:{node.lineno} is a stub"


PLANTED: dict[Guard, tuple[str, str]] = {
    functions_are_short: ("a.py", "def f():\n" + "    x = 1\n" * 60),
    functions_take_few_arguments: ("a.py", "def f(a, b, c, d, e, f, g, h, i): pass"),
    only_config_reads_the_environment: ("a.py", "import os\nos.environ.get('X')"),
    async_lives_at_the_edge: ("http/reply.py", "async def f(): pass"),
    status_codes_stay_in_their_rooms: ("records/record.py", "Reply(status=404)"),
    nothing_forbidden_is_imported: ("a.py", "from starlette.responses import FileResponse"),
    nothing_unsafe_is_called: ("a.py", "import yaml\nyaml.load(text)"),
    nobody_catches_everything: ("a.py", "try:\n    f()\nexcept Exception:\n    pass"),
    public_names_are_listed: ("a.py", "__all__ = []\ndef f(): pass"),
    nothing_is_left_undone: ("a.py", "raise NotImplementedError('later')"),
}


@pytest.mark.parametrize("guard", PLANTED, ids=lambda guard: guard.__name__)
def test_guard_finds_a_planted_fault(guard):
    name, text = PLANTED[guard]
    assert list(guard(ast.parse(text), name))


@functools.cache
def _tree(path):
    return ast.parse(path.read_text())


@pytest.mark.parametrize("guard", PLANTED, ids=lambda guard: guard.__name__)
def test_no_module_breaks_the_guard(guard):
    faults = []
    for path in MODULES:
        faults += guard(_tree(path), path.relative_to(SOURCE).as_posix())
    assert not faults, "\n" + "\n".join(faults)


def test_no_module_is_longer_than_the_limit():
    lengths = {path.relative_to(SOURCE).as_posix(): path.read_text().count("\n") for path in MODULES}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_room_is_named_for_nothing():
    names = {part.removesuffix(".py") for path in MODULES for part in path.relative_to(SOURCE).parts}
    assert not names & BANNED_ROOMS


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, holdfast; print(*{name.partition('.')[0] for name in sys.modules})"
    environment = {"PYTHONPATH": str(SOURCE.parent), "PATH": "/usr/bin"}
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert "holdfast" in loaded.stdout.split()
    assert not set(loaded.stdout.split()) & HEAVY


def committed_files() -> list[Path]:
    if not (TOP / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True).stdout
    return [TOP / name.decode() for name in listed.split(b"\0") if name and (TOP / name.decode()).is_file()]


def test_no_committed_file_is_large():
    assert {
        str(path): path.stat().st_size for path in committed_files() if path.stat().st_size > 200_000
    } == {}


def test_no_committed_file_names_a_machine():
    pattern = re.compile(rb"/wor[k]/|/roo[t]/\.|/fa[r]m/")
    assert [str(path) for path in committed_files() if pattern.search(path.read_bytes())] == []
