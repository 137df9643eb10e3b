"""Own commands: an operation that makes a record once, and records how.

It does not schedule: the first of competing processes runs a command, the others wait. A command's lock
dies with its process, so a killed one is recognised as stopped.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, ClassVar

from holdfast.errors import BusyError, InvalidInputError, InvalidTypeError, NotFoundError
from holdfast.files import Lock, build_directory, make_directories, require_writer
from holdfast.formats.sealed import locked_directory
from holdfast.paths import parse_key
from holdfast.records.handle import Record
from holdfast.records.metadata import (
    lock_path,
    read_spec,
    read_status,
    write_dependencies,
    write_spec,
    write_status,
)
from holdfast.records.places import delete_tree, locked_tree
from holdfast.records.record import LocalRecord

__all__ = ["Command", "create", "require"]

# Whoever asks for the status holds the lock for a moment.
_PATIENCE_S = 0.1
_PLAIN = (bool, int, float, str, type(None))


class Command:
    """Make a record at ``output_path`` from a configuration.

    Subclasses define ``output_path``, a format string of the configuration or a property, and `run`.

    Parameters
    ----------
    **conf : object
        The configuration: JSON values. ``type`` is kept for the spec.

    Attributes
    ----------
    conf : SimpleNamespace
        The configuration; ``self.conf.name``.
    output : Record
        What `run` writes to.
    is_published_when_done : bool
        Set it on a subclass: `run` writes to a hidden directory, which replaces the output when it ends well.

    Raises
    ------
    InvalidInputError
        For values that are no JSON, for a field that ``output_path`` needs and the configuration lacks, and
        for values that would lead out of the path that the class names.

    Examples
    --------
    >>> import tempfile
    >>> class Double(Command):
    ...     output_path = tempfile.mkdtemp() + "/double-{n}"
    ...     def run(self):
    ...         self.output["result"] = 2 * self.conf.n
    >>> require(Double(n=4))["result"]
    np.int64(8)
    """

    output_path: Any = ""
    is_published_when_done: ClassVar[bool] = False

    def __init__(self, **conf: Any) -> None:
        if "type" in conf:
            raise InvalidInputError("'type' is kept for the kind of command; name the field otherwise")
        self._conf = {name: _checked(value, name) for name, value in conf.items()}
        self.conf = _namespace(self._conf)
        if isinstance(type(self).output_path, str):
            self.output_path = _formatted(type(self).output_path, self._conf)
        self.output: Record = LocalRecord(self.output_path)

    def run(self) -> None:
        """Write the output to ``self.output``; subclasses override this."""
        raise InvalidInputError(f"{type(self).__name__} does not say how to run; define run(self)")

    @property
    def spec(self) -> dict[str, Any]:
        """The type and configuration, as they stand in ``_cmd-spec.yaml``."""
        cls = type(self)
        return {"type": f"{cls.__module__}|{cls.__qualname__}", **self._conf}

    @property
    def status(self) -> str:
        """``unbegun``, ``running``, ``done`` or ``stopped``; of another command's output ``unbegun``."""
        directory = _directory(self)
        status = read_status(directory)
        is_own = status in {"unbegun", "running"} or read_spec(directory) == self.spec
        return status if is_own else "unbegun"

    def __call__(self) -> None:
        """Run now: clear the output, record the spec, run, record the end.

        Raises
        ------
        BusyError
            When another process or thread runs it.
        Exception
            What `run` raises; the status is ``stopped`` then.
        """
        with _locked(self, wait=False):
            self._execute()

    def _execute(self) -> None:
        directory = _directory(self)
        if self.is_published_when_done:
            _publish_when_done(self, directory)
            return
        _clear(directory)
        _run_in(self, directory)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._conf.items())
        return f"{type(self).__name__}({fields})"


class _Running(threading.local):
    """Hold what the commands that run in this thread have required, the innermost last."""

    def __init__(self) -> None:
        self.required: list[list[dict[str, Any]]] = []


_running = _Running()


def _run_in(command: Command, directory: str) -> None:
    """Run a command whose output goes to a directory, and record its end."""
    write_spec(directory, command.spec)
    write_status(directory, "running")
    command.output = LocalRecord(directory)
    _running.required.append([])
    try:
        command.run()
    except BaseException:
        write_status(directory, "stopped")
        raise
    finally:
        write_dependencies(directory, _running.required.pop())
        command.output.close()
    write_status(directory, "done")


def _publish_when_done(command: Command, directory: str) -> None:
    with contextlib.ExitStack() as locks, build_directory(directory, replace=True) as staging:
        inner = os.path.join(staging, "output")
        os.mkdir(inner)
        _run_in(command, inner)
        for name in os.listdir(inner):
            os.rename(os.path.join(inner, name), os.path.join(staging, name))
        os.rmdir(inner)
        locks.enter_context(locked_directory(os.path.dirname(directory)))
        locks.enter_context(locked_tree(directory))
    command.output = LocalRecord(directory)


def _clear(directory: str) -> None:
    with contextlib.suppress(NotFoundError):
        delete_tree(directory)
    make_directories(directory)


def _directory(command: Command) -> str:
    path: str = os.fspath(command.output_path)
    return os.path.abspath(path)


@contextlib.contextmanager
def _locked(command: Command, *, wait: bool) -> Iterator[None]:
    directory = _directory(command)
    make_directories(os.path.dirname(directory))
    require_writer(os.path.dirname(directory), "run a command")
    held = Lock(lock_path(directory))
    while True:
        try:
            held.acquire(timeout_s=None if wait else _PATIENCE_S)
        except BusyError as error:
            raise BusyError(
                f"{command!r} is being run by another process; wait for it, or try again"
            ) from error
        if held.is_current():
            break
        held.release()
    try:
        yield
    finally:
        # Removed while it is held: whoever waits for it sees that and takes the new one.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(held.path)
        held.release()


def require(command: Command | Mapping[str, Any] | str, wait: bool = True) -> Record:
    """Make sure that a command was run, once among all processes, and return its output.

    Parameters
    ----------
    command : Command, mapping or str
        The command, its spec, or the name ``module|Class`` of one without configuration.
    wait : bool, default True
        Wait while another process runs it.

    Returns
    -------
    Record
        The output.

    Raises
    ------
    BusyError
        When another process runs it and ``wait`` is false.
    Exception
        What its `Command.run` raises.
    """
    if not isinstance(command, Command):
        command = create(command)
    if _running.required:
        _running.required[-1].append(command.spec)
    if command.status != "done":
        with _locked(command, wait=wait):
            if command.status != "done":
                command._execute()
    return LocalRecord(_directory(command))


def create(spec: Mapping[str, Any] | str) -> Command:
    """Return the command that a spec names.

    Parameters
    ----------
    spec : mapping or str
        With ``type``, ``module|Class``, and the configuration; or that name alone.

    Returns
    -------
    Command
        The command.

    Raises
    ------
    InvalidInputError
        When the name is not that of a command.
    """
    values = {"type": spec} if isinstance(spec, str) else dict(spec)
    name = values.get("type")
    module, _, qualname = str(name).replace("/", "|").partition("|")
    try:
        found: Any = import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInputError(f"no command {name!r}; name it 'module|Class'") from error
    if not (isinstance(found, type) and issubclass(found, Command)):
        raise InvalidInputError(f"{name!r} is no command; name a subclass of Command")
    made: Command = found(**{key: value for key, value in values.items() if key != "type"})
    return made


def _checked(value: Any, name: str) -> Any:
    """Return a JSON value as it comes back from YAML."""
    if isinstance(value, SimpleNamespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {_text(key, name): _checked(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(inner, name) for inner in value]
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    raise InvalidTypeError(
        f"configuration {name!r} is a {type(value).__name__}; give numbers, text, lists or dicts of them"
    )


def _text(key: Any, name: str) -> str:
    if not isinstance(key, str):
        raise InvalidTypeError(f"configuration {name!r} has a key {key!r} that is no text; rename it")
    return key


def _namespace(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _namespace(inner) for key, inner in value.items()})
    return [_namespace(inner) for inner in value] if isinstance(value, list) else value


def _formatted(template: str, conf: dict[str, Any]) -> str:
    for name, value in conf.items():
        if isinstance(value, str) and "{" + name in template:
            parse_key(value.strip("/") or value, f"configuration {name!r}, part of output_path")
            if value.startswith("/"):
                raise InvalidInputError(
                    f"configuration {name!r} is {value!r}: an absolute path in output_path"
                )
    try:
        return template.format(**{name: _namespace(value) for name, value in conf.items()})
    except (KeyError, IndexError, AttributeError) as error:
        raise InvalidInputError(f"output_path {template!r} needs {error} in the configuration") from error
