"""A library that is not installed is named with the command that installs it; everything else goes on."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from export_sources import MemoryTable, exported
from holdfast.errors import MissingDependencyError

TABLE = MemoryTable({"x": np.arange(3)})


@pytest.mark.parametrize(
    ("value", "name", "library", "extra"),
    [
        (np.zeros((2, 2)), "tiff", "tifffile", "images"),
        (TABLE, "xlsx", "openpyxl", "tables"),
        (TABLE, "arrow", "pyarrow", "tables"),
        (TABLE, "parquet", "pyarrow", "tables"),
    ],
)
def test_an_absent_library_is_named_with_its_extra(monkeypatch, value, name, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingDependencyError, match=rf"{library}.*pip install 'holdfast\[{extra}\]'"
    ) as told:
        exported(value, name)
    assert told.value.status == 501
    for other in ("csv", "json", "html", "h5", "txt"):
        assert exported(value, other)
    if library == "tifffile":
        assert exported(value, "png")
