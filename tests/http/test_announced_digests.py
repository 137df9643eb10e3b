"""A file without a known digest is still compared with the one that the server announces."""

from __future__ import annotations

import pytest

from holdfast.errors import HashError
from holdfast.hashing import hash_bytes
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.reply import file_reply
from holdfast.http.routing import Mount, Route


def connection_to(path, digest):
    route = Route("GET", "/file", lambda request: file_reply(request, path, digests=[digest]))
    return Connection.to_site(Site([Mount("", [route])]))


def test_a_right_announcement_is_returned(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    digest = hash_bytes(b"content")
    assert connection_to(tmp_path / "a", digest).fetch_file("/file", tmp_path / "b") == digest
    assert (tmp_path / "b").read_bytes() == b"content"


def test_a_wrong_announcement_leaves_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    with pytest.raises(HashError, match="damaged"):
        connection_to(tmp_path / "a", hash_bytes(b"other")).fetch_file("/file", tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
