"""Our client against Tiled servers with users and passwords, and with every family in their memory."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import holdfast as hf
from holdfast.errors import AuthenticationError, HoldfastError
from holdfast.queries import (
    Comparison,
    Contains,
    FullText,
    In,
    Key,
    KeyLookup,
    KeyPresent,
    KeysFilter,
    Like,
    NotIn,
    Regex,
    SpecsQuery,
    StructureFamilyQuery,
)
from originals.environments import RefusedError
from originals.tiled_server import release, tiled_serving

pytestmark = pytest.mark.originals

__all__ = ["release"]

CONFIGURATION = """
authentication:
  secret_keys: ["not so secret"]
  providers:
    - provider: toy
      authenticator: tiled.authenticators:DictionaryAuthenticator
      args:
        users_to_passwords: {alice: secret1}
  tiled_admins: [{provider: toy, id: alice}]
database:
  uri: "sqlite:///DIRECTORY/users.db"
  init_if_not_exists: true
trees:
  - path: /memory
    tree: tiled_tree:tree
  - path: /lab
    tree: catalog
    args:
      uri: "sqlite:///DIRECTORY/catalog.db"
      writable_storage: "DIRECTORY/data"
      init_if_not_exists: true
"""
NUMBERS = np.arange(60.0).reshape(3, 4, 5)


@pytest.fixture(scope="module")
def url(tmp_path_factory, release) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("users")
    (directory / "data").mkdir()
    (directory / "config.yml").write_text(CONFIGURATION.replace("DIRECTORY", str(directory)))
    shutil.copy(Path(__file__).parent / "tiled_tree.py", directory)
    command = ["config", directory / "config.yml"]
    with tiled_serving(release, command, "Application startup complete", cwd=directory) as address:
        yield address


@pytest.fixture(scope="module")
def root(url) -> Iterator[hf.catalog.Container]:
    with hf.from_uri(url, username="alice", password="secret1") as client:
        yield client


@pytest.fixture(scope="module")
def ours(root) -> hf.catalog.Container:
    return root["memory"]


@pytest.fixture(scope="module")
def key(url) -> str:
    """Make an API key as a user does."""
    form = b"grant_type=password&username=alice&password=secret1"
    token = asked(url, "/api/v1/auth/provider/toy/token", form)["access_token"]
    body = json.dumps({"expires_in": 600, "scopes": ["inherit"], "note": "test"}).encode()
    fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return asked(url, "/api/v1/auth/apikey", body, **fields)["secret"]


@pytest.fixture(scope="module")
def theirs(original, url, key, release):
    conversation = original(f"tiled-{release}")
    conversation(f"from tiled.client import from_uri; root = from_uri({url!r}, api_key={key!r})")
    conversation("from tiled.queries import *; client = root['memory']")
    return conversation


def asked(url: str, path: str, body: bytes, **headers: str) -> dict[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers), timeout=30) as answer:
        found: dict[str, str] = json.loads(answer.read())
    return found


def test_a_password_opens_and_another_one_does_not(ours, url):
    assert list(ours) == ["array", "chunked", "table", "cube", "events", "box"]
    assert ours.metadata["where"] == "in memory"
    with pytest.raises(AuthenticationError):
        hf.from_uri(url, username="alice", password="guess")
    with pytest.raises(AuthenticationError):
        hf.from_uri(url)


def test_a_session_is_renewed(ours, url):
    with hf.from_uri(url, username="alice", password="secret1") as client:
        session = client.session.connection._credential.__self__
        before, session._until = session._tokens.access_token, 0.0
        assert len(client) == 2
        assert session._tokens.access_token != before or session._until > 0


def test_a_key_that_a_user_made_opens(url, key):
    with hf.from_uri(url, api_key=key) as client:
        assert client["memory/array"].read().tolist() == NUMBERS.tolist()


def test_arrays_are_read_whole_and_sliced(ours):
    assert np.array_equal(ours["array"].read(), NUMBERS)
    assert np.array_equal(ours["array"][1:, ..., 2], NUMBERS[1:, ..., 2])
    chunked = ours["chunked"]
    assert (chunked.dtype, chunked.chunks) == (np.dtype(">i4"), ((7, 7, 6), (30,)))
    assert np.array_equal(chunked[5:16, 3], np.arange(600).reshape(20, 30)[5:16, 3])
    assert np.array_equal(chunked.to_dask()[::2].compute(), np.arange(600).reshape(20, 30)[::2])
    assert np.array_equal(ours["box/inner"].read(), np.eye(3))


def test_tables_of_several_partitions_are_read(ours):
    table = ours["table"]
    assert table.columns == ["x", "y", "label"]
    assert list(table.read()["x"]) == list(range(10))
    assert list(table.read(columns=["label"])["label"]) == [f"row{n}" for n in range(10)]
    assert [spec.name for spec in table.specs] == ["scan"]


def test_sparse_and_awkward_arrays_are_read(ours):
    cube = ours["cube"]
    whole = cube.read().to_dense()
    assert (cube.shape, np.count_nonzero(whole)) == ((6, 5, 4), 36)
    assert np.array_equal(cube[1:4, 2].to_dense(), whole[1:4, 2])
    assert np.array_equal(cube.read_block((1, 0, 0)).to_dense(), whole[3:])
    assert ours["events"].read().to_list() == [{"t": 0.5, "hits": [1, 2]}, {"t": 1.5, "hits": []}]


QUERIES = {
    "Key('color') == 'red'": Key("color") == "red",
    "Key('color') != 'red'": Key("color") != "red",
    "Key('n') > 1": Key("n") > 1,
    "Comparison('le', 'n', 1)": Comparison("le", "n", 1),
    "Contains('tags', 'u')": Contains("tags", "u"),
    "In('color', ['red', 'green'])": In("color", ["red", "green"]),
    "NotIn('color', ['red', 'green'])": NotIn("color", ["red", "green"]),
    "KeyPresent('words')": KeyPresent("words"),
    "KeyPresent('color', exists=False)": KeyPresent("color", exists=False),
    "Like('color', '%e%')": Like("color", "%e%"),
    "Regex('color', '^(red|blue)$')": Regex("color", "^(red|blue)$"),
    "FullText('special')": FullText("special"),
    "KeyLookup('cube')": KeyLookup("cube"),
    "KeysFilter(['cube', 'box', 'none'])": KeysFilter(["cube", "box", "none"]),
    "SpecsQuery(['scan'])": SpecsQuery(include=["scan"], exclude=[]),
    "StructureFamilyQuery('sparse')": StructureFamilyQuery("sparse"),
}


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("tree", ["memory", "lab"])
def test_every_query_that_the_server_knows_finds_what_their_client_finds(root, theirs, tree, text):
    try:
        expected = theirs(f"list(root[{tree!r}].search({text}))")
    except RefusedError:
        with pytest.raises(HoldfastError):
            list(root[tree].search(QUERIES[text]))
    else:
        assert list(root[tree].search(QUERIES[text])) == expected


def test_what_was_found_is_counted_sorted_and_sliced(ours):
    found = ours.search(Key("n") > 0)
    assert len(found) == 3
    assert [node.key for node in found.sort(("n", -1)).values()] == ["table", "chunked", "array"]
    assert found.sort(("n", 1)).keys().head(2) == ["array", "chunked"]
    assert len(ours.items()[1:3]) == 2


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_what_their_client_wrote_is_found_and_taken_home(root, theirs, tmp_path):
    theirs(
        "import numpy, pandas\n"
        "lab = root['lab']\n"
        "if 'a' not in lab:\n"
        "    lab.write_array(numpy.arange(12.0).reshape(3, 4), key='a', metadata={'color': 'red'})\n"
        "    lab.write_table(pandas.DataFrame({'x': [1, 2]}), key='t', metadata={'color': 'blue'})\n"
    )
    lab = root["lab"]
    assert list(lab.search(Key("color") == "red")) == ["a"]
    assert lab["a"][1].tolist() == [4, 5, 6, 7]
    assert list(lab["t"].read()["x"]) == [1, 2]
    report = hf.download(lab.search(Key("color") == "red"), tmp_path / "stuff")
    assert report.checked >= 2
    assert all("computed on arrival" in note for note in report.notes)
    stored = Path(theirs("root['lab/a'].include_data_sources().data_sources()[0].assets[0].data_uri")[16:])
    assert contents(tmp_path / "stuff" / "data" / "lab" / "a") == contents(stored) != {}
    assert hf.check(tmp_path / "stuff").ok
    with hf.from_catalog(tmp_path / "stuff") as taken:
        assert taken["lab/a"].read().tolist() == np.arange(12.0).reshape(3, 4).tolist()
    hf.download(lab["t"], tmp_path / "table")
    assert hf.check(tmp_path / "table").ok


def test_data_that_is_in_no_file_is_named_and_never_read_as_something_else(ours, tmp_path):
    report = hf.download(ours, tmp_path / "stuff")
    named = {note.rpartition("/")[2] for note in report.notes if "in no file" in note}
    assert named == {"array", "chunked", "table", "cube", "events", "inner"}
    with hf.from_catalog(tmp_path / "stuff") as taken, pytest.raises(HoldfastError):
        taken["memory/array"].read()
