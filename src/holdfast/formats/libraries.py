"""The libraries that read images: loaded when first needed, and their many errors made ours.

Owns the names of what they raise; reads nothing.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from holdfast.errors import HoldfastError, MissingDependencyError, UnreadableError
from holdfast.formats.source import Source, SourceStream

__all__ = ["decoding", "image_library"]

# What damaged input makes these libraries raise; none of it says more than that the file is damaged.
_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError,
    NotImplementedError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, Warning, struct.error,
    zlib.error,
)  # fmt: skip


def image_library(name: str) -> Any:
    """Load a library that reads images.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("PIL", "pillow")
        raise MissingDependencyError(
            f"this image needs {package} to be read: pip install 'holdfast[images]'"
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """Return what damaged input raises; pillow's own limit is of no common kind."""
    pillow = sys.modules.get("PIL.Image")
    return _FAILURES if pillow is None else (*_FAILURES, pillow.DecompressionBombError)


@contextmanager
def decoding(source: Source, stream: SourceStream | None = None) -> Iterator[None]:
    """Turn what a library raises over a damaged file into `UnreadableError`; our own errors go through.

    Parameters
    ----------
    source : Source
        The file, for messages.
    stream : SourceStream, optional
        What the library read through; an error that it met there is the cause of what is raised.
    """
    try:
        yield
    except HoldfastError:
        raise
    except _failures() as error:
        cause = stream.failure if stream is not None else None
        if cause is not None:
            raise cause from error
        text = " ".join(str(error).split())[:200]
        raise UnreadableError(f"{source.name} cannot be decoded: {text or type(error).__name__}") from error
