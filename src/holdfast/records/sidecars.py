"""Own the digests of entries that are not sealed files: a hidden file beside each, bound to its content.

``_NAME.<16 hex>.digests`` names the content by its digest: it is written before ``NAME`` is replaced and
the older ones go after that, so at every moment one of those that are there fits, or the file is damaged.

>>> sidecar_name("image.jpg", "blake3:" + "ab" * 32)
'_image.jpg.abababababababab.digests'
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import BinaryIO

from holdfast.errors import HashError, NewerFormatError
from holdfast.files import os_errors, remove, write_atomic
from holdfast.hashing import BlockDigests, Digest, hash_blocks
from holdfast.types import Durability

__all__ = ["VerifiedFile", "find", "prune", "publish", "sidecar_name", "sidecar_path", "sidecars", "verify"]

FORMAT, VERSION = "holdfast-digests", 1


def sidecar_name(name: str, digest: str) -> str:
    """Return the name of the file with the digests of a content."""
    return f"_{name}.{digest.partition(':')[2][:16]}.digests"


def sidecar_path(path: str, digests: BlockDigests) -> str:
    """Return where the digests of a content that a file has lie."""
    directory, name = os.path.split(path)
    return os.path.join(directory, sidecar_name(name, str(digests.whole)))


def sidecars(path: str) -> list[str]:
    """Return the paths of all sidecars of a file."""
    directory, name = os.path.split(path)
    pattern = re.compile(rf"_{re.escape(name)}\.[0-9a-f]{{16}}\.digests")
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [os.path.join(directory, each) for each in sorted(names) if pattern.fullmatch(each)]


def publish(path: str, digests: BlockDigests, durability: Durability) -> str:
    """Write the digests of a content that a file has or is about to have.

    Parameters
    ----------
    path : str
        The file.
    digests : BlockDigests
        Of its content.
    durability : {"sync", "group", "os"}
        When they must be on the disk.

    Returns
    -------
    str
        The sidecar.
    """
    target = sidecar_path(path, digests)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "digest": str(digests.whole),
        "size": digests.size_bytes,
        "blocks": b64encode(digests.blocks).decode(),
    }
    write_atomic(target, json.dumps(facts).encode() + b"\n", durability=durability)
    return target


def prune(path: str, keep: str | None = None) -> None:
    """Delete the sidecars of a file but one."""
    for sidecar in sidecars(path):
        if sidecar != keep:
            remove(sidecar, missing_ok=True, durability="os")


def _read(path: str, what: str) -> BlockDigests | None:
    try:
        with open(path, "rb") as file:
            facts = json.load(file)
        version = facts["version"]
        digests = BlockDigests(Digest.parse(facts["digest"]), facts["size"], b64decode(facts["blocks"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise HashError(
            f"{what}: its digests in {os.path.basename(path)} are damaged; restore them, "
            "or adopt() it as it is"
        ) from error
    if version > VERSION:
        raise NewerFormatError(f"{what} has digests of version {version}: update holdfast")
    return digests


def find(path: str, what: str) -> list[BlockDigests]:
    """Return the digests that are recorded for a file: none, one, or two while it is being replaced.

    Raises
    ------
    HashError
        When a sidecar is damaged.
    """
    found = (_read(sidecar, what) for sidecar in sidecars(path))
    return [digests for digests in found if digests is not None]


def verify(path: str, what: str) -> BlockDigests | None:
    """Read a file and compare it with its digests.

    Parameters
    ----------
    path : str
        The file.
    what : str
        The entry, for messages.

    Returns
    -------
    BlockDigests or None
        What it has; None when nothing is recorded for it.

    Raises
    ------
    HashError
        When its content is none that was recorded.
    """
    for attempt in (1, 2, 3):
        recorded = find(path, what)
        if not recorded:
            return None
        with os_errors(what, "read"), open(path, "rb", buffering=0) as file:
            digests = hash_blocks(file)
        if digests in recorded:
            return digests
        if attempt == 3 or find(path, what) == recorded:
            break
    expected, found = str(recorded[-1].whole), str(digests.whole)
    raise HashError(
        f"{what} is damaged or was changed by another program: expected {expected}, found {found}; "
        "restore it from another copy, or accept it with adopt()",
        expected=expected,
        found=found,
    )


class VerifiedFile:
    """Read a file whose digests are recorded; each block is verified when it is read.

    Parameters
    ----------
    file : binary file
        Open for reading; closed with this object.
    digests : BlockDigests or None
        What it must have; None reads unverified.
    what : str
        The entry, for messages.

    Attributes
    ----------
    sealed : bool
        Whether digests exist.
    """

    def __init__(self, file: BinaryIO, digests: BlockDigests | None, what: str) -> None:
        self._file, self._digests, self._what = file, digests, what
        self.sealed = digests is not None

    def blocks(self) -> Iterator[bytes]:
        """Yield the rest of the file, verified, in blocks of 256 KiB."""
        index = 0
        while block := self._file.read(256 * 1024):
            if self._digests is not None:
                self._digests.check(index, block, self._what)
            index += 1
            yield block

    def read(self) -> bytes:
        """Return the whole content."""
        self._file.seek(0)
        return b"".join(self.blocks())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> VerifiedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
