"""Own the way out: a file is opened, read and compared before anything of it is handed out.

It does not decide which entry is meant, nor what happens to a bad file.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

from holdfast.archive.contract import Verify
from holdfast.archive.entries import Entry
from holdfast.archive.expecting import check_expected, expected_digests
from holdfast.errors import HashError, InvalidInputError, MissingFileError
from holdfast.files import os_errors
from holdfast.hashing import Digest, hash_stream

__all__ = ["Verifier", "bytes_path", "check_bytes", "handed_out_path", "name_path", "opened"]

# A file whose times are this young may be changed once more without another time to show for it.
_SETTLED_S = 2.0


def name_path(root: str, entry: Entry) -> str:
    """Return the path of an entry's own name."""
    return os.path.join(root, entry.place.path)


def bytes_path(root: str, entry: Entry) -> str:
    """Return where an entry's bytes are, or should be.

    Parameters
    ----------
    root : str
        The archive.
    entry : Entry
        One of its entries.

    Returns
    -------
    str
        The file named by the uuid; the one under the entry's own name where only that is a file, which is
        how the original stores it.
    """
    by_uuid = os.path.join(root, entry.place.directory, entry.uuid)
    if os.path.lexists(by_uuid):
        return by_uuid
    named = name_path(root, entry)
    return named if os.path.isfile(named) and not os.path.islink(named) else by_uuid


def handed_out_path(root: str, entry: Entry, path: str) -> str:
    """Return the entry's own name if it leads to its file, else the file itself.

    Parameters
    ----------
    root : str
        The archive.
    entry : Entry
        One of its entries.
    path : str
        Where its bytes are.

    Returns
    -------
    str
        What a user is given: the name has the suffix that other programs look for.
    """
    named = name_path(root, entry)
    try:
        return named if os.readlink(named) == entry.place.link_text(entry.uuid) else path
    except OSError:
        return path


class Verifier:
    """Opens the files of one archive, verified.

    Parameters
    ----------
    root : str
        The archive.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._trusted: dict[str, tuple[int, ...]] = {}

    def path(self, entry: Entry, expected: str | None = None, verify: Verify = "full") -> str:
        """Verify an entry and return the path to give out; see `Archive.fetch_file`."""
        self.open(entry, expected, verify).close()
        return handed_out_path(self._root, entry, bytes_path(self._root, entry))

    def open(self, entry: Entry, expected: str | None = None, verify: Verify = "full") -> BinaryIO:
        """Return an entry's file, verified, at its start.

        Parameters
        ----------
        entry : Entry
            What to open.
        expected : str, optional
            A digest that it must have too.
        verify : {"full", "cached"}, optional
            See `Archive.fetch_file`.

        Returns
        -------
        binary file
            What was read is what it reads.

        Raises
        ------
        MissingFileError, HashError, InvalidInputError
            See `Archive.fetch_file`.
        """
        if verify not in ("full", "cached"):
            raise InvalidInputError(f"verify is {verify!r}; give 'full' or 'cached'")
        wanted = [] if expected is None else expected_digests(expected)
        file = opened(self._root, entry)
        try:
            self._check(file, entry, wanted, verify)
        except BaseException:
            file.close()
            raise
        return file

    def in_memory(self, entry: Entry, content: bytes, expected: str | None = None) -> BinaryIO:
        """Return an entry's bytes, which the manifest kept, as a file; otherwise as `open`.

        Parameters
        ----------
        entry : Entry
            Whose they are.
        content : bytes
            All of it.
        expected : str, optional
            A digest that it must have too.

        Returns
        -------
        binary file
            For reading, at its start.

        Raises
        ------
        HashError, InvalidInputError
            As for `open`.
        """
        wanted = [] if expected is None else expected_digests(expected)
        file = io.BytesIO(content)
        found = dict(entry.digests) | check_bytes(file, entry, [digest.algorithm for digest in wanted])
        if wanted:
            check_expected(entry, found, wanted)
        return file

    def _check(self, file: BinaryIO, entry: Entry, wanted: list[Digest], verify: Verify) -> None:
        unrecorded = [digest.algorithm for digest in wanted if digest.algorithm not in entry.digests]
        state = _state(file)
        found = dict(entry.digests)
        if verify == "full" or unrecorded or self._trusted.get(entry.uuid) != state:
            found |= check_bytes(file, entry, unrecorded)
            self._trust(entry, file, state)
        if wanted:
            check_expected(entry, found, wanted)

    def _trust(self, entry: Entry, file: BinaryIO, before: tuple[int, ...]) -> None:
        if _state(file) == before and time.time() - before[-1] / 1e9 > _SETTLED_S:
            self._trusted[entry.uuid] = before


def opened(root: str, entry: Entry) -> BinaryIO:
    """Open an entry's file without verifying it.

    Parameters
    ----------
    root : str
        The archive.
    entry : Entry
        One of its entries.

    Returns
    -------
    binary file
        At its start.

    Raises
    ------
    MissingFileError
        It is gone.
    HashError
        Something else stands there.
    """
    path = bytes_path(root, entry)
    with os_errors(path, "read"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError(
                f"the file of {entry.place.path} is gone: {path} was removed behind the archive's back; "
                "restore it from another copy with 'holdfast archive check --repair-from'"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
            raise _replaced(entry, path) from None
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise _replaced(entry, path)
    return file


def _replaced(entry: Entry, path: str) -> HashError:
    recorded = entry.digests.get("blake3") or entry.main_digest
    return HashError(
        f"{entry.place.path} is damaged: expected {recorded}, found no regular file at {path}",
        expected=str(recorded),
    )


def check_bytes(
    file: BinaryIO,
    entry: Entry,
    also: Sequence[str] = (),
    progress: Callable[[int], object] | None = None,
) -> dict[str, Digest]:
    """Read a file and compare it with what was recorded.

    Parameters
    ----------
    file : binary file
        At its start, where it is left too.
    entry : Entry
        What was recorded.
    also : sequence of str, optional
        Further algorithms.
    progress : callable, optional
        Called with the number of bytes read so far.

    Returns
    -------
    dict of str to Digest
        What was found, by algorithm.

    Raises
    ------
    HashError
        It has other bytes; both digests are named.
    """
    recorded = entry.digests.get("blake3") or entry.main_digest
    found = hash_stream(file, list(dict.fromkeys((recorded.algorithm, *also))), progress)
    recorded.check(found[recorded.algorithm], entry.place.path)
    file.seek(0)
    return found


def _state(file: BinaryIO) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
