"""The unmodified cmdgraph on our directories, and ours on what it wrote.

The released version names arrays with their suffix (``x.h5``); directories and files are the same.
"""

import numpy as np
import pytest

from holdfast.records import Record

pytestmark = pytest.mark.originals


@pytest.fixture
def ask(original):
    conversation = original("cmdgraph-0.1.2")
    conversation("import cmdgraph as cg, numpy as np; 1")
    return conversation


def test_the_original_reads_what_we_wrote_and_appended(ask, tmp_path):
    record = Record(tmp_path / "ours")
    record["a/x"] = np.arange(6.0).reshape(2, 3)
    record["flags"] = np.array([True, False])
    record["none"] = np.zeros((0, 2))
    for row in range(3):
        record.append("rows", row)
    ask(f"theirs = cg.Record({str(record.path)!r}); 1")
    assert ask("theirs['a/x.h5'].tolist()") == [[0, 1, 2], [3, 4, 5]]
    assert ask("theirs['flags.h5'].tolist()") == [True, False]
    assert ask("list(theirs['none.h5'].shape)") == [0, 2]
    assert ask("theirs['rows.h5'].tolist()") == [0]
    assert ask("sorted(theirs)") == ["a", "flags.h5", "none.h5", "rows.h5"]
    record.compact()
    assert ask("theirs['rows.h5'].tolist()") == [0, 1, 2]


def test_we_read_append_to_and_adopt_what_the_original_wrote(ask, tmp_path):
    path = tmp_path / "theirs"
    ask(f"theirs = cg.Record({str(path)!r}); theirs['a/x.h5'] = np.arange(4.); 1")
    ask("[theirs.append('a/rows.h5', np.array([n, n])) for n in range(3)]; del theirs; 1")
    record = Record(path)
    assert list(record["a"]) == ["rows", "x"]
    assert record["a/x"].tolist() == [0, 1, 2, 3]
    assert record["a/rows"].tolist() == [[0, 0], [1, 1], [2, 2]]
    with record.open("a/x") as view:
        assert not view.sealed
    record.append("a/x", 4.0)
    assert record["a/x"].tolist() == [0, 1, 2, 3, 4]
    assert record.append("a/rows", np.array([3, 3])) == 3
    assert record.check().ok


def test_command_metadata_of_the_original_is_read(ask, tmp_path):
    path = tmp_path / "made" / "tom"
    ask(
        "class Warp(cg.Command):\n"
        f"    output_path = {str(path)!r}\n"
        "    def run(self): self.output['result.h5'] = np.arange(3)\n"
        "Warp(name='tom')()\n"
        "1"
    )
    record = Record(path)
    assert record.cmd_status == "done"
    assert record.cmd_spec["name"] == "tom"
    assert record["result"].tolist() == [0, 1, 2]
