"""`holdfast serve archive DIR` answers at ``/``; the whole server has it at ``/archive/NAME``."""

from pathlib import Path

import pytest

from holdfast.app import ServeOptions, build
from holdfast.archive import Archive
from holdfast.archive.client import RemoteArchive
from holdfast.errors import NotAStoreError
from holdfast.http.client import Connection
from served import served


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE_DIRECTORY", str(tmp_path / "state"))


def test_archive_alone_is_served_at_the_top(archive, file):
    archive.close()
    with (
        served("archive", archive.root, "--public") as server,
        Archive(server.url, api_key=server.key) as remote,
    ):
        remote.add_file("S1", "Prod0", file())
        assert Path(remote.fetch_file("S1", "Prod0", "results.xml")).read_bytes() == b"<results/>"
    with Archive(archive.root) as local:
        assert local.check().ok


def test_what_is_no_archive_is_not_served_alone(tmp_path):
    with pytest.raises(NotAStoreError):
        build(ServeOptions(directory=tmp_path, face="archive", api_key="k" * 64))


def test_whole_server_has_each_archive_by_its_name(tmp_path, file):
    (tmp_path / "data").mkdir()
    Archive.create(tmp_path / "data" / "results", "Results").close()
    with build(ServeOptions(directory=tmp_path / "data", api_key="k" * 64)) as app:
        remote = RemoteArchive.over(Connection.to_site(app.site, prefix="/archive/results"))
        remote.add_file("S1", "Prod0", file())
        assert [entry.place.path for entry in remote.entries()] == ["S1/Prod0/results.xml"]
        connection = Connection.to_site(app.site)
        with pytest.raises(NotAStoreError, match="/archive/NAME"):
            RemoteArchive.over(connection)
        assert connection.get_json("/archive/") == {"archives": ["results"]}
        assert "/archive/{archive}/entries" in connection.get_json("/openapi.json")["paths"]
