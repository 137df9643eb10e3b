import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import paths
from holdfast.errors import ForbiddenError, InvalidInputError

NAMES = st.text(min_size=1, max_size=40).filter(
    lambda text: (
        "/" not in text
        and "\x00" not in text
        and text not in {".", ".."}
        and not paths.is_reserved(text)
        and text.encode("utf-8", "replace").decode() == text
        and len(text.encode()) <= 255
    )
)
BAD = [
    "",
    "/a",
    "a//b",
    "a/",
    "..",
    "a/../b",
    ".",
    "a/./b",
    "a\x00b",
    "x" * 256,
    "é" * 128,
    ".holdfast",
    "a/.manifest/b",
    ".FSStore",
    "catalog.db",
    "a/catalog.db-wal",
    "catalog.db-shm",
    "\udcff",
    "/".join(["abcdefgh"] * 600),
]


@pytest.mark.parametrize("key", BAD, ids=range(len(BAD)))
def test_bad_key_is_refused_before_anything_happens(key):
    with pytest.raises(InvalidInputError) as caught:
        paths.parse_key(key)
    assert "key" in str(caught.value)


@pytest.mark.parametrize("key", [None, 3, b"a", ["a"]])
def test_key_of_another_type_is_refused(key):
    with pytest.raises(InvalidInputError, match="must be text"):
        paths.parse_key(key)


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_good_keys_come_back_as_their_parts(parts):
    assert paths.parse_key("/".join(parts)) == tuple(parts)
    assert paths.split_key("//" + "//".join(parts) + "/") == tuple(parts)


@given(st.lists(NAMES, max_size=5))
def test_quoted_keys_come_back(parts):
    assert paths.unquote_key(paths.quote_key(parts)) == tuple(parts)


@given(st.binary(max_size=60))
def test_any_request_path_gives_safe_parts_or_a_clear_error(raw):
    try:
        parts = paths.unquote_key(raw)
    except InvalidInputError:
        return
    assert all(part not in {"", ".", ".."} and "/" not in part and "\x00" not in part for part in parts)


@pytest.mark.parametrize("raw", ["a/%2e%2e/b", "%2e", "a%2Fb", "a%00", "%ff", "catalog.db", "..%2f"])
def test_encoded_tricks_are_refused(raw):
    with pytest.raises(InvalidInputError):
        paths.unquote_key(raw)


def test_root_of_the_wire_has_no_parts():
    assert paths.split_key("") == paths.split_key("//") == paths.unquote_key("/") == ()


def test_names_that_only_begin_like_reserved_ones_are_free():
    for name in ("catalog.dbx", "xcatalog.db", ".holdfast2", "catalog"):
        assert not paths.is_reserved(name)
    assert paths.is_reserved("catalog.db.bak")


def test_join_stays_below_the_root(tmp_path):
    assert paths.join(tmp_path, ["a", "b"]) == tmp_path / "a" / "b"
    with pytest.raises(InvalidInputError):
        paths.join(tmp_path, ["..", "x"])


def test_symbolic_link_that_leaves_is_refused(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "data")
    with pytest.raises(ForbiddenError, match="--allow-outside"):
        paths.resolve_below(root / "out", root)
    assert paths.resolve_below(root / "in", root) == root / "data"
    assert paths.resolve_below(root / "out", [root, outside]) == outside
    assert not paths.is_below(tmp_path / "rootless", root)
    assert paths.is_below("/etc", "/")


@pytest.mark.parametrize(
    ("target", "url"),
    [("http://h/x", True), ("HTTPS://h", True), ("a/b", False), ("file:///a", False), ("c:x", False)],
)
def test_urls_are_told_from_paths(target, url):
    assert paths.is_url(target) is url


def test_unknown_scheme_is_refused():
    with pytest.raises(InvalidInputError, match="ftp"):
        paths.is_url("ftp://host/x")


def test_local_paths_take_the_file_form():
    assert os.fspath(paths.local_path("file:///a%20b")) == "/a b"
    assert os.fspath(paths.local_path("file://localhost/a")) == "/a"
    for bad in ("", "a\x00", "file://elsewhere/a"):
        with pytest.raises(InvalidInputError):
            paths.local_path(bad)


@pytest.mark.parametrize(
    ("name", "written"), [("a.csv", "a.csv"), ('x/"y"\n.h5', "'y'.h5"), ("é", "_"), ("", "download")]
)
def test_attachment_names_fit_their_header(name, written):
    assert paths.attachment_name(name) == written
