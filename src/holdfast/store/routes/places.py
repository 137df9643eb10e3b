"""Own which store a path leads to, and the pieces in which bodies are sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.http.request import Request
from holdfast.paths import resolve_below, split_key
from holdfast.store.base import Store
from holdfast.store.file_system import MAGIC, FileSystemStore
from holdfast.store.value import Value

__all__ = ["PIECE_BYTES", "Find", "Stores", "gathered", "parts_of", "pieces_of", "text_of"]

PIECE_BYTES = 1 << 20
"""The size of the pieces in which bodies are sent."""

Find = Callable[[Sequence[bytes]], tuple[Store, Sequence[bytes]]]
"""Takes the raw parts of a path; gives the store that they lead to, and the parts below it."""


class Stores:
    """Open each store below a directory once.

    Parameters
    ----------
    top : Path
        The served directory.
    """

    def __init__(self, top: Path) -> None:
        self._top = top
        self._open: dict[Path, FileSystemStore] = {}
        self._lock = threading.Lock()

    def below(self, parts: Sequence[bytes]) -> tuple[Store, Sequence[bytes]]:
        """Return the store that the first parts name, and the other parts.

        Raises
        ------
        NotFoundError
            No beginning of the path is a store.
        """
        path = self._top
        for count, part in enumerate(parts, 1):
            names = split_key(text_of(part), "the name of a store")
            if len(names) != 1:
                break
            path = path / names[0]
            if (path / MAGIC).is_file():
                return self.open(resolve_below(path, self._top)), parts[count:]
        raise NotFoundError("no store of this name is served here; ask for /store/NAME/…")

    def open(self, path: Path) -> FileSystemStore:
        """Return the store in a directory."""
        with self._lock:
            if path not in self._open:
                self._open[path] = FileSystemStore(path)
            return self._open[path]

    def close(self) -> None:
        """Disconnect all stores."""
        for store in self._open.values():
            store.disconnect()


def parts_of(request: Request) -> list[bytes]:
    """Return the parts of the path below the mount as they were sent: slashes of keys are not collapsed."""
    above = len(str(request.scope.get("root_path", "")).encode())
    return request.raw_path[above:].removeprefix(b"/").split(b"/")


def text_of(raw: bytes) -> str:
    """Return a part of a path as text.

    Raises
    ------
    InvalidInputError
        It is not UTF-8.
    """
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise InvalidInputError(f"{raw[:80]!r} in the address is not UTF-8; encode it as UTF-8") from None


def gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to large ones."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def pieces_of(value: Value, start: int, stop: int) -> Iterator[bytes]:
    """Read a part of the data of a value."""
    stream = value.range(start, stop)
    while piece := stream.read(PIECE_BYTES):
        yield piece
