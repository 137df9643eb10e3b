"""Indexing: the files of a directory become nodes, and nodes follow their files.

Owns what a user calls; the work is a `rounds.Round`, digesting what is left is `digesting`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from holdfast.catalog.digesting import digest_pending
from holdfast.catalog.rounds import DIGESTS, DigestWhen, Options, Round, Summary
from holdfast.catalog.tree import Catalog
from holdfast.errors import BulkError, InvalidInputError, UnreadableError
from holdfast.types import PathLike

__all__ = ["index", "index_catalog"]


def index(
    target: PathLike,
    *,
    database: PathLike | None = None,
    digest: DigestWhen = "now",
    prune: bool = False,
    strict: bool = False,
    allow_outside: Sequence[PathLike] = (),
    sequences: bool | None = None,
) -> Summary:
    """List the files of a directory in its catalog, or bring the catalog up to date.

    Parameters
    ----------
    target : path-like
        The directory.
    database : path-like, optional
        Where its database is to lie.
    digest : "now", "later" or "never"
        When files are digested: before this returns, by the server behind its answers, or not at all.
    prune : bool
        Remove the nodes of files that are gone; otherwise they are marked missing.
    strict : bool
        Raise an error at the end if a file could not be read.
    allow_outside : sequence of path-like
        Further directories that links may lead to.
    sequences : bool, optional
        Whether the images of a numbered run become one array, frame by frame; as the last time when None.

    Returns
    -------
    Summary
        What was done.

    Raises
    ------
    NotFoundError
        There is no such directory.
    BulkError
        With `strict`: every file that could not be read.

    Events
    ------
    ProgressStart, ProgressStep, ProgressEnd
        With the operations ``index`` and ``digest``.

    Notes
    -----
    Only files whose size or time changed are looked into. What was added to a node's metadata since is kept.
    """
    if digest not in DIGESTS:
        raise InvalidInputError(f"digest={digest!r} is not one of {', '.join(DIGESTS)}")
    with Catalog(target, database=database, allow_outside=allow_outside, create=True) as catalog:
        summary = index_catalog(catalog, Options(digest=digest, prune=prune, sequences=sequences))
    if strict and summary.errors:
        errors = [UnreadableError(message, path=path) for path, message in summary.errors]
        raise BulkError(f"{len(errors)} files of {target} cannot be read", errors)
    return summary


def index_catalog(catalog: Catalog, options: Options | None = None) -> Summary:
    """Bring an open catalog up to date; see `index`.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    options : Options, optional
        How.
    """
    options = options or Options()
    run = Round(catalog, options)
    summary = run.go()
    if options.digest == "now":
        summary.digested += digest_pending(catalog, options.bus, options.is_stopped)
    summary.seconds = time.monotonic() - run.progress.began
    run.progress.end(str(summary), "warning" if summary.errors else "normal")
    return summary
