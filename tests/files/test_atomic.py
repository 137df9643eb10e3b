"""Whole files appear in one step or not at all."""

import contextlib
import os
import stat
import tempfile
import threading

import pytest

from holdfast import files
from holdfast.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from holdfast.files import AtomicWriter, open_atomic, reserve, write_atomic
from holdfast.files.kernel import statfs_type

TMPFS = 0x01021994


@pytest.fixture(params=["nameless", "named"])
def kind(request, monkeypatch):
    """Both ways of making a temporary: without a name (Linux), with one (elsewhere)."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return request.param


def test_written_file_has_its_content_and_nothing_else_is_left(tmp_path, kind):
    write_atomic(tmp_path / "a", [b"one ", bytearray(b"two "), memoryview(b"three")])
    assert (tmp_path / "a").read_bytes() == b"one two three"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("durability", ["sync", "group", "os"])
def test_every_durability_replaces_the_old_content(tmp_path, kind, durability):
    for content in (b"old", b"new"):
        write_atomic(tmp_path / "a", content, durability=durability)
    files.flush()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_file_is_not_there_before_the_block_ends(tmp_path, kind):
    with open_atomic(tmp_path / "a") as out:
        out.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").exists()


def test_exception_in_the_block_leaves_the_old_file_and_no_trace(tmp_path, kind):
    write_atomic(tmp_path / "a", b"old")
    with contextlib.suppress(RuntimeError), open_atomic(tmp_path / "a") as out:
        out.write(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_existing_file_is_refused_when_it_must_not_be_replaced(tmp_path, kind):
    write_atomic(tmp_path / "a", b"old")
    with pytest.raises(AlreadyExistsError, match="never replaced"):
        write_atomic(tmp_path / "a", b"new", replace=False)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path, kind):
    out = open_atomic(tmp_path / "a", replace=False)
    out.write(b"late")
    (tmp_path / "a").write_bytes(b"first")
    with pytest.raises(AlreadyExistsError):
        out.publish()
    assert (tmp_path / "a").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_exactly_one_of_many_new_writers_wins(tmp_path, kind):
    outcomes: list[object] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            write_atomic(tmp_path / "a", b"%d" % number, replace=False)
            outcomes.append(number)
        except AlreadyExistsError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [each for each in outcomes if isinstance(each, int)]
    assert len(winners) == 1
    assert (tmp_path / "a").read_bytes() == b"%d" % winners[0]


def test_missing_directory_is_named(tmp_path, kind):
    with pytest.raises(NotFoundError, match="none/a"):
        write_atomic(tmp_path / "none" / "a", b"")


def test_link_in_place_of_the_file_is_replaced_not_followed(tmp_path, kind):
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "a").symlink_to("elsewhere")
    write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert not (tmp_path / "a").is_symlink()


def test_size_hint_reserves_and_the_rest_is_cut_off(tmp_path, kind):
    with open_atomic(tmp_path / "a", size_hint=1 << 20) as out:
        assert out.stat().st_size == (0 if statfs_type(str(tmp_path)) == TMPFS else 1 << 20)
        out.write(b"abc")
        out.pwrite(b"Z", 4)
        assert out.tell() == 3
    assert (tmp_path / "a").read_bytes() == b"abc\0Z"


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no tmpfs")
def test_space_in_memory_is_looked_for_and_not_taken():
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        reserve(file.fileno(), 1 << 20)
        assert os.fstat(file.fileno()).st_blocks == 0
        with pytest.raises(OSError, match="space"):
            reserve(file.fileno(), 1 << 60)


def test_inode_stays_the_same_when_published(tmp_path, kind):
    with open_atomic(tmp_path / "a") as out:
        inode = out.stat().st_ino
    assert (tmp_path / "a").stat().st_ino == inode


def test_publish_happens_once(tmp_path, kind):
    with open_atomic(tmp_path / "a") as out:
        out.write(b"x")
        out.publish()
        assert (tmp_path / "a").read_bytes() == b"x"
    assert out.fd == -1


def test_forgotten_writer_leaves_no_trace(tmp_path, kind):
    writer = open_atomic(tmp_path / "a")
    descriptor = writer.fd
    del writer
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


def test_name_of_the_greatest_length_can_be_written(tmp_path, kind):
    write_atomic(tmp_path / ("n" * 255), b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_path_without_directory_is_in_the_current_one(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomic("a", b"x")
    files.replace("a", "b")
    files.remove("b")
    assert os.listdir(tmp_path) == []


def test_read_only_file_is_sealed_from_its_first_moment(tmp_path, kind):
    write_atomic(tmp_path / "a", b"x", read_only=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o222 == 0


def test_writer_is_the_documented_class(tmp_path, kind):
    with open_atomic(tmp_path / "a") as out:
        assert isinstance(out, AtomicWriter)


@pytest.mark.parametrize("durability", ["sync", "os"])
def test_a_directory_in_place_of_the_file_is_an_error_and_stays(tmp_path, kind, durability):
    (tmp_path / "a" / "inner").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="directory"):
        write_atomic(tmp_path / "a", b"new", durability=durability)
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path / "a") == ["inner"]


def test_a_reader_of_what_is_replaced_without_sync_keeps_the_old_content(tmp_path, kind):
    write_atomic(tmp_path / "a", b"old", durability="os")
    with open(tmp_path / "a", "rb") as reader:
        write_atomic(tmp_path / "a", b"new", durability="os")
        assert reader.read() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"
