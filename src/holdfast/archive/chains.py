"""Own the proof of the log: that it hangs together, says what the manifest says, and contains an old head.

The rows are chained by sha256, so that a short script can check them in decades; see docs/format/archive.md.
"""

from __future__ import annotations

from collections import Counter

from holdfast.archive.entries import Entry
from holdfast.archive.manifest import DATABASE, FOLDER, Manifest
from holdfast.database.archive import EntryRow, LogRow, verified
from holdfast.errors import InvalidInputError
from holdfast.hashing import Digest
from holdfast.reports import Finding

__all__ = ["check_chain", "check_head"]

_WHERE = f"{FOLDER}/{DATABASE}"
_ENTERING = ("add", "adopt")
Answer = tuple[list[Finding], list[str]]


def check_chain(manifest: Manifest) -> Answer:
    """Verify the whole log and that the entries are those that it lists.

    Parameters
    ----------
    manifest : Manifest
        The archive's.

    Returns
    -------
    tuple of list of Finding and list of str
        Findings of kind ``log``, and notes.
    """
    if not manifest.has_log:
        if manifest.is_log_lost:
            return [Finding("log", _WHERE, "a log", "log lost")], []
        return [], ["no log: the original made this archive; 'holdfast archive adopt' begins one"]
    rows, entries = manifest.snapshot()
    findings = [
        Finding("log", f"{_WHERE}: row {row.seq}", "the hash of its text and of the row before", row.hash)
        for row, is_good in verified(rows)
        if not is_good
    ]
    if not rows:
        findings.append(Finding("log", _WHERE, "a log", "log lost"))
    return findings + _compare(rows, entries), []


def _compare(rows: list[LogRow], entries: list[Entry]) -> list[Finding]:
    logged = {row.facts["uuid"]: _said(row) for row in rows if row.action in _ENTERING}
    recorded = {entry.uuid: _known(entry) for entry in entries}
    findings = []
    for uuid in logged.keys() | recorded.keys():
        expected, found = logged.get(uuid), recorded.get(uuid)
        if expected != found:
            place = "/".join((expected or found or ("?",))[:3])
            findings.append(Finding("log", place, _shown(expected), _shown(found)))
    return sorted(findings, key=lambda finding: finding.uri)


def _said(row: LogRow) -> tuple[str, ...]:
    facts = row.facts
    return tuple(str(facts.get(name)) for name in EntryRow._fields)


def _known(entry: Entry) -> tuple[str, ...]:
    hexes = {name: digest.hex for name, digest in entry.digests.items()}
    facts = {**entry.to_dict(), **hexes}
    return tuple(str(facts.get(name)) for name in EntryRow._fields)


def _shown(facts: tuple[str, ...] | None) -> str:
    return "no entry" if facts is None else " ".join(facts[2:6])


def check_head(manifest: Manifest, head: str) -> Answer:
    """Verify that the log contains a head that was kept elsewhere, and that nothing is foreign.

    Parameters
    ----------
    manifest : Manifest
        The archive's.
    head : str
        ``sha256:…``, or its 64 hexadecimal digits.

    Returns
    -------
    tuple of list of Finding and list of str
        A finding of kind ``log`` if it does not; a note of what was added since.

    Raises
    ------
    InvalidInputError
        The head is no sha256.
    """
    wanted = Digest.parse(head, default="sha256")
    if wanted.algorithm != "sha256":
        raise InvalidInputError(
            f"a head is a sha256, not {wanted.algorithm}; give what 'archive head' printed"
        )
    rows = manifest.log()
    for number, row in enumerate(rows):
        if row.hash == wanted.hex:
            return [], [_since(wanted, rows[number + 1 :])]
    is_lost = not rows or rows[0].action == "rebuild"
    found = "log lost" if is_lost else "no row of this log: it was changed, or belongs to another archive"
    return [Finding("log", _WHERE, str(wanted), found)], []


def _since(head: Digest, rows: list[LogRow]) -> str:
    counts = Counter(row.action for row in rows)
    said = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))
    return f"head {head} is in the log; since then: {said or 'nothing'}"
