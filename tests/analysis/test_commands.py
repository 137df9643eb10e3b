import json

import pytest

from holdfast.analysis import LocalAnalysisClient
from holdfast.cli import run

KEYS = {"x": {"source": "fit", "dtype": "number", "shape": []}}
KEY = "f00d" * 16


@pytest.fixture(params=["directory", "url"])
def target(request, lab):
    with LocalAnalysisClient(lab) as client:
        client.insert_analysis_header("old", 1.0, {"used": ["records/raw"]}, owner="Ada")
        with client.analysis(
            provenance={"software": {"name": "fit", "version": "1"}, "derived_from": ["old"]}
        ) as analysis:
            analysis.stream("fit", KEYS).add({"x": 1.5})

    return str(lab) if request.param == "directory" else request.getfixturevalue("url")


@pytest.fixture
def say(capsys, monkeypatch):
    monkeypatch.setenv("HOLDFAST_API_KEY", KEY)

    def say(*arguments):
        code = run(["analysis", *arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return say


def test_analyses_are_listed_newest_first(target, say):
    code, out, _ = say("ls", target)
    assert code == 0
    first, second = out.splitlines()
    assert "success" in first
    assert "fit 1" in first
    assert second.split("\t")[0] == "old"
    assert "unfinished" in second
    listed = json.loads(say("ls", target, "--json", "--limit", "1")[1])
    assert [each["status"] for each in listed] == ["success"]


def test_documents_are_shown_and_found(target, say):
    assert json.loads(say("show", target, "old", "--json")[1])["kind"] == "analysis_header"
    assert "Ada" in say("show", target, "old")[1]
    assert json.loads(say("find", target, '{"owner": "Ada"}', "--json")[1])[0]["uid"] == "old"
    assert say("find", target, "{}", "--kind", "data_reference", "--count")[1] == "1\n"
    assert say("find", target, "{}", "--sort", "time")[1].startswith("old")


def test_analysis_is_drawn_as_a_tree(target, say):
    uid = json.loads(say("ls", target, "--json")[1])[0]["uid"]
    out = say("tree", target, uid)[1]
    assert "├─ stream fit  1 references  x" in out
    assert "└─ tail success" in out
    assert json.loads(say("tree", target, uid, "--json")[1])["streams"][0]["references"] == 1
    assert "(nothing yet)" in say("tree", target, "old")[1]


def test_lineage_is_drawn_both_ways(target, say):
    uid = json.loads(say("ls", target, "--json")[1])[0]["uid"]
    assert "used holdfast:" in say("lineage", target, uid)[1]
    assert "basis of" in say("lineage", target, "records/raw", "--downstream")[1]
    assert json.loads(say("lineage", target, uid, "--json")[1])["direction"] == "upstream"


def test_exports_are_written(target, say, tmp_path):
    uid = json.loads(say("ls", target, "--json")[1])[0]["uid"]
    assert say("export", target, uid, "--prov", "-o", str(tmp_path / "a.json"))[0] == 0
    assert "activity" in json.loads((tmp_path / "a.json").read_text())
    assert say("export", target, uid, "--ro-crate", str(tmp_path / "crate"))[0] == 0
    assert (tmp_path / "crate" / "ro-crate-metadata.json").exists()
    assert json.loads(say("export", target, uid, "--event-model")[1].splitlines()[0])[0] == "start"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "{}", "nope"), 3, "nope"),
        (("tree", "{}", "nope"), 3, "nope"),
        (("find", "{}", "not json"), 2, "JSON"),
        (("find", "{}", "[]"), 2, "object"),
        (("find", "{}", '{"$where": "1"}'), 2, "$where"),
        (("find", "{}", "--kind", "nope"), 3, "nope"),
        (("export", "{}", "old"), 2, "--prov"),
        (("ls", "/does/not/exist"), 3, "/does/not/exist"),
        (("ls", "http://127.0.0.1:9"), 1, "no server answers"),
    ],
)
def test_failures_have_their_exit_code(target, say, arguments, code, words):
    found, _, err = say(*(target if each == "{}" else each for each in arguments))
    assert found == code
    assert words in err


def test_directory_without_documents_is_not_touched(say, tmp_path):
    assert say("ls", str(tmp_path))[0] == 5
    assert list(tmp_path.iterdir()) == []
