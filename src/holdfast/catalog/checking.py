"""Checking: whether the files of a catalog are what was recorded.

Owns the comparison; changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from holdfast.catalog.places import Places
from holdfast.catalog.progress import Progress
from holdfast.catalog.scanning import scan
from holdfast.catalog.tree import Catalog
from holdfast.database import AssetRow
from holdfast.errors import HashError, HoldfastError, InvalidInputError, MissingFileError
from holdfast.events import EventBus, bus
from holdfast.formats.source import Source
from holdfast.hashing import Digest, hash_file
from holdfast.reports import Finding, Report
from holdfast.types import PathLike

__all__ = ["check", "check_catalog"]

_THREADS = 2


def check(
    target: PathLike,
    *,
    database: PathLike | None = None,
    fast: bool = False,
    subset: float = 1.0,
    allow_outside: Sequence[PathLike] = (),
) -> Report:
    """Compare the files of an indexed directory with what was recorded of them.

    Parameters
    ----------
    target : path-like
        The directory, or its ``catalog.db``.
    database : path-like, optional
        Where its database lies.
    fast : bool
        Look at names, sizes and times only, read nothing.
    subset : float
        Read only this part of the files, chosen by chance: 0.1 for a tenth.
    allow_outside : sequence of path-like
        Further directories that links may lead to.

    Returns
    -------
    Report
        Findings ``changed``, ``missing``, ``extra`` and ``unreadable``.

    Raises
    ------
    NotFoundError
        There is no such directory, or it was not indexed.
    InvalidInputError
        `subset` is not above 0 and at most 1.

    Events
    ------
    ProgressStart, ProgressStep, ProgressEnd
        With the operation ``check``.
    """
    with Catalog(target, database=database, allow_outside=allow_outside) as catalog:
        return check_catalog(catalog, fast=fast, subset=subset)


def check_catalog(
    catalog: Catalog, *, fast: bool = False, subset: float = 1.0, events: EventBus = bus
) -> Report:
    """Compare the files of an open catalog with what was recorded of them; see `check`."""
    if not 0 < subset <= 1:
        raise InvalidInputError(f"a subset is above 0 and at most 1 (100 %), not {subset}")
    assets = list(catalog.database.assets.each())
    files = [asset for asset in assets if not asset.is_directory]
    progress = Progress(events, "check", "files", catalog.places.storage)
    read = set() if fast else _chosen(files, subset)
    report = Report()
    findings, notes, checked = report.findings, report.notes, 0
    with ThreadPoolExecutor(_THREADS, "check") as pool:
        for outcome in pool.map(
            lambda asset: _check(catalog.places, asset, is_read=asset.id in read), assets
        ):
            checked += 1
            findings += [outcome] if isinstance(outcome, Finding) else []
            notes += [outcome] if isinstance(outcome, str) else []
            progress.step(checked, len(assets))
    findings += _extra(catalog.places, {asset.location for asset in assets})
    progress.end(f"{checked:,} files checked", "warning" if findings else "normal")
    return Report(checked, findings, notes)


def _chosen(files: Sequence[AssetRow], subset: float) -> set[int]:
    if subset == 1:
        return {asset.id for asset in files}
    count = min(max(round(len(files) * subset), 1), len(files))
    return {asset.id for asset in random.SystemRandom().sample(files, count)}


def _check(places: Places, asset: AssetRow, *, is_read: bool) -> Finding | str | None:
    """Compare one file or directory; return what is wrong, or worth a note."""
    name = places.public(asset.location) or "."
    try:
        path = places.checked(asset.location)
        if asset.is_directory:
            return None if path.is_dir() else Finding("missing", name)
        if not path.exists():
            return _missing(asset, name)
        with Source(path) as source:
            state = source.state
        if asset.digest is None:
            return f"{name} was not digested yet; index the directory again"
        if asset.size != state.size:
            return Finding("changed", name, f"{asset.size} bytes", f"{state.size} bytes")
        if is_read:
            Digest.parse(asset.digest).check(hash_file(path)["blake3"], name)
    except HashError as error:
        return Finding("changed", name, error.details["expected"], error.details["found"])
    except MissingFileError:
        return Finding("missing", name)
    except HoldfastError as error:
        return Finding("unreadable", name, None, str(error))
    except OSError as error:
        return Finding("unreadable", name, None, error.strerror)
    return None


def _missing(asset: AssetRow, name: str) -> Finding | str:
    """Tell a file that vanished from one that was never there: the file that names that is as it was."""
    if asset.size is None and asset.digest is None:
        return f"{name} is named by another file and was absent already"
    return Finding("missing", name, asset.digest)


def _extra(places: Places, known: set[str]) -> Iterator[Finding]:
    for found in scan(places):
        for each in found.members if found.entry else (found,):
            is_own = not (each.is_directory or each.error or each.companion_of)
            if is_own and each.location not in known:
                yield Finding("extra", places.public(each.location))
