#!/usr/bin/env python3
"""Print the one shell block of README.md that contains a given text, so that CI runs what the reader reads.

usage: scripts/readme_command.py TEXT
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def command(readme: str, text: str) -> str:
    """Return the only fenced shell block of `readme` that contains `text`; refuse none or several."""
    blocks = re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if text in block]
    if len(found) != 1:
        message = f"README.md: {len(found)} shell blocks contain {text!r}, expected one"
        raise SystemExit(message)
    return found[0]


if __name__ == "__main__":
    print(command((Path(__file__).parent.parent / "README.md").read_text(), sys.argv[1]))
