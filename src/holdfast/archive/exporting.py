"""Own the copies of an archive in forms that other programs verify: BagIt bags and OCFL storage roots.

Each file is verified while it is copied, and what the manifest knows beyond the form goes along, so that
`holdfast.archive.importing` brings back the same archive.

References
----------
RFC 8493 (BagIt), OCFL 1.1.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import files
from holdfast.archive.entries import Entry
from holdfast.errors import InvalidInputError
from holdfast.hashing import Digest, copy_hashed, hash_bytes
from holdfast.paths import quote_key
from holdfast.reports import Report
from holdfast.types import Json, PathLike

if TYPE_CHECKING:
    from holdfast.archive.archive import LocalArchive

__all__ = ["ENTRIES", "OCFL_DIGESTS", "export_bag", "export_ocfl", "object_path"]

ENTRIES = "holdfast-archive.json"
_PLAIN = re.compile(r"[A-Za-z0-9_-]\Z")
OCFL_DIGESTS = ("sha512", "sha256")
Progress = Callable[[int], object] | None


def export_bag(archive: LocalArchive, destination: PathLike, *, progress: Progress = None) -> Report:
    """Write an archive as a bag, its files under ``data/EVENT/PRODUCTION/NAME``.

    Parameters
    ----------
    archive : LocalArchive
        What is copied.
    destination : path
        The bag's directory; must not exist.
    progress : callable, optional
        Called with the number of bytes copied so far.

    Returns
    -------
    Report
        How many files were copied.

    Raises
    ------
    AlreadyExistsError
        The destination exists.
    HashError, MissingFileError
        A file is damaged or gone; nothing is left at the destination.
    """
    with files.build_directory(destination) as staging:
        copier = _Copier(archive, ("sha256", "md5"), progress)
        sums = [
            (f"data/{entry.place.path}", copier.copy(entry, staging / "data" / entry.place.path))
            for entry in archive.entries()
        ]
        _write_bag_tags(staging, archive, sums, copier.copied)
    return Report(len(sums))


def _write_bag_tags(
    bag: Path, archive: LocalArchive, sums: list[tuple[str, dict[str, Digest]]], size: int
) -> None:
    (bag / "data").mkdir(exist_ok=True)
    tags = {"bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"}
    for algorithm in ("sha256", "md5"):
        lines = (f"{digests[algorithm].hex}  {_escaped(path)}\n" for path, digests in sums)
        tags[f"manifest-{algorithm}.txt"] = "".join(lines)
    today = datetime.now(UTC).date().isoformat()
    about = {
        "Source-Organization": archive.name,
        "External-Identifier": archive.uid,
        "Bagging-Date": today,
        "Payload-Oxum": f"{size}.{len(sums)}",
    }
    tags["bag-info.txt"] = "".join(f"{name}: {_one_line(value)}\n" for name, value in about.items())
    tags[ENTRIES] = _described(archive, archive.entries())
    for name, text in tags.items():
        (bag / name).write_bytes(text.encode())
    for algorithm in ("sha256", "md5"):
        lines = (f"{hash_bytes(text.encode(), algorithm).hex}  {name}\n" for name, text in tags.items())
        (bag / f"tagmanifest-{algorithm}.txt").write_text("".join(lines))


def _escaped(path: str) -> str:
    # RFC 8493 escapes the percent sign too; the bagit package does not undo that and would miss the file.
    return path.replace("\n", "%0A").replace("\r", "%0D")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _described(archive: LocalArchive, entries: Iterable[Entry]) -> str:
    facts = {"format": "holdfast-archive-entries", "version": 1, "name": archive.name, "uid": archive.uid}
    return _json({**facts, "entries": [entry.to_dict() for entry in entries]})


def _json(value: Json) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True, sort_keys=True) + "\n"


def export_ocfl(
    archive: LocalArchive, destination: PathLike, digest: str = "sha512", *, progress: Progress = None
) -> Report:
    """Write an archive as an OCFL storage root, one object for each production.

    Parameters
    ----------
    archive : LocalArchive
        What is copied.
    destination : path
        The storage root; must not exist.
    digest : {"sha512", "sha256"}, optional
        By which the objects address their content.
    progress : callable, optional
        Called with the number of bytes copied so far.

    Returns
    -------
    Report
        How many files were copied.

    Raises
    ------
    InvalidInputError
        OCFL has no such digest for content.
    AlreadyExistsError
        The destination exists.
    HashError, MissingFileError
        A file is damaged or gone; nothing is left at the destination.
    """
    if digest not in OCFL_DIGESTS:
        raise InvalidInputError(f"OCFL content has the digest sha512 or sha256, not {digest!r}")
    productions: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in archive.entries():
        productions[entry.place.event, entry.place.production].append(entry)
    algorithms = tuple(dict.fromkeys((digest, "sha256", "md5")))
    with files.build_directory(destination) as root:
        (root / "0=ocfl_1.1").write_text("ocfl_1.1\n")
        layout = {
            "extension": "0003-hash-and-id-n-tuple-storage-layout",
            "description": "by the hash of the id",
        }
        (root / "ocfl_layout.json").write_text(_json(layout))
        copier = _Copier(archive, algorithms, progress)
        for names, entries in productions.items():
            identity = f"holdfast:{archive.uid}/archive/{quote_key(names)}"
            _write_object(root, archive, entries, identity, (copier, digest))
    return Report(sum(map(len, productions.values())))


def object_path(identity: str) -> str:
    """Return where an OCFL object lies below its storage root: by the sha256 of its id."""
    hashed = hash_bytes(identity.encode(), "sha256").hex
    plain = "".join(each if _PLAIN.match(each) else _hex(each) for each in identity)
    name = plain if len(plain) <= 100 else f"{plain[:100]}-{hashed}"
    return f"{hashed[:3]}/{hashed[3:6]}/{hashed[6:9]}/{name}"


def _hex(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode())


def _write_object(
    root: Path, archive: LocalArchive, entries: list[Entry], identity: str, means: tuple[_Copier, str]
) -> None:
    copier, digest = means
    place = root / object_path(identity)
    place.mkdir(parents=True)
    (place / "0=ocfl_object_1.1").write_text("ocfl_object_1.1\n")
    manifest: dict[str, list[str]] = {}
    state: dict[str, list[str]] = defaultdict(list)
    fixity: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        path = f"v1/content/{entry.place.name}"
        found = copier.copy(entry, place / path)
        address = found[digest].hex
        state[address].append(entry.place.name)
        if address in manifest:
            (place / path).unlink()
            continue
        manifest[address] = [path]
        for algorithm, value in found.items():
            if algorithm != digest:
                fixity[algorithm][value.hex].append(path)
    _drop_empty(place / "v1" / "content")
    content = {"manifest": manifest, "state": state, "fixity": fixity}
    _write_inventory(place, identity, digest, content, archive)
    (place / "logs").mkdir()
    (place / "logs" / ENTRIES).write_text(_described(archive, entries))


def _drop_empty(top: Path) -> None:
    """Remove the directories of which only files that were there already came."""
    for directory, _, _ in os.walk(top, topdown=False):
        if not os.listdir(directory):
            os.rmdir(directory)


def _write_inventory(
    place: Path, identity: str, digest: str, content: dict[str, Json], archive: LocalArchive
) -> None:
    version = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "message": f"Exported from the archive {archive.name}",
        "user": {"name": "Holdfast", "address": f"urn:uuid:{archive.uid}"},
        "state": content["state"],
    }
    inventory = {
        "id": identity,
        "type": "https://ocfl.io/1.1/spec/#inventory",
        "digestAlgorithm": digest,
        "head": "v1",
        "manifest": content["manifest"],
        "versions": {"v1": version},
        "fixity": content["fixity"],
    }
    text = _json(inventory).encode()
    sidecar = f"{hash_bytes(text, digest).hex} inventory.json\n"
    for directory in (place, place / "v1"):
        directory.mkdir(exist_ok=True)
        (directory / "inventory.json").write_bytes(text)
        (directory / f"inventory.json.{digest}").write_text(sidecar)


class _Copier:
    """Copies entries, verified on the way, and counts."""

    def __init__(self, archive: LocalArchive, algorithms: tuple[str, ...], progress: Progress) -> None:
        self._archive, self._algorithms, self._progress = archive, algorithms, progress
        self.copied = 0

    def copy(self, entry: Entry, target: Path) -> dict[str, Digest]:
        target.parent.mkdir(parents=True, exist_ok=True)
        recorded = entry.digests.get("blake3") or entry.main_digest
        algorithms = tuple(dict.fromkeys((*self._algorithms, recorded.algorithm)))
        place = entry.place
        opened = self._archive.open_file(place.event, place.production, place.name)
        with opened as source, open(target, "xb") as out:
            hasher = copy_hashed(source, out.write, algorithms)
        found = hasher.digests()
        recorded.check(found[recorded.algorithm], place.path)
        self.copied += hasher.size_bytes
        if self._progress is not None:
            self._progress(self.copied)
        return {name: found[name] for name in self._algorithms}
