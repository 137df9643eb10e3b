"""Keys and file names: valid names stay, others are escaped and read back from the name alone."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidInputError
from holdfast.store.names import key_of, literal_name, name_of
from holdfast.testing.store import KEYS

TEXT = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=400
)
TRICKY = st.text(st.sampled_from("%/.2Fé\\ a\n"), min_size=1, max_size=300)


@pytest.mark.parametrize(
    "key", ["plain", "run 7", "100%", "a%2Fb", "ключ", "x.data", "a:b*?", "line\nbreak", "-rf"]
)
def test_a_valid_file_name_stays(key):
    assert name_of(key) == key


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b", "%/a%2Fb"),
        (".hidden", "%/%2Ehidden"),
        ("..", "%/%2E."),
        ("../x", "%/%2E.%2Fx"),
        ("/", "%/%2F"),
        ("50%/x", "%/50%25%2Fx"),
        ("catalog.db", "%/catalog.db"),
        ("é/ü", "%/é%2Fü"),
    ],
)
def test_other_keys_are_escaped(key, name):
    assert name_of(key) == name
    assert key_of(name) == key


@given(st.one_of(TEXT, TRICKY, st.sampled_from(KEYS)))
def test_names_read_back_and_stay_inside(key):
    name = name_of(key)
    assert key_of(name) == key
    parts = name.split("/")
    assert all(part not in ("", ".", "..") for part in parts)
    assert all(len((part + ".metadata").encode()) <= 255 for part in parts)
    assert len(parts) == 1 or (parts[0] == "%" and all(part.endswith("%") for part in parts[:-1]))
    assert not parts[0].startswith(".")


@given(st.lists(st.one_of(TEXT, TRICKY), min_size=2, max_size=2, unique=True))
def test_different_keys_have_different_names(keys):
    assert name_of(keys[0]) != name_of(keys[1])


@given(st.text(st.sampled_from(string.hexdigits + "%/.ab"), min_size=1, max_size=60))
def test_a_name_that_was_not_made_by_escaping_is_its_own_key(text):
    name = "%/" + text
    key = key_of(name)
    assert key == name or name_of(key) == name


@pytest.mark.parametrize("name", ["%/a%2fb", "%/plain", "%/a%41%2F", "%/a%/b", "%/%FF%2F", "%/%00%2F"])
def test_names_that_only_look_escaped_stay_literal(name):
    assert key_of(name) == name


def test_a_foreign_name_is_found_literally():
    assert literal_name(".hidden") == ".hidden"
    assert literal_name("plain") is None
    assert literal_name("a/b") is None
    assert literal_name("../x") is None
    assert literal_name("..") is None
    assert literal_name("%/plain") == "%/plain"
    assert literal_name("%/../x") is None


def test_keys_too_long_for_any_path_are_refused():
    assert len(name_of("/" * 1000)) > 3000
    with pytest.raises(InvalidInputError, match="too long"):
        name_of("/" * 2000)
