"""Our client against the unmodified Tiled servers of three releases: it sees what Tiled's own client sees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import holdfast as hf
from holdfast.errors import AuthenticationError, NotFoundError
from holdfast.queries import (
    Comparison,
    Contains,
    FullText,
    In,
    Key,
    KeyPresent,
    Like,
    NotIn,
    StructureFamilyQuery,
)
from originals import files
from originals.tiled_server import release, tiled_serving

pytestmark = pytest.mark.originals

SECRET = "secret"
__all__ = ["release"]


@pytest.fixture(scope="module")
def url(tmp_path_factory, release) -> Iterator[str]:
    directory = files.write(tmp_path_factory.mktemp("tiled") / "lab")
    command = ["directory", directory, "--keep-ext", "--api-key", SECRET]
    with tiled_serving(release, command, "Indexing complete") as address:
        yield address


@pytest.fixture(scope="module")
def ours(url) -> Iterator[hf.catalog.Container]:
    with hf.from_uri(url, api_key=SECRET) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(original, url, release):
    conversation = original(f"tiled-{release}")
    conversation(f"from tiled.client import from_uri; client = from_uri({url!r}, api_key={SECRET!r})")
    conversation("from tiled.queries import *")
    return conversation


def test_it_lists_what_their_client_lists(ours, theirs):
    for path in ("", "samples", "arrays.h5", "arrays.h5/deep"):
        node = ours[path] if path else ours
        name = f"client[{path!r}]" if path else "client"
        assert list(node) == theirs(f"list({name})")
        assert len(node) == theirs(f"len({name})")  # inside an HDF5 file their server counts 0


def test_it_reads_the_same_metadata(ours, theirs):
    for path in ("samples/s03.h5", "arrays.h5", "table.csv"):
        assert dict(ours[path].metadata) == theirs(f"dict(client[{path!r}].metadata)")


@pytest.mark.parametrize(
    "path", ["arrays.h5/cube", "arrays.h5/counts", "arrays.h5/waves", "arrays.h5/chunked"]
)
def test_it_reads_the_same_arrays(ours, theirs, path):
    node = ours[path]
    expected = theirs(f"a = client[{path!r}].read(); [str(a.dtype), list(a.shape), a.tobytes()]")
    assert [str(node.dtype), list(node.shape), {"hex": node.read().tobytes().hex()}] == expected


@pytest.mark.parametrize("index", ["1:3", "..., 2", "0, 1:3", "-1"])
def test_it_slices_the_same(ours, index):
    assert np.array_equal(eval(f"ours['arrays.h5/cube'][{index}]"), eval(f"files.NUMBERS[{index}]"))


def test_it_reads_tables(ours):
    table = ours["table.csv"]
    assert list(table["y"].read()) == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert list(table.read(columns=["x"])["x"]) == [0, 1, 2, 3, 4, 5]


QUERIES = {
    "Key('color') == 'red'": Key("color") == "red",
    "Key('color') != 'red'": Key("color") != "red",
    "Key('n') > 5": Key("n") > 5,
    "Comparison('le', 'n', 3)": Comparison("le", "n", 3),
    "Contains('words', 'special')": Contains("words", "special"),
    "In('color', ['red', 'blue'])": In("color", ["red", "blue"]),
    "NotIn('color', ['red', 'blue'])": NotIn("color", ["red", "blue"]),
    "KeyPresent('only_some')": KeyPresent("only_some"),
    "Like('color', 're%')": Like("color", "re%"),
    "FullText('special')": FullText("special"),
    "StructureFamilyQuery('container')": StructureFamilyQuery("container"),
}


@pytest.mark.parametrize("text", QUERIES)
def test_every_query_that_their_server_knows_finds_the_same(ours, theirs, text):
    found = ours["samples"].search(QUERIES[text])
    assert list(found) == theirs(f"list(client['samples'].search({text}))")
    assert len(found) == theirs(f"len(client['samples'].search({text}))")


def test_a_search_result_is_indexed_and_sliced(ours):
    found = ours["samples"].search(Key("color") == "red")
    assert found["s03.h5"].metadata["n"] == 3
    assert [key for key, _ in found.items()[1:3]] == list(found)[1:3]


def test_missing_nodes_and_wrong_keys_are_our_errors(ours, url):
    with pytest.raises(NotFoundError):
        ours["none"]
    with pytest.raises(AuthenticationError):
        list(hf.from_uri(url, api_key="wrong"))


def test_a_download_from_their_server_is_whole_and_opens_offline(ours, tmp_path):
    hf.download(ours["samples"], tmp_path / "stuff")
    assert hf.check(tmp_path / "stuff").ok
    with hf.from_catalog(tmp_path / "stuff") as taken:
        found = taken["samples"].search(Key("color") == "red").values()
        assert sorted(node.metadata["n"] for node in found) == [0, 3, 6, 9]
