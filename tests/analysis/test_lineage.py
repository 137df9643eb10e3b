import hashlib
import json

import pytest

from holdfast.analysis import LocalAnalysisClient
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.hashing import hash_bytes

KEYS = {"x": {"source": "fit", "dtype": "number", "shape": []}}


@pytest.fixture
def raw(lab):
    (lab / "runs").mkdir()
    path = lab / "runs" / "a b.h5"
    path.write_bytes(b"raw")
    return path


def fill(client, raw):
    """raw -> reduce -> reduced; reduced -> fit (derived from reduce) -> a record entry, as data."""
    digest = str(hash_bytes(b"raw"))
    used, generated = [{"uri": str(raw), "digest": digest}], [{"uri": "records/reduced"}]
    reduce = client.insert_analysis_header("reduce", 1.0, {"used": used, "generated": generated})
    fit = client.insert_analysis_header(
        "fit", 2.0, {"used": ["records/reduced", "https://example.org/x"], "derived_from": [reduce]}
    )
    stream = client.insert_data_reference_header(fit, "stream", data_keys=KEYS)
    client.insert_data_reference(stream, "ref", data={"x": {"uri": "records/result", "rows": [0, 5]}})
    return digest


def named(uri):
    return uri.partition("/")[2] if uri.startswith("holdfast:") else uri


def names(graph):
    return [named(node.uri) for node in graph.nodes]


def edges(graph):
    return {(named(edge.source), edge.relation, named(edge.target)) for edge in graph.edges}


def test_upstream_leads_to_the_raw_file(client, raw):
    fill(client, raw)
    graph = client.lineage("fit")
    assert set(names(graph)) == {
        "analysis/fit", "records/reduced", "https://example.org/x", "analysis/reduce",
        "catalog/runs/a%20b.h5",
    }  # fmt: skip
    assert edges(graph) == {
        ("analysis/fit", "used", "records/reduced"),
        ("analysis/fit", "used", "https://example.org/x"),
        ("analysis/fit", "derived_from", "analysis/reduce"),
        ("analysis/reduce", "generated", "records/reduced"),
        ("analysis/reduce", "used", "catalog/runs/a%20b.h5"),
    }
    assert names(graph)[0] == "analysis/fit"


def test_downstream_of_a_file_tells_which_analyses_used_it(client, raw):
    fill(client, raw)
    graph = client.lineage(str(raw), direction="downstream")
    assert set(names(graph)) == {
        "catalog/runs/a%20b.h5", "analysis/reduce", "records/reduced", "analysis/fit", "records/result",
    }  # fmt: skip
    assert ("analysis/reduce", "used", "catalog/runs/a%20b.h5") in edges(graph)
    assert client.lineage("ref").root == client.lineage("stream").root == client.lineage("fit").root


def test_digest_that_no_longer_matches_is_said(client, raw):
    digest = fill(client, raw)

    def state():
        return {named(node.uri): (node.state, node.digest) for node in client.lineage("fit").nodes}

    assert state()["catalog/runs/a%20b.h5"] == ("unchanged", digest)
    raw.write_bytes(b"other")
    assert state()["catalog/runs/a%20b.h5"] == ("changed", digest)
    raw.unlink()
    assert state()["catalog/runs/a%20b.h5"] == ("missing", digest)
    assert state()["https://example.org/x"] == ("unverified", None)


@pytest.mark.parametrize(
    ("uri", "path"),
    [("records/run/1", "run/1.h5"), ("store/k", "k.data"), ("archive/e/p/f", "e/p/f"), ("catalog/c", "c")],
)
def test_objects_of_every_face_are_compared(client, lab, uri, path):
    (lab / path).parent.mkdir(parents=True, exist_ok=True)
    (lab / path).write_bytes(b"x")
    links = [{"uri": uri, "digest": f"sha256:{hashlib.sha256(b'x').hexdigest()}"}]
    client.insert_analysis_header("a", provenance={"used": links})

    def state():
        return client.lineage("a").nodes[1].state

    assert state() == "unchanged"
    (lab / path).write_bytes(b"y")
    assert state() == "changed"
    (lab / path).unlink()
    assert state() == "missing"


@pytest.mark.parametrize("name", ["", "/..%2Fsecret", "/%2E%2E/secret", "/link", "/.holdfast/catalog.db"])
def test_names_that_lead_outside_are_not_looked_at(client, lab, tmp_path, name):
    (tmp_path / "secret").write_bytes(b"x")
    (lab / "link").symlink_to(tmp_path / "secret")
    client.insert_analysis_header("b", provenance={"used": ["records/x"]})
    uid = client.lineage("b").root.partition(":")[2].partition("/")[0]
    link = {"uri": f"holdfast:{uid}/catalog{name}", "digest": str(hash_bytes(b"x"))}
    client.insert_analysis_header("a", provenance={"used": [link]})
    assert client.lineage("a").nodes[1].state == "unverified"


def test_links_are_kept_as_object_names(client, raw):
    fill(client, raw)
    (header,) = client.find_analysis_header(uid="reduce")
    (link,) = header["provenance"]["used"]
    assert link["uri"].startswith("holdfast:")
    assert link["uri"].endswith("/catalog/runs/a%20b.h5")
    (reference,) = client.find_data_reference()
    assert reference["data"]["x"]["uri"].endswith("/records/result")


def test_lineage_is_drawn_and_written(client, raw):
    fill(client, raw)
    graph = client.lineage("fit")
    tree = graph.tree().splitlines()
    assert tree[0].endswith("/analysis/fit  analysis  unchanged")
    assert any("derived from" in line for line in tree)
    assert any("generated by" in line for line in tree)
    assert json.loads(json.dumps(graph.to_dict()))["edges"][0].keys() == {"from", "to", "relation"}


def test_unknown_start_and_direction_are_refused(client):
    client.insert_analysis_header("a")
    with pytest.raises(NotFoundError, match="nope"):
        client.lineage("nope")
    with pytest.raises(InvalidInputError, match="sideways"):
        client.lineage("a", direction="sideways")


def test_circles_end(local):
    local.insert_analysis_header(
        "a", provenance={"used": ["records/x"], "generated": ["records/x"], "derived_from": ["a"]}
    )
    assert len(local.lineage("a").nodes) == 2
    assert "(see above)" in local.lineage("a").tree()


def test_server_does_not_look_at_files_outside_its_directory(remote, lab, tmp_path):
    outside = tmp_path / "secret"
    outside.write_bytes(b"x")
    link = {"uri": str(outside), "digest": str(hash_bytes(b"x"))}
    remote.insert_analysis_header("a", provenance={"used": [link]})
    states = {node.uri: node.state for node in remote.lineage("a").nodes}
    assert states[outside.as_uri()] == "unverified"
    with LocalAnalysisClient(lab) as local:
        assert {node.uri: node.state for node in local.lineage("a").nodes}[outside.as_uri()] == "unchanged"
