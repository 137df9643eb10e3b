"""The README's examples run as they stand."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_other_faces_work_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("scan.h5").write_bytes(b"frames")
    Path("posterior.h5").write_bytes(b"samples")
    (example,) = [block for block in blocks("python") if "hf.Record" in block]
    names = {}
    exec(example, names)
    assert names["record"]["rows"].tolist() == [[0, 1, 2]]
    assert (names["record"]["a"], names["record"]["b"]) == (1, 2)
    assert names["archive"].check(head=names["head"]).ok
    assert "used by" in capsys.readouterr().out
    names["archive"].close()
    names["client"].close()


def test_two_commands_are_there_once_each():
    for word in ("holdfast demo", "pytest"):
        assert len([block for block in blocks("sh") if word in block]) == 1
