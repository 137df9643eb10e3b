"""Own how code is loaded: names when they are first used, and many modules without searching for garbage.

It does not decide which names a package has.

>>> load, names = lazy_names("holdfast", {"Report": "holdfast.reports"})
>>> load("Report").__name__, "Report" in names()
('Report', True)
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

__all__ = ["lazy_names", "loading"]


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and the ``__dir__`` of a package whose names live in other modules.

    Parameters
    ----------
    package : str
        The package, usually ``__name__``.
    homes : mapping of str to str
        The public names and the modules that define them.

    Returns
    -------
    tuple of callable
        ``__getattr__`` loads a name once and keeps it; ``__dir__`` lists what is there or can be loaded.
    """

    def load(name: str) -> object:
        """Load a name from its home."""
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        vars(sys.modules[package])[name] = value
        return value

    def names() -> list[str]:
        """List the names of the package."""
        return sorted(set(vars(sys.modules[package])) | set(homes))

    return load, names


@contextmanager
def loading() -> Iterator[None]:
    """Search for no garbage meanwhile: what is loaded stays, and that takes a tenth of the time of loading.

    Notes
    -----
    It is for the whole process, so it is for the start of a program, not for a library.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
