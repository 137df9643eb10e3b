"""Own the two files in which a command describes the record that it made: spec and status.

It does not run commands: ``command`` does. A record whose command died says ``stopped``: its lock is gone.
"""

from __future__ import annotations

import os
from typing import Any

import yaml

from holdfast.errors import BusyError, NotFoundError, UnreadableError
from holdfast.files import Lock, write_atomic

__all__ = [
    "DEPENDENCIES_NAME",
    "LOCK_NAME",
    "SPEC_NAME",
    "STATUS_NAME",
    "lock_path",
    "read_spec",
    "read_status",
    "write_dependencies",
    "write_spec",
    "write_status",
]

SPEC_NAME, STATUS_NAME = "_cmd-spec.yaml", "_cmd-status.yaml"
DEPENDENCIES_NAME = "_cmd-dependencies.yaml"
LOCK_NAME = "_cmd-{}.lock"


def lock_path(directory: str) -> str:
    """Return the lock file of the command that makes a record: beside it, for it is written anew."""
    parent, name = os.path.split(directory)
    return os.path.join(parent, LOCK_NAME.format(name))


def _load(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path} is not YAML ({error}); restore it or delete it") from error


def read_spec(directory: str) -> dict[str, Any] | None:
    """Return the spec of the command that made a record, None if none did.

    Raises
    ------
    UnreadableError
        When the file is damaged.
    """
    found = _load(os.path.join(directory, SPEC_NAME))
    if found is None or isinstance(found, dict):
        return found
    raise UnreadableError(f"{os.path.join(directory, SPEC_NAME)} holds no mapping; restore it or delete it")


def read_status(directory: str) -> str:
    """Return the status of a record: ``unbegun``, ``running``, ``done`` or ``stopped``.

    Raises
    ------
    UnreadableError
        When the file is damaged.
    """
    found = _load(os.path.join(directory, STATUS_NAME))
    if found is None:
        return "running" if _is_running(directory) else "unbegun"
    status = str(found)
    if status != "running" or _is_running(directory):
        return status
    # Between two looks it may have ended well.
    again = _load(os.path.join(directory, STATUS_NAME))
    return "stopped" if again == "running" else str(again)


def _is_running(directory: str) -> bool:
    """Tell whether a live process holds the lock."""
    held = Lock(lock_path(directory), create=False)
    if not os.path.exists(held.path):
        return False
    try:
        held.acquire(shared=True, timeout_s=0)
    except BusyError:
        return True
    except NotFoundError:
        return False
    held.release()
    return False


def write_spec(directory: str, spec: dict[str, Any]) -> None:
    """Write the spec."""
    text = yaml.safe_dump(spec, allow_unicode=True, sort_keys=False)
    write_atomic(os.path.join(directory, SPEC_NAME), text.encode())


def write_dependencies(directory: str, specs: list[dict[str, Any]]) -> None:
    """Write the specs of the commands that the command required; nothing when there were none."""
    if specs:
        text = yaml.safe_dump(specs, allow_unicode=True, sort_keys=False)
        write_atomic(os.path.join(directory, DEPENDENCIES_NAME), text.encode())


def write_status(directory: str, status: str) -> None:
    """Write the status, as the original does: one plain word."""
    write_atomic(os.path.join(directory, STATUS_NAME), status.encode())
