"""The server as a whole: faces, keys, its own pages."""

from __future__ import annotations

import json
import socket

import pytest

from holdfast.app import FACES, ServeOptions, build, serve
from holdfast.errors import AuthenticationError, BusyError, ForbiddenError, InvalidInputError, NotFoundError
from holdfast.http.client import Connection
from holdfast.http.serving import running


@pytest.fixture
def home(tmp_path):
    (tmp_path / "a.json").write_text('{"n": 1}')
    return tmp_path


def options(home, **more):
    return ServeOptions(directory=home, face="catalog", faces={"catalog": {"digest": "now"}}, **more)


def test_a_first_start_makes_a_key_and_keeps_only_its_hash(home):
    with build(options(home)) as app:
        key = app.made_key
        assert len(key) == 64
        assert key not in repr(app)
        with running(app.site) as url:
            with Connection.to_url(url, api_key=key) as client:
                assert client.get_json("/api/v1/metadata/")["data"]["id"] == ""
            with Connection.to_url(url) as stranger, pytest.raises(AuthenticationError):
                stranger.get_json("/api/v1/metadata/")
    assert key.encode() not in app.database.read_bytes()
    with build(options(home)) as again:
        assert again.made_key is None
        with running(again.site) as url, Connection.to_url(url, api_key=key) as client:
            assert client.get_json("/api/v1/metadata/") is not None


def test_a_key_that_is_given_is_accepted_and_not_kept(home):
    with build(options(home, api_key="my-own-key")) as app:
        assert app.made_key is None
        with running(app.site) as url, Connection.to_url(url, api_key="my-own-key") as client:
            assert client.get_json("/api/v1/metadata/") is not None
    with build(options(home)) as later:
        assert later.made_key is not None
    assert "my-own-key" not in repr(options(home, api_key="my-own-key"))


def test_a_port_that_is_taken_makes_no_key(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match="--port"):
            serve(options(home, port=port), lambda url, app: None)
    with build(options(home)) as later:
        assert later.made_key is not None


def test_a_public_server_is_read_by_anyone_and_from_any_page(home):
    with build(options(home, public=True)) as app, running(app.site) as url, Connection.to_url(url) as client:
        with client.open("GET", "/api/v1/metadata/", headers={"origin": "http://a.example"}) as answer:
            assert answer.headers.get("access-control-allow-origin") == "*"
        with client.open("GET", "/") as answer:
            assert b"Holdfast" in answer.read()


def test_three_addresses_are_open(home):
    with build(options(home)) as app, running(app.site) as url, Connection.to_url(url) as stranger:
        assert stranger.get_json("/healthz") == {"status": "ok"}
        assert stranger.get_json("/api/v1/")["authentication"]["required"] is True
        for path in ("/metrics", "/openapi.json", "/", "/api/v1/search/", "/api/v1/assets/1"):
            with pytest.raises(AuthenticationError, match="HOLDFAST_API_KEY"):
                stranger.get_bytes(path)


def test_metrics_count_answers(home):
    with build(options(home, public=True)) as app, running(app.site) as url, Connection.to_url(url) as client:
        for _ in range(3):
            client.get_json("/healthz")
        with pytest.raises(NotFoundError):
            client.get_json("/nowhere")
        text = client.get_bytes("/metrics").decode()
    assert 'holdfast_requests_total{method="GET",status="200"} 3' in text
    assert 'holdfast_requests_total{method="GET",status="404"} 1' in text


def test_the_description_names_every_route(home):
    with build(options(home)) as app:
        local = Connection.to_site(app.site)
        described = local.get_json("/openapi.json")
        declared = {
            (mount.prefix + route.path.replace(":path", "").replace(":int", ""), route.method.lower())
            for mount in app.site.mounts
            for route in mount.routes
        }
    found = {(path, method) for path, item in described["paths"].items() for method in item}
    assert found == declared
    search = described["paths"]["/api/v1/search/{path}"]["get"]
    names = {parameter["name"] for parameter in search["parameters"]}
    assert {"path", "fields", "page[limit]", "page[cursor]", "sort", "select_metadata"} <= names
    assert "401" in search["responses"]
    assert json.dumps(described).count("#/components/schemas/Error") > 10


def test_a_face_that_is_not_there_is_named(home):
    with pytest.raises(InvalidInputError, match="catalog"):
        build(ServeOptions(directory=home, face="nonsense"))


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="missing"):
        build(options(tmp_path / "missing"))


def test_every_face_has_its_place():
    assert {face.name: (face.prefix, face.alone) for face in FACES} == {
        "catalog": ("/api/v1", "/api/v1"),
        "records": ("/records", ""),
        "store": ("/store", ""),
        "archive": ("/archive", ""),
        "analysis": ("/analysis", ""),
    }


def test_a_read_key_cannot_write(home):
    from holdfast.http.auth import key_hash, new_key
    from holdfast.http.request import Request

    with build(options(home)) as app:
        from holdfast.database import Database

        key = new_key()
        with Database(app.database) as database, database.transaction() as change:
            change.keys.add(key_hash(key), "read")
        scope = {"method": "GET", "path": "/", "headers": [(b"x-api-key", key.encode())]}
        assert app.site.access.admit(Request(scope), "read").scope == "read"
        with pytest.raises(ForbiddenError):
            app.site.access.admit(Request(scope), "write")
