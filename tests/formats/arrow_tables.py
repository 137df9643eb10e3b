"""Tables of every type that Parquet and Arrow files hold, for their tests."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa

UTC = dt.UTC
ROWS = 12


def flat() -> pa.Table:
    """Return a table of types that NumPy knows too."""
    return pa.table(
        {
            "n": pa.array(np.arange(ROWS)),
            "x": pa.array([1.5, None, float("inf"), -0.0] * 3),
            "gaps": pa.array([1, None, 3, 4] * 3, pa.int16()),
            "ok": pa.array([True, False, True, True] * 3),
            "t": pa.array(np.arange(ROWS).astype("M8[ms]")),
            "name": pa.array(["é", "", "x" * 90, "a,b"] * 3),
        }
    )


def rich() -> pa.Table:
    """Return a table of types that only Arrow knows."""
    return pa.table(
        {
            "list": pa.array([[1, 2], [], None] * 4, pa.list_(pa.int32())),
            "struct": pa.array([{"a": 1, "b": "u"}, {"a": None, "b": "v"}, None] * 4),
            "deep": pa.array([[{"k": [["x"]]}], [], None] * 4),
            "color": pa.array(["red", "green", None] * 4).dictionary_encode(),
            "price": pa.array([Decimal("1.10"), Decimal("-99999999999.25"), None] * 4, pa.decimal128(20, 2)),
            "when": pa.array(
                [dt.datetime(2026, 11, 29, tzinfo=UTC), None, None] * 4, pa.timestamp("us", "Europe/Berlin")
            ),
            "day": pa.array([dt.date(2026, 11, 29), None, None] * 4),
            "clock": pa.array([dt.time(1, 2, 3), None, None] * 4, pa.time64("us")),
            "raw": pa.array([b"\x00\xff", b"", None] * 4),
            "fixed": pa.array([b"abc", b"def", None] * 4, pa.binary(3)),
            "large": pa.array([2**60 + 1, None, 3] * 4),
            "half": pa.array(np.arange(ROWS).astype("f2")),
            "nothing": pa.nulls(ROWS),
            "map": pa.array([[("a", 1)], [], None] * 4, pa.map_(pa.string(), pa.int64())),
        }
    )
