"""Own the settings: the only reader of the environment and of directories of the user.

It does not decide what a setting means to a room; rooms take plain arguments.

>>> from holdfast.config import Settings, setting_names
>>> Settings(api_key="k").api_key
'k'
>>> "HOLDFAST_API_KEY" in setting_names()
True
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path

from holdfast.errors import InvalidInputError, NotFoundError, ReadOnlyError
from holdfast.types import PathLike

__all__ = ["Settings", "read_key_file", "setting_names", "settings", "state_directory"]

_PREFIX = "HOLDFAST_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold what the environment says; each field is read from ``HOLDFAST_`` and its name in capitals.

    Parameters
    ----------
    api_key : str
        The key that clients send and a server accepts.
    state_directory : str
        Where databases of directories lie that cannot be written; default the user's state directory.
    timeout_s : float
        How long a client waits for a server to answer, seconds.
    traceback : str
        Anything: the command line shows where an error was raised.
    """

    api_key: str = field(default="", repr=False)
    state_directory: str = ""
    timeout_s: float = 30.0
    traceback: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read settings from a mapping such as `os.environ`.

        Parameters
        ----------
        environment : mapping of str to str
            Names and values.

        Returns
        -------
        Settings
            The settings.

        Raises
        ------
        InvalidInputError
            For a value of the wrong type; the variable is named.
        """
        values: dict[str, str | float] = {}
        for item in fields(cls):
            name = _PREFIX + item.name.upper()
            if name in environment:
                values[item.name] = (
                    _number(name, environment[name]) if item.type == "float" else environment[name]
                )
        return cls(**values)  # type: ignore[arg-type]  # each value was read by its field's type


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInputError(f"{name}={text!r} is not a number; give seconds such as 30") from None


def settings() -> Settings:
    """Return the settings of this process as the environment has them now.

    Returns
    -------
    Settings
        Read anew at each call, so that a program may set a variable and go on.
    """
    return Settings.read(os.environ)


def setting_names() -> tuple[str, ...]:
    """Return the names of all environment variables that are read."""
    return tuple(_PREFIX + item.name.upper() for item in fields(Settings))


@cache
def _home_state(home: str, xdg: str) -> Path:
    return Path(xdg or Path(home, ".local", "state")) / "holdfast"


def state_directory() -> Path:
    """Return the user's directory for databases of directories that cannot be written.

    Returns
    -------
    Path
        ``HOLDFAST_STATE_DIRECTORY``, else ``$XDG_STATE_HOME/holdfast``, else ``~/.local/state/holdfast``.
    """
    chosen = settings().state_directory
    return Path(chosen) if chosen else _home_state(str(Path.home()), os.environ.get("XDG_STATE_HOME", ""))


def read_key_file(path: PathLike) -> str:
    """Read an API key from a file.

    Parameters
    ----------
    path : path-like
        A file of one line.

    Returns
    -------
    str
        The key without white space around it.

    Raises
    ------
    NotFoundError
        When the file is not there.
    ReadOnlyError
        When the file may not be read.
    InvalidInputError
        When it is empty or holds more than a key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise NotFoundError(f"no key file {os.fspath(path)!r}; make one with 'holdfast key create'") from None
    except PermissionError:
        raise ReadOnlyError(
            f"the key file {os.fspath(path)!r} may not be read; change its owner or mode"
        ) from None
    except UnicodeDecodeError:
        text = ""
    if not text or len(text.split()) != 1:
        raise InvalidInputError(f"the key file {os.fspath(path)!r} must hold one key and nothing else")
    return text
