"""The unmodified tiled 0.2.20 client and tables of our formats: whole, by column, by partition, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pytest
from pyarrow import feather, ipc
from pyarrow import parquet as pq

from formats.arrow_tables import ROWS, flat, rich
from originals.environments import RefusedError
from served import KEY, holdfast, served

pytestmark = pytest.mark.originals

IMPORTS = """
import numpy as np, pandas, dask.dataframe
from tiled.client import from_uri
"""
FILES = ["row-groups.parquet", "batches.arrow", "stream.arrows", "frame.feather"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    pq.write_table(flat(), root / "row-groups.parquet", row_group_size=5)
    pq.write_table(rich(), root / "rich.parquet", row_group_size=5)
    with ipc.new_file(str(root / "batches.arrow"), flat().schema) as writer:
        writer.write_table(flat(), max_chunksize=5)
    with ipc.new_stream(str(root / "stream.arrows"), flat().schema) as writer:
        writer.write_table(flat(), max_chunksize=5)
    feather.write_feather(flat(), str(root / "frame.feather"), chunksize=5)
    workbook = openpyxl.Workbook()
    workbook.active.title = "runs"
    for row in [["n", "x", "name"], [1, 1.5, "a"], [2, None, "b"], [3, 2.5, None]]:
        workbook.active.append(row)
    workbook.create_sheet("notes").append(["only names"])
    workbook.save(root / "book.xlsx")
    indexed = holdfast("index", root)
    assert indexed.returncode == 0, indexed.stderr
    return root


@pytest.fixture(scope="module")
def ask(original, directory) -> Iterator:
    conversation = original("tiled-0.2.20")
    with served(directory, timeout_s=600) as server:
        conversation(IMPORTS + f"client = from_uri({server.url!r}, api_key={KEY!r})")
        yield conversation


@pytest.mark.parametrize("name", FILES)
def test_a_table_is_read_whole_with_the_values_it_has(ask, name):
    ask(f"t = client[{name!r}].read()")
    assert ask("list(t.columns)") == flat().column_names
    assert ask("t['n'].tolist()") == list(range(ROWS))
    assert ask("t['gaps'].fillna(-1).astype(int).tolist()") == [1, -1, 3, 4] * 3
    assert ask("t['ok'].tolist()") == [True, False, True, True] * 3
    assert ask("t['name'].tolist()") == ["é", "", "x" * 90, "a,b"] * 3
    assert ask("str(t['t'].dtype), t['t'].astype('int64').tolist()") == ["datetime64[ms]", list(range(ROWS))]
    assert ask("bool(np.isnan(t['x'].iloc[1]) and np.isinf(t['x'].iloc[2]))")


@pytest.mark.parametrize("name", FILES)
def test_columns_are_chosen_and_come_in_partitions(ask, name):
    ask(f"t = client[{name!r}]")
    assert ask("t.structure().npartitions") == 3
    assert ask("list(t.read(['name', 'n']).columns)") == ["name", "n"]
    assert [ask(f"t.read_partition({n})['n'].tolist()") for n in range(3)] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11],
    ]
    assert ask("t.read_partition(1, columns=['ok'])['ok'].tolist()") == [False, True, True, True, False]


@pytest.mark.parametrize("name", FILES)
def test_a_column_is_an_array_that_is_sliced(ask, name):
    ask(f"a = client[{name!r}]['n']")
    assert ask("list(a.shape), str(a.dtype), a[3:9].tolist(), a.read()[::-2].tolist()") == [
        [ROWS],
        "int64",
        list(range(3, 9)),
        list(range(ROWS))[::-2],
    ]
    assert ask(f"client[{name!r}]['name'][:3].tolist()") == ["é", "", "x" * 90]


def test_dask_reads_a_table_lazily_by_partition(ask):
    ask("from tiled.client import from_uri as connect")
    ask("lazy = connect(client.uri, api_key=client.context.api_key, structure_clients='dask')")
    ask("d = lazy['row-groups.parquet'].read()")
    assert ask("isinstance(d, dask.dataframe.DataFrame), d.npartitions, int(d['n'].sum().compute())") == [
        True,
        3,
        sum(range(ROWS)),
    ]


def test_types_that_only_arrow_knows_arrive(ask):
    # dask would make text of lists and decimals, and fail at bytes that are none.
    ask("dask.config.set({'dataframe.convert-string': False})")
    ask("t = client['rich.parquet'].read()")
    ask("dask.config.set({'dataframe.convert-string': None})")
    assert ask("t['raw'].tolist()[0].hex()") == "00ff"
    assert ask("[str(value) for value in t['price'][:2]]") == ["1.10", "-99999999999.25"]
    assert ask("[list(value) for value in t['list'][:2]]") == [[1, 2], []]
    assert ask("t['struct'].iloc[0]") == {"a": 1, "b": "u"}
    assert ask("t['color'][:2].tolist()") == ["red", "green"]
    assert ask("str(t['when'].iloc[0])") == "2026-11-29 01:00:00+01:00"
    assert ask("client['rich.parquet'].structure().arrow_schema_decoded.field('price').type.precision") == 20


def test_each_sheet_of_a_workbook_is_a_table(ask):
    assert ask("list(client['book.xlsx'])") == ["runs", "notes"]
    ask("t = client['book.xlsx/runs'].read()")
    assert ask("t['n'].tolist(), t['x'].fillna(0).tolist()") == [[1, 2, 3], [1.5, 0, 2.5]]
    assert ask("t['name'].tolist()[:2], t['name'].isna().tolist()") == [["a", "b"], [False, False, True]]
    assert ask("client['book.xlsx/runs']['n'][1:].tolist()") == [2, 3]
    assert ask("list(client['book.xlsx/notes'].read().columns)") == ["only names"]


def test_a_column_and_a_partition_that_are_not_there_are_refused(ask):
    with pytest.raises(RefusedError):
        ask("client['row-groups.parquet'].read(['none'])")
    with pytest.raises(RefusedError):
        ask("client['row-groups.parquet'].read_partition(3)")


def test_the_values_are_those_of_pyarrow_itself(ask, directory):
    ask(f"truth = pandas.read_parquet({str(directory / 'row-groups.parquet')!r})")
    ask("t = client['row-groups.parquet'].read().reset_index(drop=True)")
    assert ask("[bool((t[name].isna() == truth[name].isna()).all()) for name in truth]") == [True] * 6
    assert ask("[bool((t[name].dropna() == truth[name].dropna()).all()) for name in truth]") == [True] * 6
    assert np.array_equal(ask("t['n'].tolist()"), pa.array(range(ROWS)).to_numpy())
