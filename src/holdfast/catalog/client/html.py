"""How nodes show themselves in a notebook; every text of a server is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

__all__ = ["described"]

_MOST_ROWS = 30
_LONGEST = 200


def described(title: str, facts: Mapping[str, object], metadata: Mapping[str, object]) -> str:
    """Return a table of facts, and one of metadata that can be folded away.

    Parameters
    ----------
    title : str
        The heading.
    facts : mapping
        What is always shown.
    metadata : mapping
        What is shown on demand; cut after 30 entries.

    Returns
    -------
    str
        HTML without scripts and styles of its own.
    """
    text = f"<div><b>{escape(title)}</b>{_table(facts)}"
    if metadata:
        shown = dict(list(metadata.items())[:_MOST_ROWS])
        more = f"<p>… {len(metadata) - len(shown)} more</p>" if len(metadata) > len(shown) else ""
        text += f"<details><summary>metadata ({len(metadata)})</summary>{_table(shown)}{more}</details>"
    return text + "</div>"


def _table(rows: Mapping[str, object]) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(str(name))}</th><td>{escape(_cell(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
