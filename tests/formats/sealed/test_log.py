"""Rows appended to a sealed file: exactly once, never torn, never lost unnoticed."""

import multiprocessing
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from holdfast.errors import HashError, InvalidTypeError
from holdfast.formats.sealed import (
    Appends,
    as_rows,
    compact,
    delete,
    key_bytes,
    log_path,
    open_sealed,
    prepare,
    write,
)
from holdfast.formats.sealed import fold as folding
from holdfast.formats.sealed import tail as tails
from holdfast.formats.sealed.keys import KEPT_KEYS, KeyIndex
from holdfast.formats.sealed.log import MARK_OFFSET, PAGE_BYTES, SLOT_OFFSETS


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "entry.h5")


def item(value):
    return as_rows(prepare(value), is_item=True)


def rows(value):
    return as_rows(prepare(value), is_item=False)


def append_items(path, values, durability="os"):
    appends = Appends(durability)
    first = [appends.append(path, "x", item(value)) for value in values]
    appends.close()
    return first


def log_of(path):
    return log_path(path, open_sealed(path).base.facts.uid)


@pytest.mark.parametrize("durability", ["sync", "group", "os"])
def test_items_become_rows_in_order(path, durability):
    assert append_items(path, np.arange(30.0).reshape(10, 3), durability) == list(range(10))
    assert np.array_equal(open_sealed(path).read(), np.arange(30.0).reshape(10, 3))


def test_extending_adds_all_rows_in_one_step(path):
    appends = Appends("os")
    assert appends.append(path, "x", rows(np.arange(3))) == 0
    assert appends.append(path, "x", rows(np.arange(3, 7))) == 3
    assert open_sealed(path).read().tolist() == list(range(7))
    with pytest.raises(InvalidTypeError):
        rows(np.float64(1))


def test_plain_h5py_sees_a_prefix_at_every_moment_and_all_after_compact(path):
    append_items(path, range(5))
    with h5py.File(path) as file:
        assert file["data"][()].tolist() == [0]
    assert compact(path, "x")
    with h5py.File(path) as file:
        assert file["data"][()].tolist() == list(range(5))
    assert os.listdir(os.path.dirname(path)) == ["entry.h5"]
    assert not compact(path, "x")


def test_rows_of_strings_come_back_before_and_after_compact(path):
    texts = ["a", "", "ééé", "x" * 5000]
    append_items(path, texts)
    for _ in range(2):
        assert open_sealed(path).read().tolist() == texts
        assert open_sealed(path)[1:3].tolist() == texts[1:3]
        compact(path, "x")
    append_items(path, ["more"])
    assert open_sealed(path)[-1] == "more"


def test_slices_span_base_and_log(path):
    array = np.arange(400).reshape(20, 4, 5)
    write(path, "x", prepare(array[:7]), "os")
    appends = Appends("os")
    for start in range(7, 20, 3):
        appends.append(path, "x", rows(array[start : start + 3]))
    with open_sealed(path) as view:
        for index in [
            np.s_[:],
            np.s_[5:9],
            np.s_[8:9],
            np.s_[::-3],
            np.s_[9:15:2, 1, ::-1],
            np.s_[-1],
            np.s_[6],
        ]:
            assert np.array_equal(view[index], array[index])
        assert np.array_equal(np.concatenate(list(view.slabs(300))), array)
        view.verify()


@pytest.mark.parametrize(
    "value",
    [np.zeros(3), np.zeros(2, "f4"), np.zeros(2, complex), "text", np.zeros((1, 2)), np.zeros(2, ">i4"), 1.5],
)
def test_rows_that_do_not_fit_change_nothing(path, value):
    append_items(path, [np.zeros(2)])
    size = os.path.getsize(log_of(path))
    with pytest.raises(InvalidTypeError, match="unchanged"):
        append_items(path, [value])
    assert os.path.getsize(log_of(path)) == size
    assert open_sealed(path).shape == (1, 2)


def test_python_numbers_take_the_type_of_the_rows(path):
    append_items(path, [1.5, 2])
    assert open_sealed(path).read().tolist() == [1.5, 2.0]
    other = path.replace("entry", "other")
    append_items(other, [np.int16(1), 2])
    assert open_sealed(other).dtype == np.int16
    for wrong in (70_000, 1.5, 1j):
        with pytest.raises(InvalidTypeError):
            append_items(other, [wrong])


def test_same_order_of_bytes_is_no_difference(path):
    append_items(path, [np.array([1, 2], "<i4"), np.array([3, 4], ">i4")])
    assert open_sealed(path).read().tolist() == [[1, 2], [3, 4]]


def test_a_single_value_takes_no_rows(path):
    write(path, "x", prepare(5), "os")
    with pytest.raises(InvalidTypeError, match="single value"):
        append_items(path, [1])


def test_appending_after_overwrite_goes_to_the_new_array(path):
    appends = Appends("os")
    for value in range(3):
        appends.append(path, "x", item(value))
    write(path, "x", prepare(np.array([9])), "os")
    assert appends.append(path, "x", item(10)) == 1
    assert open_sealed(path).read().tolist() == [9, 10]
    delete(path)
    assert os.listdir(os.path.dirname(path)) == []
    assert appends.append(path, "x", item(1)) == 0


def test_views_keep_what_they_opened(path):
    append_items(path, range(4))
    view = open_sealed(path)
    write(path, "x", prepare(np.zeros(9)), "os")
    assert view.read().tolist() == [0, 1, 2, 3]


def test_a_key_that_is_remembered_changes_nothing(path):
    appends = Appends("os")
    firsts = [appends.append(path, "x", item(value), key_bytes(str(value % 4))) for value in range(12)]
    assert firsts == [0, 1, 2, 3] * 3
    compact(path, "x")
    assert Appends("os").append(path, "x", item(7), key_bytes("2")) == 2
    appends.append(path, "x", item(4), key_bytes("new"))
    compact(path, "x")
    assert Appends("os").append(path, "x", item(7), key_bytes("new")) == 4
    assert open_sealed(path).read().tolist() == [0, 1, 2, 3, 4]


def test_the_last_ten_thousand_keys_are_kept():
    index = KeyIndex()
    for number in range(KEPT_KEYS + 5):
        index.add(key_bytes(str(number)), number, 1)
    kept = KeyIndex.from_bytes(index.to_bytes())
    assert kept.get(key_bytes("4")) is None
    assert kept.get(key_bytes("5")) == 5
    assert kept.get(key_bytes(str(KEPT_KEYS + 4))) == KEPT_KEYS + 4


def test_a_heavy_log_is_folded_by_itself(path, monkeypatch):
    monkeypatch.setattr(folding, "_FOLD_BYTES", 100_000)
    append_items(path, np.arange(100))
    view = open_sealed(path)
    assert len(view.frames) < 10
    assert view.read().tolist() == list(range(100))


def test_a_large_base_gets_a_log_without_being_written_again(path, monkeypatch):
    monkeypatch.setattr(folding, "_REPUBLISH_BYTES", 1000)
    write(path, "x", prepare(np.arange(1000)), "os")
    inode = os.stat(path).st_ino
    append_items(path, [1000, 1001])
    assert os.stat(path).st_ino == inode
    assert np.array_equal(open_sealed(path).read(), np.arange(1002))


def test_a_missing_log_is_noticed(path):
    append_items(path, range(3))
    os.unlink(log_of(path))
    with pytest.raises(HashError, match=r"missing.*adopt"):
        open_sealed(path)
    with pytest.raises(HashError):
        append_items(path, [3])


def test_a_torn_tail_is_not_there_and_is_cut_off_by_the_next_append(path):
    append_items(path, range(4), "os")
    log = log_of(path)
    whole = Path(log).read_bytes()
    for missing in (1, 8, 9, 75):
        Path(log).write_bytes(whole[:-missing])
        assert open_sealed(path).read().tolist() == [0, 1, 2]
    append_items(path, [3])
    assert open_sealed(path).read().tolist() == [0, 1, 2, 3]


def test_a_bad_whole_frame_of_this_boot_is_damage(path):
    append_items(path, range(3), "sync")
    with open(log_of(path), "ab") as file:
        file.write(b"x" * 80)
    with pytest.raises(HashError, match="frame"):
        open_sealed(path)
    with pytest.raises(HashError):
        append_items(path, [3])


def test_a_bad_frame_of_an_earlier_boot_is_a_remnant_of_a_power_cut(path, monkeypatch):
    append_items(path, range(3), "sync")
    with open(log_of(path), "ab") as file:
        file.write(b"x" * 80)
    from holdfast.formats.sealed import log as logs

    monkeypatch.setattr(logs, "this_boot", lambda: b"another boot ...")
    assert open_sealed(path).read().tolist() == [0, 1, 2]
    append_items(path, [3])
    assert open_sealed(path).read().tolist() == [0, 1, 2, 3]


def test_a_log_cut_below_its_commit_is_damage(path):
    append_items(path, range(3), "sync")
    log = log_of(path)
    whole = Path(log).read_bytes()
    for size in (PAGE_BYTES, len(whole) - 76, len(whole) - 1, 10, 0):
        Path(log).write_bytes(whole[:size])
        with pytest.raises(HashError):
            open_sealed(path)


def test_one_damaged_commit_slot_is_no_harm_and_two_are(path):
    append_items(path, range(3), "sync")
    log = log_of(path)
    whole = bytearray(Path(log).read_bytes())
    whole[SLOT_OFFSETS[0] + 3] ^= 1
    Path(log).write_bytes(whole)
    assert open_sealed(path).read().tolist() == [0, 1, 2]
    whole[SLOT_OFFSETS[1] + 3] ^= 1
    Path(log).write_bytes(whole)
    with pytest.raises(HashError, match="commit slots"):
        open_sealed(path)


@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flip_of_a_log_gives_a_wrong_number(path, step):
    append_items(path, np.arange(12).reshape(4, 3), "sync")
    log = log_of(path)
    good = Path(log).read_bytes()
    # The zeros between header, slots and frames say nothing and are not looked at.
    told = [*range(88), *range(512, 592), *range(1024, 1104), *range(PAGE_BYTES, len(good))]
    errors = 0
    for byte in told:
        for bit in range(byte % step, 8, step) if step > 1 else range(8):
            data = bytearray(good)
            data[byte] ^= 1 << bit
            Path(log).write_bytes(data)
            try:
                assert np.array_equal(open_sealed(path).read(), np.arange(12).reshape(4, 3))
            except HashError:
                errors += 1
    assert errors > 40


def test_large_frames_are_read_apart(path, monkeypatch):
    monkeypatch.setattr(tails, "_WINDOW_BYTES", 1000)
    array = np.arange(3000).reshape(3, 1000)
    append_items(path, [array[0]])
    append_items(path, array[1:])
    assert np.array_equal(open_sealed(path).read(), array)
    assert np.array_equal(open_sealed(path)[1:, 5:9], array[1:, 5:9])


def _append_many(path, worker, count, durability):
    appends = Appends(durability)
    for number in range(count):
        appends.append(path, "x", item(np.array([worker, number])))
    appends.close()


@pytest.mark.parametrize("durability", ["group", "sync"])
def test_processes_append_together_and_lose_nothing(path, durability):
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_append_many, args=(path, worker, 60, durability)) for worker in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        compact(path, "x") if os.path.exists(path) else None
    assert [worker.exitcode for worker in workers] == [0] * 4
    found = open_sealed(path).read().tolist()
    assert sorted(found) == [[worker, number] for worker in range(4) for number in range(60)]
    for worker in range(4):
        assert [number for who, number in found if who == worker] == list(range(60))


def test_appenders_are_not_shared_with_a_forked_child(path):
    appends = Appends("os")
    appends.append(path, "x", item(1))
    pid = os.fork()
    if pid == 0:
        appends.append(path, "x", item(2))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    appends.append(path, "x", item(3))
    assert open_sealed(path).read().tolist() == [1, 2, 3]


def keyed(appends, path, value):
    return appends.append(path, "x", item(value), key_bytes(str(value)))


def test_several_appenders_take_turns_and_know_each_others_keys(path):
    several = [Appends("os") for _ in range(3)]
    for value in range(30):
        assert keyed(several[value % 3], path, value) == value
    for value in range(30):
        assert keyed(several[(value + 1) % 3], path, value) == value
    assert open_sealed(path).read().tolist() == list(range(30))


@pytest.mark.parametrize("old_turns", [0, 1, 5])
def test_a_mark_that_a_killed_appender_left_behind_is_passed(path, old_turns):
    one, other = Appends("os"), Appends("os")
    keyed(one, path, 0)
    keyed(other, path, 1)
    log = Path(log_of(path))
    for value in range(2, 2 + old_turns):
        keyed(one, path, value)
    mark = log.read_bytes()[MARK_OFFSET : MARK_OFFSET + 32]
    keyed(one, path, 7)
    with open(log, "r+b") as file:
        file.seek(MARK_OFFSET)
        file.write(mark)
    assert keyed(other, path, 8) == 3 + old_turns
    assert keyed(one, path, 9) == 4 + old_turns
    assert open_sealed(path).read().tolist() == [*range(2 + old_turns), 7, 8, 9]


def test_a_damaged_mark_is_no_harm(path):
    one, other = Appends("os"), Appends("os")
    keyed(one, path, 0)
    keyed(other, path, 1)
    log = Path(log_of(path))
    for bit in range(28 * 8):
        keyed(one, path, 2 * bit + 2)
        whole = bytearray(log.read_bytes())
        whole[MARK_OFFSET + bit // 8] ^= 1 << bit % 8
        with open(log, "r+b") as file:
            file.write(whole[:PAGE_BYTES])
        assert keyed(other, path, 2 * bit + 3) == 2 * bit + 3
    assert open_sealed(path).read().tolist() == list(range(2 + 2 * 28 * 8))


def test_a_mark_of_frames_that_a_power_cut_took_is_not_believed(path, monkeypatch):
    one = Appends("sync")
    keyed(one, path, 0)
    keyed(one, path, 1)
    log = Path(log_of(path))
    before = log.read_bytes()
    keyed(one, path, 2)
    page = log.read_bytes()[:PAGE_BYTES]
    slots = before[SLOT_OFFSETS[0] : MARK_OFFSET]
    log.write_bytes(page[: SLOT_OFFSETS[0]] + slots + page[MARK_OFFSET:] + before[PAGE_BYTES:])
    from holdfast.formats.sealed import log as logs

    monkeypatch.setattr(logs, "this_boot", lambda: b"another boot ...")
    several = [Appends("sync"), Appends("sync")]
    for value in range(2, 8):
        assert keyed(several[value % 2], path, value) == value
    assert open_sealed(path).read().tolist() == list(range(8))
