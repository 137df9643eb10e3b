"""Own how other collections come in: bags, OCFL storage roots, and archives of Holdfast or the original.

What their own manifests say is verified on the way; what an export of ours says besides (uuids, times, who)
is kept. All comes in, or nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.archive.adding import Wanted
from holdfast.archive.contract import Archive
from holdfast.archive.entries import Entry, Place
from holdfast.archive.exporting import ENTRIES, OCFL_DIGESTS
from holdfast.archive.manifest import FOLDER
from holdfast.archive.verifying import bytes_path
from holdfast.errors import HashError, InvalidInputError, MissingFileError, UnreadableError
from holdfast.hashing import ALGORITHMS, Digest, hash_file
from holdfast.paths import parse_key, unquote_key
from holdfast.types import Json, PathLike

if TYPE_CHECKING:
    from holdfast.archive.archive import LocalArchive

__all__ = ["import_from"]

_OURS = re.compile(r"holdfast:[0-9a-f]*/archive/")
_MANIFEST = re.compile(r"manifest-([a-z0-9]+)\.txt\Z")


def import_from(
    archive: LocalArchive, source: PathLike, *, progress: Callable[[int], object] | None = None
) -> list[dict[str, Any]]:
    """Add all that another collection holds.

    Parameters
    ----------
    archive : LocalArchive
        Where to.
    source : path
        A bag, an OCFL storage root, or an archive.
    progress : callable, optional
        Called with the number of bytes copied so far.

    Returns
    -------
    list of dict
        As of `Archive.add_file`.

    Raises
    ------
    InvalidInputError
        It is none of these, or has names that an archive cannot have.
    HashError, MissingFileError
        A file is not what the collection's own manifest says.
    AlreadyPresentException
        One of the names is there already.
    """
    top = Path(source)
    wanted = list(_wanted(top))
    return archive.add_all(wanted, progress=progress) if wanted else []


def _wanted(top: Path) -> Iterator[Wanted]:
    if (top / FOLDER).is_dir():
        return _of_archive(top)
    if (top / "bagit.txt").is_file():
        return _of_bag(top)
    if any(top.glob("0=ocfl_1.*")):
        return _of_storage_root(top)
    raise InvalidInputError(f"{top} is no bag, OCFL storage root or archive; nothing was imported")


def _of_archive(top: Path) -> Iterator[Wanted]:
    with Archive(top) as source:
        for entry in source.entries():
            yield _of_entry(entry, Path(bytes_path(str(top), entry)))


def _of_entry(entry: Entry, path: Path, expected: Iterable[Digest] = ()) -> Wanted:
    digests = (*entry.digests.values(), *expected)
    _check_all(path, digests)
    return Wanted(
        entry.place, path, entry.origin or str(path), entry.uuid, entry.added_at, entry.who, expected=digests
    )


def _check_all(path: Path, expected: Iterable[Digest]) -> None:
    """Verify with the algorithms that adding does not compute by itself."""
    wanted = [digest for digest in expected if digest.algorithm not in ("blake3", "sha256", "md5")]
    if not path.is_file():
        raise MissingFileError(f"{path} is listed and not there; the collection is incomplete")
    if wanted:
        found = hash_file(path, [digest.algorithm for digest in wanted])
        for digest in wanted:
            digest.check(found[digest.algorithm], str(path))


# -- bags --------------------------------------------------------------------------------------------------


def _of_bag(bag: Path) -> Iterator[Wanted]:
    listed: dict[str, list[Digest]] = {}
    for manifest in sorted(bag.glob("manifest-*.txt")):
        for path, digest in _sums(manifest):
            listed.setdefault(path, []).append(digest)
    _check_payload(bag, listed)
    known = _known(bag / ENTRIES)
    for path, digests in sorted(listed.items()):
        parts = parse_key(path, "path in the bag")[1:]
        entry = known.get("/".join(parts)) or _entry_at(_place(parts, bag.resolve().name))
        yield _of_entry(entry, bag / path, digests)


def _sums(manifest: Path) -> Iterator[tuple[str, Digest]]:
    found = _MANIFEST.match(manifest.name)
    if found is None or found[1] not in ALGORITHMS:
        return
    for line in manifest.read_text(encoding="utf-8").splitlines():
        digest, _, path = line.partition(" ")
        name = _payload_name(manifest.parent, path.strip().removeprefix("*"))
        if not name.startswith("data/"):
            raise UnreadableError(f"{manifest} lists {name!r}, which is not below data/; it is no bag")
        yield name, Digest.parse(f"{found[1]}:{digest}")


def _payload_name(bag: Path, written: str) -> str:
    name = written.replace("%0A", "\n").replace("%0D", "\r")
    # RFC 8493 escapes the percent sign too, much used software does not.
    return name if (bag / name).exists() else name.replace("%25", "%")


def _check_payload(bag: Path, listed: Iterable[str]) -> None:
    there = {path.relative_to(bag).as_posix() for path in (bag / "data").rglob("*") if path.is_file()}
    extra = there - set(listed)
    if extra:
        raise HashError(f"the bag {bag} holds {min(extra)!r}, which its manifest does not list")


def _known(path: Path) -> dict[str, Entry]:
    """Read what an export of ours says of its entries; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_bytes())["entries"]
        entries = [Entry.of_dict(each) for each in facts]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{path} does not describe entries; remove it to import without it") from error
    return {entry.place.path: entry for entry in entries}


def _place(parts: tuple[str, ...], collection: str) -> Place:
    """Choose event and production for files of a collection that knows neither."""
    if len(parts) >= 3:
        return Place.of(parts[0], parts[1], "/".join(parts[2:]))
    event = parts[0] if len(parts) == 2 else collection
    return Place.of(event, "shared", parts[-1])


def _entry_at(place: Place) -> Entry:
    return Entry(place, "", {})


# -- OCFL --------------------------------------------------------------------------------------------------


def _of_storage_root(root: Path) -> Iterator[Wanted]:
    for declaration in sorted(root.rglob("0=ocfl_object_1.*")):
        yield from _of_object(declaration.parent)


def _of_object(place: Path) -> Iterator[Wanted]:
    inventory = _inventory(place)
    algorithm = inventory["digestAlgorithm"]
    known = _known(place / "logs" / ENTRIES)
    state = inventory["versions"][inventory["head"]]["state"]
    manifest = {digest.lower(): paths for digest, paths in inventory["manifest"].items()}
    for digest, names in sorted(state.items(), key=lambda item: item[1]):
        path = place.joinpath(*parse_key(manifest[digest.lower()][0], "content path"))
        for name in names:
            where = _object_place(inventory["id"], name)
            entry = known.get(where.path) or _entry_at(where)
            yield _of_entry(entry, path, (Digest.parse(f"{algorithm}:{digest}"),))


def _inventory(place: Path) -> dict[str, Json]:
    path = place / "inventory.json"
    try:
        content = path.read_bytes()
        inventory: dict[str, Json] = json.loads(content)
        algorithm = inventory["digestAlgorithm"]
        sidecar = (place / f"inventory.json.{algorithm}").read_text().split()[0]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UnreadableError(f"{path} is missing or is no OCFL inventory; the object is damaged") from error
    if algorithm not in OCFL_DIGESTS:
        raise UnreadableError(f"{path} has the digest algorithm {algorithm!r}; OCFL has sha512 and sha256")
    Digest.parse(f"{algorithm}:{sidecar}").check(hash_file(path, (algorithm,))[algorithm], str(path))
    return inventory


def _object_place(identity: str, name: str) -> Place:
    """Choose the place of a file by its object's id: ours name event and production."""
    if _OURS.match(identity):
        names = unquote_key(identity.partition("/archive/")[2], "object id")
        if len(names) == 2:
            return Place.of(*names, name)
    return Place.of(identity.rstrip("/").rpartition("/")[2] or "imported", "shared", name)
