"""Records under kill at every system call, failing devices, full disks and power cuts: old or new, always."""

import contextlib
import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from crash.disks import cut_power, loop_disk, small_disk
from crash.kills import fail_everywhere, kill_everywhere
from crash.operations import Operation
from holdfast import files
from holdfast.errors import StorageFullError
from holdfast.records import Record

# Some thousand processes are started and killed: on a busy machine a case takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.privileged, pytest.mark.timeout(1800)]

PREPARE = """
import numpy as np
from pathlib import Path
from holdfast.records import Record
record = Record(directory)
{before}
"""

OLD = {"x": [1.0, 2.0], "rows": [[0, 0], [1, 1]], "tree/a": 1, "tree/b/c": "old"}


def start(place):
    """Return a directory with an array, rows in base and log, a tree and a file."""
    directory = Path(tempfile.mkdtemp(dir=place))
    with Record(directory) as record:
        record["x"] = OLD["x"]
        for row in OLD["rows"]:
            record.append("rows", row)
        record["tree"] = {"a": 1, "b": {"c": "old"}}
    (directory / "pic.jpg").write_bytes(b"jpeg")
    return directory


def state(directory):
    """Return all arrays, as a fresh process sees them."""
    record = Record(directory)
    found = {}

    def walk(inner, prefix):
        for key in inner:
            value = inner[key]
            if isinstance(value, Record):
                walk(value, f"{prefix}{key}/")
            elif not isinstance(value, Path):
                found[prefix + key] = np.asarray(value).tolist()

    walk(record, "")
    return found


CASES = {
    "overwrite": ("record['x'] = [3.0, 4.0]", {"x": [3.0, 4.0]}, ""),
    "write large": ("record['x'] = np.arange(2e5)", {"x": np.arange(2e5).tolist()}, ""),
    "write new": ("record['new/deep'] = 5", {"new/deep": 5}, ""),
    "append": ("record.append('rows', [2, 2])", {"rows": [[0, 0], [1, 1], [2, 2]]}, ""),
    "append again": (
        "record.append('rows', [3, 3])",
        {"rows": [[0, 0], [1, 1], [2, 2], [3, 3]]},
        "record.append('rows', [2, 2])",
    ),
    "append first": ("record.append('new/rows', 1)", {"new/rows": [1]}, ""),
    "append to written": ("record.append('x', 3.0)", {"x": [1.0, 2.0, 3.0]}, ""),
    "extend": ("record.extend('rows', [[2, 2], [3, 3]])", {"rows": [[0, 0], [1, 1], [2, 2], [3, 3]]}, ""),
    "compact": ("record.compact('rows')", {}, ""),
    "overwrite rows": ("record['rows'] = [[9, 9]]", {"rows": [[9, 9]]}, ""),
    "delete array": ("del record['rows']", {"rows": None}, ""),
    "delete tree": ("del record['tree']", {"tree/a": None, "tree/b/c": None}, ""),
    "replace tree": ("record['tree'] = {'n': 7}", {"tree/a": None, "tree/b/c": None, "tree/n": 7}, ""),
    "copy": ("record['copy'] = record['tree']", {"copy/a": 1, "copy/b/c": "old"}, ""),
    "array over tree": ("record['tree'] = [5]", {"tree/a": None, "tree/b/c": None, "tree": [5]}, ""),
    "tree over array": ("record['x'] = {'in': 6}", {"x": None, "x/in": 6}, ""),
    "transaction": (
        "with record.transaction():\n    record['x'] = 8\n    record['t/y'] = 9\n    del record['tree/a']\n"
        "    record.append('rows', [2, 2])",
        {"x": 8, "t/y": 9, "tree/a": None, "rows": [[0, 0], [1, 1], [2, 2]]},
        "",
    ),
    "copy file": ("record['new.jpg'] = directory / 'pic.jpg'", {}, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_system_call_it_is_old_or_new(tmp_path, case):
    body, changes, before = CASES[case]
    old = dict(OLD)
    if before:
        old["rows"] = [[0, 0], [1, 1], [2, 2]]
    new = {key: value for key, value in (old | changes).items() if value is not None}

    def verify(directory, outcome):
        found = state(directory)
        assert found in ([new] if outcome.acks else [old, new]), (outcome, found)
        record = Record(directory)
        assert record.check().ok
        for path in directory.rglob("[!_]*.h5"):
            with h5py.File(path) as file:
                assert file["data"] is not None
        # The next process just works, also on the entries that were at stake.
        record["x"] = 1
        record["after"] = 2
        record.append("after/rows" if "after/rows" in record else "afterwards", 3)
        record.compact()
        del record["x"]
        files.sweep(directory, recursive=True, older_than_s=0)
        left = [path for path in directory.rglob("*") if files.is_temporary(path.name)]
        assert left == []

    operation = Operation(f"{body}\nack('done')", PREPARE.format(before=before))
    kills = kill_everywhere(operation, lambda: start(tmp_path), verify)
    assert kills >= 5


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("case", ["overwrite", "append", "append first", "compact", "transaction"])
def test_a_failing_device_leaves_the_old_and_is_named(tmp_path, case, error):
    body, changes, before = CASES[case]
    new = {key: value for key, value in (OLD | changes).items() if value is not None}

    def verify(directory, outcome):
        found = state(directory)
        assert found in ([new] if outcome.acks else [OLD, new]), (outcome, found)
        if outcome.code:
            assert "holdfast.errors." in outcome.error
        Record(directory)["x"] = 1

    operation = Operation(f"{body}\nack('done')", PREPARE.format(before=before))
    fail_everywhere(
        operation, lambda: start(tmp_path), verify, ["fsync", "fdatasync", "pwrite64", "write"], error
    )


APPENDING = Operation(
    "for number in range(10**6):\n    record.append('rows', [number, number])\n    ack(number)\n"
    "    if number % 7 == 6: record.compact('rows')\n",
    "from holdfast.records import Record\nrecord = Record(directory / 'record')",
)
OVERWRITING = Operation(
    "for number in range(10**6):\n    record['x'] = np.full(3000, number)\n    ack(number)\n",
    "import numpy as np\nfrom holdfast.records import Record\nrecord = Record(directory / 'record')",
)
TRANSACTIONS = Operation(
    "for number in range(10**6):\n    with record.transaction():\n        record['a'] = number\n"
    "        record['d'] = {'b': number}\n    ack(number)\n",
    "from holdfast.records import Record\nrecord = Record(directory / 'record')",
)


def check_rows(directory, outcome):
    record = Record(directory / "record")
    rows = record["rows"].tolist()
    assert rows == [[number, number] for number in range(len(rows))]
    assert len(rows) >= len(outcome.acks)
    assert record.append("rows", [-1, -1]) == len(rows)
    record.compact()
    assert len(record["rows"]) == len(rows) + 1


def check_overwritten(directory, outcome):
    found = Record(directory / "record")["x"]
    assert len(set(found.tolist())) == 1
    assert found[0] >= int(outcome.acks[-1])


def check_transactions(directory, outcome):
    record = Record(directory / "record")
    assert record["a"] == record["d/b"] >= int(outcome.acks[-1])


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize(
    ("operation", "verify"),
    [(APPENDING, check_rows), (OVERWRITING, check_overwritten), (TRANSACTIONS, check_transactions)],
    ids=["append", "overwrite", "transaction"],
)
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path, kind, flush, operation, verify):
    for acks in (3, 9, 17):
        place = tmp_path / str(acks)
        place.mkdir()
        with loop_disk(place, kind) as disk:
            cut_power(disk, operation, verify, acks=acks, flush_journal=flush)


def test_a_full_disk_keeps_all_rows_and_goes_on_when_there_is_room(tmp_path):
    with small_disk(tmp_path, "4m") as place:
        record = Record(place / "record")
        filler = place / "filler"
        record.append("rows", np.zeros(128))
        filler.write_bytes(bytes(3 * 2**20))
        count = 1
        with contextlib.suppress(StorageFullError):
            while count < 5000:
                record.append("rows", np.full(128, float(count)))
                count += 1
        assert 10 < count < 5000
        for action in (lambda: record.compact("rows"), lambda: record.__setitem__("rows", np.zeros(10**6))):
            with pytest.raises(StorageFullError):
                action()
        assert [int(row[0]) for row in record["rows"]] == list(range(count))
        filler.unlink()
        assert record.append("rows", np.full(128, float(count))) == count
        record.compact()
        assert [int(row[0]) for row in record["rows"]] == list(range(count + 1))
        assert not [path for path in os.listdir(record.path) if files.is_temporary(path)]


def test_a_read_only_disk_is_read_and_named(tmp_path):
    with loop_disk(tmp_path) as disk:
        record = Record(disk.path / "record")
        record["x"] = [1, 2]
        record.append("x", 3)
        record.close()
        del record
        disk.remount("ro")
        record = Record(disk.path / "record")
        assert record["x"].tolist() == [1, 2, 3]
        assert record.check().ok
        for action in (
            lambda: record.__setitem__("x", 1),
            lambda: record.__delitem__("x"),
            lambda: record.append("x", 4),
            record.compact,
        ):
            with pytest.raises(PermissionError, match="read-only"):
                action()
        disk.remount("rw")
