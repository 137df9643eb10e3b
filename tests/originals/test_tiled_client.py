"""The unmodified tiled clients of three releases, each in its own environment, against our server."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from originals import files
from originals.environments import RefusedError
from originals.tiled_server import release
from served import KEY, holdfast, served

pytestmark = pytest.mark.originals

__all__ = ["release"]

REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
IMPORTS = """
import numpy as np, dask.array, pathlib
from tiled.client import from_uri
from tiled.queries import *
"""
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = files.write(tmp_path_factory.mktemp("lab") / "lab")
    files.write_uneven(root)
    indexed = holdfast("index", root)
    assert indexed.returncode == 0, indexed.stderr
    return root


@pytest.fixture(scope="module")
def url(directory) -> Iterator[str]:
    with served(directory, timeout_s=600) as server:
        yield server.url


@pytest.fixture(scope="module")
def ask(original, url, release) -> Ask:
    """Ask the tiled client, which is connected as `client`."""
    conversation = original(f"tiled-{release}")
    conversation(IMPORTS + f"client = from_uri({url!r}, api_key={KEY!r})\nsamples = client['samples']")
    return conversation


def sample(*numbers: int) -> list[str]:
    return [f"s{number:02d}.h5" for number in numbers]


# Connecting and listing


def test_it_connects_and_lists_the_directory_with_file_names_as_keys(ask, directory):
    assert sorted(ask("list(client)")) == sorted(p.name for p in directory.iterdir() if p.name != ".holdfast")
    assert ask("len(client)") == len(ask("list(client)"))


def test_it_is_refused_without_a_key_and_with_a_wrong_one(ask, url):
    with pytest.raises(RefusedError):
        ask(f"from_uri({url!r}, api_key='00')")
    with pytest.raises(RefusedError):
        ask(f"from_uri({url!r})")


def test_a_public_server_needs_no_key(original, directory, release):
    with served(directory, "--public") as server:
        conversation = original(f"tiled-{release}")
        assert "samples" in conversation(IMPORTS + f"list(from_uri({server.url!r}))")


def test_a_missing_key_is_a_key_error(ask):
    with pytest.raises(RefusedError) as refused:
        ask("client['no/such/node']")
    assert "KeyError" in refused.value.kinds


def test_it_opens_nodes_by_path_by_parts_and_by_address(ask, url):
    paths = ["client['arrays.h5/cube']", "client['arrays.h5', 'cube']", "client['arrays.h5']['cube']"]
    paths.append(f"from_uri({url + '/api/v1/metadata/arrays.h5/cube'!r}, api_key={KEY!r})")
    assert [ask(f"{path}.shape") for path in paths] == [[3, 4, 5]] * 4


def test_an_hdf5_file_is_a_tree_whose_attributes_are_metadata(ask):
    assert ask("client['arrays.h5'].metadata['title']") == "many types"
    assert ask("client['arrays.h5/deep'].metadata['depth']") == 1
    assert ask("list(client['arrays.h5/deep/er'])") == ["packed"]
    assert set(ask("list(client['arrays.h5'])")) == {*files.ARRAYS, "deep", "text", "chunked"}


def test_pages_of_keys_values_and_items_can_be_sliced(ask):
    every = sample(*range(files.N_SAMPLES))
    assert ask("list(samples.keys())") == every
    assert ask("samples.keys()[0], samples.keys()[-1], samples.keys()[2:5]") == [
        every[0],
        every[-1],
        every[2:5],
    ]
    assert ask("samples.keys().head(3), samples.keys().tail(3)") == [every[:3], every[-3:]]
    assert ask("[v.metadata['n'] for v in samples.values()[3:6]]") == [3, 4, 5]
    assert ask("[(k, v.metadata['n']) for k, v in samples.items().head(2)]") == [["s00.h5", 0], ["s01.h5", 1]]
    assert ask("samples.values().first().metadata['n'], samples.values().last().metadata['n']") == [0, 11]


def test_long_listings_come_in_pages(tmp_path, original, release):
    for number in range(250):
        (tmp_path / f"n{number:03d}.txt").write_text(str(number))
    assert holdfast("index", tmp_path).returncode == 0
    with served(tmp_path, "--public") as server:
        many = original(f"tiled-{release}")
        many(IMPORTS + f"client = from_uri({server.url!r})")
        assert many("list(client)") == [f"n{number:03d}.txt" for number in range(250)]
        assert many("len(client.items()[:250]), client.keys()[249]") == [250, "n249.txt"]


# Arrays


@pytest.mark.parametrize("name", [name for name in files.ARRAYS if name != "structured"])
def test_arrays_of_every_type_arrive_as_they_are(ask, name):
    truth = np.asarray(files.ARRAYS[name])
    found = ask(f"a = client['arrays.h5/{name}'].read(); [str(a.dtype), list(a.shape), a.tobytes()]")
    assert np.dtype(found[0]) == truth.dtype
    assert found[1] == list(truth.shape)
    assert found[2] == {"hex": truth.tobytes().hex()}


def test_structured_arrays_keep_their_fields(ask):
    ask("a = client['arrays.h5/structured'].read()")
    assert ask("list(a.dtype.names), a['id'], a['x'], a['tag'].astype(str)") == [
        ["id", "x", "tag"],
        [1, 2],
        [2.5, 3.5],
        ["ab", "cd"],
    ]


def test_text_arrays_arrive_as_text(ask):
    assert ask("client['arrays.h5/text'].read().astype(str)") == ["one", "zwei", "três"]


SLICES = ["0", "-1", "1:3", "..., 2", "0, 1:3, ::2", "::2, ..., 1", ":, -2:, 1:-1", "1, 2, 3", "2:2", "..."]


@pytest.mark.parametrize("index", SLICES)
def test_slices_equal_those_of_numpy(ask, index):
    truth = eval(f"files.NUMBERS[{index}]")
    assert ask(f"client['arrays.h5/cube'][{index}]") == truth.tolist()


def test_a_slice_across_compressed_chunks_is_whole(ask):
    truth = np.arange(600).reshape(20, 30)
    assert ask("client['arrays.h5/chunked'][5:15, 9:23]") == truth[5:15, 9:23].tolist()
    chunks = ask("client['arrays.h5/chunked'].chunks")
    assert [sum(axis) for axis in chunks] == [20, 30]
    last = ask(f"client['arrays.h5/chunked'].read_block({tuple(len(axis) - 1 for axis in chunks)})")
    assert last == truth[-chunks[0][-1] :, -chunks[1][-1] :].tolist()


def test_arrays_out_of_range_are_refused_and_the_connection_goes_on(ask):
    with pytest.raises(RefusedError):
        ask("client['arrays.h5/cube'][7]")
    assert ask("client['arrays.h5/cube'][0, 0, 0]") == 0.0


def test_dask_reads_lazily_and_equals_numpy(ask, url):
    ask(f"lazy = from_uri({url!r}, 'dask', api_key={KEY!r})")
    assert ask("isinstance(lazy['arrays.h5/chunked'].read(), dask.array.Array)") is True
    assert ask("float(lazy['arrays.h5/chunked'].read()[3:17].sum().compute())") == np.arange(90, 510).sum()


def test_an_npy_file_is_an_array_and_a_text_file_still_a_node(ask):
    assert ask("client['image.npy'][1:3]") == np.arange(20).reshape(4, 5)[1:3].tolist()
    assert "notes.txt" in ask("list(client)")
    assert ask("client['raw.bin'].structure_family") in ("bytes", "StructureFamily.bytes")


# Tables and xarray


def test_tables_are_read_whole_by_column_and_as_dask(ask):
    assert ask("client['table.csv'].columns") == ["x", "y", "label"]
    assert ask("client['table.csv'].read()['y'].tolist()") == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert ask("list(client['table.csv'].read(['label', 'x']).columns)") == ["label", "x"]
    assert ask("client['table.csv'].read()['label'].tolist()")[2] == "name2"
    assert ask("client['table.csv']['x'].read()") == [0, 1, 2, 3, 4, 5]
    assert ask("client['table.csv'].read_partition(0)['x'].tolist()") == [0, 1, 2, 3, 4, 5]


def test_netcdf_opens_as_xarray_with_dimensions_coordinates_and_attributes(ask):
    assert "DatasetClient" in ask("type(client['climate.nc']).__name__")
    ask("weather = client['climate.nc'].read()")
    assert ask("list(weather.data_vars), sorted(weather.coords)") == [
        ["pressure", "temperature"],
        ["height", "time"],
    ]
    ask("warm = weather.temperature")
    assert ask("warm.dims, warm.values, warm.attrs['units']") == [
        ["time", "height"], np.arange(12.0).reshape(4, 3).tolist(), "K",
    ]  # fmt: skip
    assert ask("float(weather.pressure.sel(time=2.0)), weather.attrs['title']") == [200.0, "weather"]
    assert ask("list(client['climate.nc'].read(variables=['pressure', 'time']).data_vars)") == ["pressure"]


# Search


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("FullText('special')", [7]),
        ("FullText('sample special')", [7]),
        ("Key('color') == 'red'", [0, 3, 6, 9]),
        ("Key('color') != 'red'", [1, 2, 4, 5, 7, 8, 10, 11]),
        ("Key('n') == 1", [1]),
        ("Key('good') == True", [1, 3, 5, 7, 9, 11]),
        ("Key('n') > 9", [10, 11]),
        ("Key('n') >= 9", [9, 10, 11]),
        ("Key('n') < 2", [0, 1]),
        ("Key('n') <= 2.5", [0, 1, 2]),
        ("Contains('words', 'special')", [7]),
        ("In('color', ['red', 'blue'])", [0, 2, 3, 5, 6, 8, 9, 11]),
        ("NotIn('color', ['red', 'blue'])", [1, 4, 7, 10]),
        ("KeyPresent('only_some')", [0, 1, 2]),
        ("KeyPresent('only_some', exists=False)", range(3, 12)),
        ("Like('color', 're%')", [0, 3, 6, 9]),
        ("Regex('words', 'number [23] ')", [2, 3]),
        ("Regex('words', 'SPECIAL', case_sensitive=False)", [7]),
        ("KeysFilter(['s03.h5', 's05.h5', 'none'])", [3, 5]),
        ("KeyLookup('s04.h5')", [4]),
        ("StructureFamilyQuery('container')", range(12)),
        ("StructureFamilyQuery('table')", []),
        ("SpecsQuery(['no_such_spec'])", []),
    ],
)
def test_every_query_type_finds_what_it_means(ask, query, found):
    assert ask(f"list(samples.search({query}))") == sample(*found)
    assert ask(f"len(samples.search({query}))") == len(found)


@pytest.mark.parametrize("text", ['"', "a-b", "NEAR(", "x AND", "*", "é", "'; drop table nodes; --", ""])
def test_full_text_accepts_any_text(ask, text):
    assert isinstance(ask(f"list(samples.search(FullText({text!r})))"), list)


def test_specs_are_found_at_the_root(ask):
    assert ask("list(client.search(SpecsQuery(['xarray_dataset'])))") == ["climate.nc"]
    assert "climate.nc" not in ask("list(client.search(SpecsQuery([], ['xarray_dataset'])))")


def test_families_are_found_at_the_root(ask):
    assert ask("list(client.search(StructureFamilyQuery('table')))") == ["table.csv"]
    assert ask("list(client.search(StructureFamilyQuery('array')))") == ["image.npy"]


def test_searches_chain_and_a_result_is_indexed_by_key(ask):
    ask("hits = samples.search(Key('color') == 'red').search(Key('n') > 3)")
    assert ask("list(hits), len(hits), hits['s06.h5'].metadata['n']") == [sample(6, 9), 2, 6]
    with pytest.raises(RefusedError) as refused:
        ask("hits['s01.h5']")
    assert "KeyError" in refused.value.kinds


def test_nested_metadata_is_found_by_dotted_keys(ask):
    assert ask("list(client.search(Key('operator.name') == 'Ada'))") == ["settings.json"]
    assert ask("list(client.search(Contains('tags', 'u')))") == ["settings.json"]
    assert ask("list(client.search(Key('energy') > 12))") == ["settings.json"]


def test_numbers_sort_as_numbers_and_missing_values_last(ask):
    assert ask("list(samples.sort(('n', -1)))") == sample(*range(11, -1, -1))
    assert ask("list(samples.sort(('color', 1), ('n', -1)))")[:4] == sample(11, 8, 5, 2)
    assert set(ask("list(samples.sort(('only_some', 1)))")[:3]) == set(sample(0, 1, 2))
    assert set(ask("list(samples.sort(('only_some', -1)))")[:3]) == set(sample(0, 1, 2))


def test_distinct_values_are_counted(ask):
    found = ask("samples.distinct('color', structure_families=True, counts=True)")
    counts = {entry["value"]: entry["count"] for entry in found["metadata"]["color"]}
    assert counts == {"red": 4, "green": 4, "blue": 4}


# Sparse and awkward arrays


def test_sparse_arrays_arrive_with_their_zeros(ask):
    assert ask("type(client['cube.npz']).__name__") == "SparseClient"
    assert ask("client['cube.npz'].read().todense()") == files.CUBE.todense().tolist()
    assert ask("client['matrix.npz'].todense()") == files.MATRIX.toarray().tolist()
    assert ask("client['cube.npz'].shape, client['matrix.npz'].chunks") == [[6, 5, 4], [[30], [20]]]


@pytest.mark.parametrize("index", ["1:4", ":, 2:, :3", "0", ":, 1"])  # its client sends no steps
def test_slices_of_sparse_arrays_equal_those_of_numpy(ask, index):
    truth = eval(f"files.CUBE.todense()[{index}]")
    assert ask(f"client['cube.npz'][{index}].todense()") == truth.tolist()


def test_blocks_of_sparse_arrays_arrive(ask):
    assert ask("client['matrix.npz'].read_block((0, 0)).todense()") == files.MATRIX.toarray().tolist()
    with pytest.raises(RefusedError):
        ask("client['matrix.npz'].read_block((0, 1))")


def test_awkward_arrays_arrive_whole_and_by_field(ask):
    assert ask("type(client['events.h5/hits']).__name__") == "AwkwardClient"
    assert ask("client['events.h5/hits'].read().to_list()") == files.EVENTS
    assert ask("client['events.h5/hits'][0, 'hits', 'x'].to_list()") == [1, 2]
    assert ask("client['events.h5/hits']['label'].to_list()") == ["a", "é", ""]
    assert ask("client['events.h5/lists'].read().to_list()") == files.LISTS
    assert ask("client['events.h5/lists'][2:].to_list()") == [[3.5]]


def test_only_the_buffers_of_the_chosen_field_travel(ask):
    count = (
        "from tiled.client.logger import *\n"
        "sizes = []\n"
        "hook = lambda response: sizes.append(int(response.headers['content-length']))\n"
        "hooks = client.context.http_client.event_hooks\n"
        "hooks['response'].append(hook); client.context.http_client.event_hooks = hooks\n"
        "client['events.h5/hits'].read(); client['events.h5/hits']['t']\n"
        "hooks['response'].remove(hook); client.context.http_client.event_hooks = hooks\n"
    )
    ask(count)
    _, whole, _, part = ask("sizes")
    assert part < whole


def test_they_are_exported(ask, tmp_path):
    ask(f"client['matrix.npz'].export({str(tmp_path / 'm.csv')!r}, slice=(slice(0, 9),))")
    with (tmp_path / "m.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == files.MATRIX[:9].nnz
    assert list(rows[0]) == ["dim0", "dim1", "data"]
    ask(f"client['events.h5/hits'].export({str(tmp_path / 'e.json')!r})")
    assert json.loads((tmp_path / "e.json").read_text()) == files.EVENTS


def test_they_are_found_by_family_and_by_specs(ask):
    assert ask("list(client.search(StructureFamilyQuery('sparse')))") == ["cube.npz", "matrix.npz"]
    assert ask("list(client['events.h5'].search(StructureFamilyQuery('awkward')))") == ["hits", "lists"]


# What only some releases ask


def test_access_is_told_in_the_words_of_each_release(ask, release):
    word, kind, none = ("blob", "dict", {}) if release == "0.2.16" else ("tags", "list", [])
    assert ask(f"{kind}(client['samples'].access_{word})") == none


def test_a_search_of_all_depths_finds_nodes_below(ask, release):
    if release == "0.2.16":
        with pytest.raises(RefusedError):
            ask("client.search_deep(Key('n') == 7)")
        return
    assert ask("[list(path) for path in client.search_deep(Key('n') == 7)]") == [["samples", "s07.h5"]]


def test_what_the_server_says_of_itself_is_understood(ask):
    assert ask("client.context.server_info.library_version") == "0.2.20"
    assert "text/csv" in ask("client['cube.npz'].formats")
    assert "application/json" in ask("client['events.h5/hits'].formats")


# Files and exports


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "key", ["arrays.h5", "image.npy", "table.csv", "raw.bin", "notes.txt", "settings.json"]
)
def test_raw_files_arrive_byte_for_byte(ask, directory, tmp_path, key):
    [path] = ask(f"[str(p) for p in client[{key!r}].raw_export({str(tmp_path)!r})]")
    assert Path(path).name == key
    assert digest(Path(path)) == digest(directory / key)


def test_a_directory_arrives_with_all_its_files(ask, directory, tmp_path):
    ask(f"client['folder'].raw_export({str(tmp_path)!r})")
    arrived = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert arrived == {"first.txt": b"first\n", "inner/second.bin": b"\x00\x01\x02"}


def test_a_directory_arrives_in_memory(ask):
    ask("kept = {}; client['folder'].raw_export(kept)")
    assert ask("{k: v.getvalue().hex() for k, v in kept.items()}") == {
        "first.txt": b"first\n".hex(),
        "inner/second.bin": "000102",
    }


def test_assets_are_described_with_their_sizes(ask, directory):
    [source] = (ask("[s.assets[0].size for s in client['raw.bin'].include_data_sources().data_sources()]"),)
    assert source == [(directory / "raw.bin").stat().st_size]


def test_arrays_and_tables_are_exported(ask, tmp_path):
    ask(f"client['image.npy'].export({str(tmp_path / 'image.csv')!r})")
    ask(f"client['image.npy'].export({str(tmp_path / 'image.json')!r}, format='application/json')")
    ask(f"client['table.csv'].export({str(tmp_path / 'table.csv')!r})")
    truth = np.arange(20).reshape(4, 5)
    assert np.array_equal(np.loadtxt(tmp_path / "image.csv", delimiter=","), truth)
    assert json.loads((tmp_path / "image.json").read_text()) == truth.tolist()
    with (tmp_path / "table.csv").open() as file:
        assert list(csv.DictReader(file))[2] == {"x": "2", "y": "1.0", "label": "name2"}


def test_a_slice_is_exported(ask, tmp_path):
    target = str(tmp_path / "part.csv")
    ask(f"client['arrays.h5/counts'].export({target!r}, slice=(slice(0, 2), slice(1, 3)))")
    assert np.array_equal(np.loadtxt(target, delimiter=","), files.ARRAYS["counts"][0:2, 1:3])


def test_impossible_exports_name_what_is_possible(ask, tmp_path):
    with pytest.raises(RefusedError) as refused:
        ask(f"client['image.npy'].export({str(tmp_path / 'x.nope')!r}, format='application/x-nope')")
    assert "csv" in refused.value.message


# Real data


@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the checkout")
def test_real_files_are_listed_searched_and_read(original, tmp_path, release):
    import shutil

    import h5py

    shutil.copytree(REAL_DATA, tmp_path / "data", copy_function=shutil.copyfile)
    assert holdfast("index", tmp_path / "data").returncode == 0
    with served(tmp_path / "data", "--public", timeout_s=300) as server:
        conversation = original(f"tiled-{release}")
        conversation(IMPORTS + f"client = from_uri({server.url!r})")
        assert sorted(conversation("list(client['nexus'])")) == sorted(
            p.name for p in (REAL_DATA / "nexus").iterdir()
        )
        strain = "gw/H-H1_LOSC_4_V2-1126259446-32.hdf5"
        with h5py.File(REAL_DATA / strain) as file:
            truth = file["strain/Strain"][1000:1010].tolist()
        assert conversation(f"client['{strain}/strain/Strain'][1000:1010]") == truth
        sample = "Key('entry.sample.name') == 'Unnamed Sample'"
        assert conversation(f"list(client['nexus'].search({sample}))") == ["dls_p45_1168.nxs"]
        walked = conversation(
            "def walk(n):\n"
            "    yield n\n"
            "    if hasattr(n, 'items'):\n"
            "        for v in n.values():\n"
            "            yield from walk(v)\n"
            "sum(1 for n in walk(client))",
            timeout_s=200,
        )
        assert walked > 300
