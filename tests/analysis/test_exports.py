import json

import event_model
import pytest
from prov.model import ProvDocument
from rocrate.rocrate import ROCrate

from holdfast.errors import AlreadyExistsError, InvalidInputError, NotFoundError

KEYS = {"x": {"source": "fit", "dtype": "number", "shape": []}}


@pytest.fixture
def uid(client):
    software = {"name": "fit", "version": "1.2"}
    link = {"uri": "https://example.org/raw.h5", "digest": "sha256:" + "0" * 64, "rows": [0, 5]}
    provenance = {"software": software, "used": [link], "derived_from": ["earlier"], "free": {"n": 1}}
    with client.analysis(provenance=provenance, owner="Ada", group="optics", scan_id=7) as run:
        fit = run.stream("fit", data_keys=KEYS)
        fit.add(data={"x": 1.5}, timestamps={"x": 2.5})
        fit.add(data={"x": {"uri": "records/result"}})
    return run.uid


def test_prov_validates(client, uid):
    found = client.export_prov(uid)
    document = ProvDocument.deserialize(content=json.dumps(found), format="json")
    text = document.get_provn()
    for word in (
        "activity(",
        "used(",
        "wasGeneratedBy(",
        "wasAssociatedWith(",
        "wasInformedBy(",
        "Ada",
        "fit 1.2",
    ):
        assert word in text
    assert json.loads(json.dumps(found)) == found


def test_ro_crate_validates(client, uid, tmp_path):
    client.export_ro_crate(uid, tmp_path / "crate")
    crate = ROCrate(tmp_path / "crate")
    (action,) = [each for each in crate.get_entities() if each.type == "CreateAction"]
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert [each.id for each in action["object"]] == ["https://example.org/raw.h5"]
    names = {each.id for each in crate.data_entities}
    assert {"documents.jsonl", "https://example.org/raw.h5"} < names
    assert crate.dereference("https://example.org/raw.h5")["sha256"] == "0" * 64
    assert crate.root_dataset["datePublished"]
    crate.write(tmp_path / "again")
    assert (tmp_path / "again" / "documents.jsonl").read_bytes() == (
        tmp_path / "crate" / "documents.jsonl"
    ).read_bytes()
    with pytest.raises(AlreadyExistsError):
        client.export_ro_crate(uid, tmp_path / "crate")
    with pytest.raises(NotFoundError):
        client.export_ro_crate("nope", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_event_model_validates(client, uid):
    lines = [json.loads(line) for line in client.export_event_model(uid)]
    assert [name for name, _ in lines] == ["start", "descriptor", "event", "event", "stop"]
    validators = event_model.schema_validators
    for name, document in lines:
        validators[event_model.DocumentNames[name]].validate(document)
    assert lines[1][1]["name"] == "fit"
    assert [document["seq_num"] for name, document in lines if name == "event"] == [1, 2]


def test_strange_exit_status_becomes_fail_and_is_kept(client):
    uid = client.insert_analysis_header()
    client.insert_analysis_tail(uid, exit_status="half done")
    name, stop = list(client.documents(uid))[-1]
    assert (name, stop["exit_status"], stop["exit_status_original"]) == ("stop", "fail", "half done")


def run_of_bluesky():
    run = event_model.compose_run(metadata={"plan_name": "scan", "nested": {"a": [1, 2]}})
    yield "start", run.start_doc
    descriptor = run.compose_descriptor(name="primary", data_keys=KEYS)
    yield "descriptor", descriptor.descriptor_doc
    for number in range(4):
        yield "event", descriptor.compose_event(data={"x": number}, timestamps={"x": 1.0})
    events = [descriptor.compose_event(data={"x": number}, timestamps={"x": 1.0}) for number in range(3)]
    yield "event_page", event_model.pack_event_page(*events)
    yield "stop", run.compose_stop()


def test_documents_of_a_run_come_back_as_they_went_in(client):
    given = list(run_of_bluesky())
    for name, document in given:
        client.insert_document(name, document)
    uid = given[0][1]["uid"]
    found = list(client.documents(uid))
    expected = []
    for name, document in given:
        pages = event_model.unpack_event_page(document) if name == "event_page" else [document]
        expected += [
            ("event" if name == "event_page" else name, json.loads(json.dumps(each))) for each in pages
        ]
    assert found == expected
    for name, document in found:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(document)


@pytest.mark.parametrize(
    "name", ["resource", "datum", "datum_page", "stream_resource", "stream_datum", "nope"]
)
def test_documents_that_cannot_be_kept_are_refused_by_name(client, name):
    with pytest.raises(InvalidInputError, match=name):
        client.insert_document(name, {"uid": "x"})


def test_documents_of_an_unknown_header_are_not_found(client):
    with pytest.raises(NotFoundError):
        list(client.documents("nope"))
    with pytest.raises(NotFoundError):
        client.export_prov("nope")
