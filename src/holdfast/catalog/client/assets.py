"""The files behind nodes: what a server says of them, and how they are fetched and verified.

Names that come from a server become paths only through ``paths``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Self
from urllib.parse import unquote, urlsplit

from holdfast.catalog.client.session import Pairs, Path, Session
from holdfast.errors import (
    BulkError,
    ForbiddenError,
    HoldfastError,
    InvalidInputError,
    MissingFileError,
    ServerError,
)
from holdfast.files import make_directories
from holdfast.hashing import Digest
from holdfast.paths import join, parse_key
from holdfast.types import Durability, Json, PathLike

__all__ = ["Asset", "fetch", "fetch_asset", "linked_place", "manifest"]
_LINKS = frozenset({"external", "virtual", "storage"})
_FRAMES = "data_uris"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file or directory that holds data of a node.

    Parameters
    ----------
    id : int
        Its number at this server.
    location : str
        Where it lies below the served directory; only the name where the server does not say more.
    is_directory : bool
        Whether it is a directory.
    size : int or None
        Size in bytes.
    digest : Digest or None
        What was recorded; None while pending, and at servers that record none.
    state : str
        ``verified``, ``pending``, ``growing``, ``missing``, or ``unknown``.
    modified_ns : int or None
        Time of its last change, nanoseconds since the epoch.
    link : str or None
        The name by which the node's own file refers to it; None for the node's own file.
    is_frame : bool
        Whether it is one of the files of a sequence, which lie beside its node.
    base : str
        Where a server of another kind has it: Tiled's lists of a directory's files begin with that.
    """

    id: int
    location: str
    is_directory: bool = False
    size: int | None = None
    digest: Digest | None = None
    state: str = "unknown"
    modified_ns: int | None = None
    link: str | None = None
    is_frame: bool = False
    base: str = ""

    @classmethod
    def read(cls, item: Mapping[str, Json]) -> Self:
        """Read what a server says of an asset.

        Raises
        ------
        ServerError
            When it is not what it should be.
        """
        digest = item.get("digest")
        kind, _, link = str(item.get("parameter") or "").partition(":")
        location = item.get("location")
        is_frame = kind == _FRAMES and location is not None
        base = ""
        if location is None:
            base = unquote(urlsplit(str(item.get("data_uri") or "")).path).rstrip("/")
            location = base.rpartition("/")[2]
        try:
            return cls(
                int(item["id"]),
                str(location),
                bool(item.get("is_directory")),
                None if item.get("size") is None else int(item["size"]),
                Digest.parse(digest) if digest else None,
                str(item.get("state") or "unknown"),
                item.get("modified"),
                item.get("link") or (link if kind in _LINKS else None),
                is_frame,
                base,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(
                f"the server describes a file as {dict(item)!r}, which cannot be read"
            ) from error

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.location.rstrip("/").rpartition("/")[2]


def linked_place(own: Path, asset: Asset) -> Path:
    """Return where a file looks for another that it refers to.

    Parameters
    ----------
    own : tuple of str
        Where the file that refers lies.
    asset : Asset
        The file that it refers to, with its `link`.

    Returns
    -------
    tuple of str
        Counted from the directory of `own`; an absolute name is looked for there by its last part.

    Raises
    ------
    ForbiddenError
        When that lies above the top.
    """
    link = asset.link or ""
    name = posixpath.basename(link) if link.startswith("/") else link
    found = posixpath.normpath(posixpath.join("/".join(own[:-1]), name))
    if found == ".." or found.startswith(("../", "/")):
        raise ForbiddenError(
            f"{'/'.join(own)!r} refers to {link!r}, outside what is taken along; copy that file by hand"
        )
    return parse_key(found, "name of a linked file")


def fetch(session: Session, path: Path, assets: Sequence[Asset], directory: PathLike) -> list[FilePath]:
    """Copy assets into a directory, and return the files that were written.

    Raises
    ------
    BulkError
        All failures together.
    """
    make_directories(directory)
    written: list[FilePath] = []
    failures: list[Exception] = []
    own = next((asset.name for asset in assets if asset.link is None), "")
    for asset in assets:
        try:
            written.extend(_fetch_one(session, path, asset, FilePath(directory), own))
        except HoldfastError as error:
            failures.append(error)
    if failures:
        raise BulkError(
            f"{len(failures)} of {len(assets)} files of {'/'.join(path)!r} were not exported", failures
        )
    return written


def _fetch_one(
    session: Session, path: Path, asset: Asset, directory: FilePath, own: str
) -> Iterator[FilePath]:
    if asset.state == "missing":
        if asset.link is not None:
            return  # it was absent already
        raise MissingFileError(f"{asset.location!r} is missing at {session.address}; restore it there")
    inside = manifest(session, path, asset) if asset.is_directory else [((), asset)]
    place = (asset.name,) if asset.link is None else linked_place((own,), asset)
    for parts, member in inside:
        target = join(directory, parts or place, "name of a file")
        make_directories(target.parent)
        fetch_asset(session, path, member, target, relative="/".join(parts))
        yield target


def manifest(session: Session, path: Path, asset: Asset) -> list[tuple[Path, Asset]]:
    """Return the files in an asset that is a directory: relative paths, and what the server says of each.

    Raises
    ------
    InvalidInputError
        For a name that would leave the directory.

    Notes
    -----
    Tiled (0.2.20) says where the files are on its machine; what lies below the directory's own place there
    is taken relative to it.
    """
    answer = session.get("asset/manifest", path, [("id", str(asset.id))])
    members = answer.get("members") or {}
    found = []
    for name in answer.get("manifest") or []:
        if not isinstance(name, str):
            raise InvalidInputError(f"the server names the file {name!r}, which is no relative path; refused")
        inside = name.removeprefix(f"{asset.base}/") if asset.base else name
        found.append((parse_key(inside, "name of a file"), _member(asset, members.get(name) or {})))
    return found


def _member(directory: Asset, item: Mapping[str, Json]) -> Asset:
    """Return a file in a directory as an asset; it is asked for by the id of the directory."""
    digest, size, modified = item.get("digest"), item.get("size"), item.get("modified")
    try:
        return replace(
            directory,
            is_directory=False,
            size=None if size is None else int(size),
            digest=None if digest is None else Digest.parse(digest),
            modified_ns=None if modified is None else int(modified),
        )
    except (TypeError, ValueError) as error:
        raise ServerError(f"the server describes a file as {dict(item)!r}, which cannot be read") from error


def fetch_asset(
    session: Session,
    path: Path,
    asset: Asset,
    target: FilePath,
    *,
    relative: str = "",
    progress: Callable[[int], object] | None = None,
    durability: Durability = "sync",
) -> Digest:
    """Copy one file; what was copied before an interruption is kept, and the whole is verified.

    Parameters
    ----------
    session, path, asset
        What to copy.
    target : Path
        Where to; it appears whole or not at all.
    relative : str, optional
        The file inside an asset that is a directory, where `asset` is what `manifest` said of it.
    progress : callable, optional
        Takes the number of bytes that were added.
    durability : {"sync", "group", "os"}
        When the file is on the disk.

    Returns
    -------
    Digest
        The digest of the file: the recorded one, or what was computed on arrival.

    Raises
    ------
    HashError
        When the bytes are not what was recorded.
    TransportError
        When the connection broke more often than it was mended.
    """
    query: Pairs = [("id", str(asset.id)), *([("relative_path", relative)] if relative else [])]
    is_known = asset.digest is not None
    return session.connection.fetch_file(
        session.route("asset/bytes", path),
        target,
        query,
        digest=asset.digest if is_known else None,
        size=asset.size if is_known else None,
        progress=progress,
        durability=durability,
    )
