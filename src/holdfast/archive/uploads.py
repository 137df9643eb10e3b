"""Own what arrives at a served archive before it is added: staged files that a sender can go on with.

A staged file is named by the blake3 digest that it shall have; the digest is checked when it is added.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from holdfast import files
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.types import Buffer

__all__ = ["Staged", "Uploads"]

_NAME = re.compile(r"[0-9a-f]{64}\Z")
_KEPT_S = 7 * 24 * 3600.0


class Uploads:
    """The staged files of one archive.

    Parameters
    ----------
    folder : str
        The archive's ``.manifest``.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "uploads")

    def path(self, name: str) -> str:
        """Return where a staged file lies.

        Parameters
        ----------
        name : str
            The blake3 digest that it shall have, in hexadecimal.

        Returns
        -------
        str
            The path.

        Raises
        ------
        InvalidInputError
            It is no such digest.
        """
        if not _NAME.match(name):
            raise InvalidInputError(f"{name[:80]!r} names no upload; use the file's blake3 digest, 64 digits")
        return os.path.join(self._folder, name)

    def offset(self, name: str) -> int:
        """Return how many bytes of a staged file are there: where to go on.

        Parameters
        ----------
        name : str
            Its digest.

        Returns
        -------
        int
            Bytes; 0 where nothing has come.
        """
        try:
            return os.stat(self.path(name)).st_size
        except FileNotFoundError:
            return 0

    def receive(self, name: str, offset: int) -> Staged:
        """Open a staged file to take bytes from an offset on.

        Parameters
        ----------
        name : str
            Its digest.
        offset : int
            Where the sender goes on: the number of bytes that are there.

        Returns
        -------
        Staged
            Takes the bytes.

        Raises
        ------
        ConflictError
            There are more or fewer bytes; `details` has the offset to go on from.
        BusyError
            Somebody else is sending the same file.
        """
        path = self.path(name)
        files.make_directories(self._folder)
        self._forget_old()
        held = files.lock(path, timeout_s=0)
        there = self.offset(name)
        if there != offset:
            held.release()
            raise ConflictError(f"{there} bytes of this upload are there; go on from there", offset=there)
        return Staged(path, offset, held)

    def require(self, name: str) -> str:
        """Return the path of a staged file; `NotFoundError` where nothing has come."""
        path = self.path(name)
        if not os.path.exists(path):
            raise NotFoundError(f"there is no upload {name}; send the file first")
        return path

    def forget(self, name: str) -> None:
        """Delete a staged file."""
        files.remove(self.path(name), missing_ok=True, durability="os")

    def _forget_old(self) -> None:
        for entry in os.scandir(self._folder):
            with contextlib.suppress(OSError):
                if time.time() - entry.stat().st_mtime > _KEPT_S:
                    os.unlink(entry.path)


class Staged:
    """A staged file that takes bytes.

    Parameters
    ----------
    path : str
        Where it lies.
    offset : int
        Where the first byte goes.
    held : Lock
        Keeps others away; given back by `close`.
    """

    def __init__(self, path: str, offset: int, held: files.Lock) -> None:
        self._held = held
        self.offset = offset
        with files.os_errors(path, "write"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, block: Buffer) -> None:
        """Take the next bytes."""
        view = memoryview(block)
        with files.os_errors("the upload", "write"):
            while view:
                count = os.pwrite(self._fd, view, self.offset)
                view = view[count:]
                self.offset += count

    def cut(self, offset: int) -> None:
        """Go back to an offset: what came after it was damaged on the way."""
        os.ftruncate(self._fd, offset)
        self.offset = offset

    def close(self) -> None:
        """Leave the file for the next part."""
        os.close(self._fd)
        self._held.release()
