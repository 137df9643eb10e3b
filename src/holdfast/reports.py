"""Own the report: what every check of every face answers.

>>> from holdfast.reports import Finding, Report
>>> report = Report(checked=2, findings=[Finding("changed", "a/b", "blake3:01", "blake3:02")])
>>> report.ok
False
>>> print(report)
changed  a/b  expected blake3:01  found blake3:02
checked 2, findings 1: not ok
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from holdfast.types import Json

__all__ = ["Finding", "Report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Say one thing that is not as it should be.

    Parameters
    ----------
    kind : str
        ``missing``, ``extra``, ``changed``, ``permissions``, ``foreign``, ``log``, ``unreadable`` …
    uri : str
        The object: a key, a path below what was checked, or an object name.
    expected, found : str or None
        What was recorded and what is there, digests with their algorithm.
    """

    kind: str
    uri: str
    expected: str | None = None
    found: str | None = None

    def __str__(self) -> str:
        parts = [self.kind, self.uri]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.found is not None:
            parts.append(f"found {self.found}")
        return "  ".join(parts)


@dataclass(frozen=True, slots=True)
class Report:
    """Say what a check looked at and what it found.

    Parameters
    ----------
    checked : int
        The number of objects that were looked at.
    findings : list of Finding
        What is wrong.
    notes : list of str
        What is right but worth knowing; notes never make a report not ok.
    """

    checked: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.findings

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind, sorted by kind."""
        return dict(sorted(Counter(finding.kind for finding in self.findings).items()))

    def to_dict(self) -> dict[str, Json]:
        """Return the report as JSON values: ``ok``, ``checked``, ``findings``, ``notes``."""
        return {
            "ok": self.ok,
            "checked": self.checked,
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }

    @classmethod
    def merged(cls, reports: Iterable[Report]) -> Report:
        """Return one report of several."""
        parts = list(reports)
        return cls(
            sum(part.checked for part in parts),
            [finding for part in parts for finding in part.findings],
            [note for part in parts for note in part.notes],
        )

    def __str__(self) -> str:
        end = f"checked {self.checked}, findings {len(self.findings)}: {'ok' if self.ok else 'not ok'}"
        return "\n".join([*map(str, self.findings), *self.notes, end])

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(cell or '')}</td>" for cell in asdict(finding).values())
            + "</tr>"
            for finding in self.findings
        )
        head = "<tr><th>kind</th><th>uri</th><th>expected</th><th>found</th></tr>"
        ok = "ok" if self.ok else "not ok"
        return f"<table>{head}{rows}</table><p>checked {self.checked}: {ok}</p>"
