"""Targets are found by family and media type, also those of other packages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.formats.exports.registry import exports_of

TOP = Path(__file__).parents[3]
PAGE = TOP / "docs" / "exports.md"

ASKING = """
import io
import numpy as np
import PIL.Image
from export_sources import exported
from holdfast.errors import NotAcceptableError
array = np.arange(12, dtype="u1").reshape(3, 4)
assert (np.asarray(PIL.Image.open(io.BytesIO(exported(array, "pgm")))) == array).all()
try:
    exported(array.astype("f8"), "pgm")
except NotAcceptableError as error:
    print(error)
"""


def test_the_target_of_another_package_is_one_like_ours(tmp_path):
    """The package is the one that the documentation shows."""
    shown = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    imports = "import itertools\nfrom holdfast.formats.exports.base import ArrayExport, Exported\n"
    (tmp_path / "holdfast_pgm.py").write_text(f"{imports}{shown[1]}\nPGM = PgmExport()\n")
    facts = tmp_path / "holdfast_pgm-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: holdfast-pgm\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[holdfast.exports]\npgm = holdfast_pgm:PGM\n")
    path = ":".join(map(str, (tmp_path, TOP / "src", TOP / "tests")))
    said = subprocess.run(
        [sys.executable, "-c", ASKING],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(
        "float64 of 2 axes is no grey map; slice it, or ask for application/octet-stream"
    )


def test_a_broken_package_is_left_out_with_a_warning(tmp_path):
    (tmp_path / "broken_export.py").write_text("OTHER = 3\nraise_here = 1 / 0\n")
    (tmp_path / "odd_export.py").write_text("OTHER = 3\n")
    facts = tmp_path / "broken-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[holdfast.exports]\na = broken_export:A\nb = odd_export:OTHER\n")
    path = ":".join(map(str, (tmp_path, TOP / "src")))
    asked = (
        "from holdfast.formats.exports.registry import exports_of as of\nprint(len(of('array').media_types))"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.stdout.strip() == str(len(exports_of("array").media_types))
    assert "broken_export:A is left out: ZeroDivisionError" in said.stderr
    assert "odd_export:OTHER is left out: it is no instance of Export" in said.stderr


@pytest.mark.parametrize("family", ["array", "table", "container", "sparse"])
def test_names_lead_to_one_target_each(family):
    exports = exports_of(family)
    assert set(exports.aliases.values()) == set(exports.media_types)
    for name, media_type in exports.aliases.items():
        target = exports[media_type]
        assert name in (*target.suffixes, *target.media_types[1:])


def test_a_data_set_is_a_container_first_and_a_table_too():
    exports = exports_of("container", "xarray_dataset")
    assert exports.media_types[:3] == exports_of("container").media_types
    assert "text/csv" in exports.media_types
    assert type(exports[exports.aliases["json"]]).__name__ == "JsonExport"
    assert "container" in exports[exports.aliases["h5"]].families


def test_the_page_names_every_format():
    text = PAGE.read_text()
    for family in ("array", "table", "container"):
        exports = exports_of(family)
        for media_type in exports.media_types:
            assert f"`{exports[media_type].suffixes[0]}`" in text
