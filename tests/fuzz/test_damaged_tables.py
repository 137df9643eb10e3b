"""Tables damaged anywhere: probe workers answer for each, and what they could describe is safe to read."""

from __future__ import annotations

import io
import random
from contextlib import suppress

import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
openpyxl = pytest.importorskip("openpyxl")

from formats.arrow_tables import flat, rich  # noqa: E402
from fuzz.test_damaged_files import read_everything  # noqa: E402
from fuzz.test_damaged_hdf5 import probed  # noqa: E402
from holdfast.errors import HoldfastError  # noqa: E402
from holdfast.formats.probe import ProbeFailure  # noqa: E402

# Many small cases, or servers that work for a while: minutes in all.
pytestmark = pytest.mark.slow

FILES = 60


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=5, **options)
    return sink.getvalue()


def stream(table: pa.Table, compression: str | None) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=5)
    return sink.getvalue()


def workbook() -> bytes:
    made, sink = openpyxl.Workbook(), io.BytesIO()
    for row in [["n", "x", "name"], [1, 1.5, "a"], [2, None, "b"]]:
        made.active.append(row)
    made.save(sink)
    return sink.getvalue()


WHOLE = {
    "flat.parquet": parquet(flat(), compression="none"),
    "rich.parquet": parquet(rich(), compression="zstd"),
    "pages.parquet": parquet(flat(), data_page_version="2.0", use_dictionary=False),
    "flat.arrows": stream(flat(), None),
    "rich.arrows": stream(rich(), "zstd"),
    "book.xlsx": workbook(),
}


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Damage some places: half of them near the end, where a file describes itself."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data))
        if chance.random() < 0.5:
            at = len(data) - 1 - at % min(len(data), 1500)
        kind = chance.randrange(4)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + 4] = b"\xff\xff\xff\x7f"
        elif kind == 2:
            data[at : at + 2] = bytes(2)
        else:
            other = chance.randrange(len(data))
            data[at : at + 8] = data[other : other + 8]
    return bytes(data)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_every_damaged_table_is_read_or_refused(tmp_path, name, seed):
    chance = random.Random(f"{seed} {name}")
    paths = [tmp_path / f"whole-{name}"]
    paths[0].write_bytes(WHOLE[name])
    for number in range(FILES):
        paths.append(tmp_path / f"f{number:03d}-{name}")
        paths[-1].write_bytes(damaged(WHOLE[name], chance))
    answers = probed(paths)
    assert set(answers) == set(paths)
    assert answers[paths[0]].description is not None
    for path, answer in answers.items():
        assert answer.description is not None or isinstance(answer.failure, ProbeFailure)
        if answer.description is not None:
            with suppress(HoldfastError):
                read_everything(path)
