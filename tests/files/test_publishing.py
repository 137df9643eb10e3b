"""Names appear, change places and vanish in one step."""

import os
import tempfile
import threading

import pytest

from holdfast import files
from holdfast.errors import AlreadyExistsError, InvalidInputError, NotFoundError, StorageError


@pytest.fixture
def two(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    return tmp_path


@pytest.mark.parametrize("durability", ["sync", "group", "os"])
def test_publish_new_moves_to_a_free_name_only(two, durability):
    with pytest.raises(AlreadyExistsError):
        files.publish_new(two / "a", two / "b", durability)
    files.publish_new(two / "a", two / "c", durability)
    files.flush()
    assert {name: (two / name).read_bytes() for name in os.listdir(two)} == {"b": b"b", "c": b"a"}


def test_publish_new_never_replaces_an_empty_directory(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(AlreadyExistsError):
        files.publish_new(tmp_path / "a", tmp_path / "b")


def test_exactly_one_of_many_publishers_wins(tmp_path):
    start, won = threading.Barrier(8), []

    def publish(number):
        source = tmp_path / str(number)
        source.mkdir()
        start.wait()
        try:
            files.publish_new(source, tmp_path / "target")
        except AlreadyExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_replace_takes_the_place(two):
    files.replace(two / "a", two / "b")
    assert os.listdir(two) == ["b"]
    assert (two / "b").read_bytes() == b"a"


def test_link_new_never_replaces(two):
    assert files.link_new(two / "a", two / "c")
    assert (two / "c").samefile(two / "a")
    with pytest.raises(AlreadyExistsError):
        files.link_new(two / "a", two / "b")
    with pytest.raises(NotFoundError):
        files.link_new(two / "none", two / "d")


def test_link_new_says_when_the_file_system_has_no_links(two):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if os.stat(elsewhere).st_dev == two.stat().st_dev:
            pytest.skip("temporary files lie in /dev/shm, so there is no second file system to link to")
        assert files.link_new(two / "a", f"{elsewhere}/link") is False


def test_symlink_new_never_replaces(two):
    files.symlink_new("a", two / "link")
    assert os.readlink(two / "link") == "a"
    with pytest.raises(AlreadyExistsError):
        files.symlink_new("b", two / "link")


def test_exchange_swaps_files_and_directories(two):
    (two / "d").mkdir()
    files.exchange(two / "a", two / "d")
    assert (two / "a").is_dir()
    assert (two / "d").read_bytes() == b"a"
    with pytest.raises(NotFoundError):
        files.exchange(two / "a", two / "none")


def test_remove_says_when_there_is_nothing(two):
    files.remove(two / "a")
    with pytest.raises(NotFoundError):
        files.remove(two / "a")
    files.remove(two / "a", missing_ok=True)


def test_remove_tree_removes_all_of_it(tmp_path):
    files.make_directories(tmp_path / "d" / "e" / "f")
    (tmp_path / "d" / "e" / "x").write_bytes(b"")
    files.remove_tree(tmp_path / "d")
    assert os.listdir(tmp_path) == []


def test_make_directories_is_content_with_what_is_there(tmp_path):
    files.make_directories(tmp_path / "d" / "e")
    files.make_directories(tmp_path / "d" / "e" / "f")
    assert (tmp_path / "d" / "e" / "f").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for bad in ("file", "file/below"):
        with pytest.raises(InvalidInputError, match="file"):
            files.make_directories(tmp_path / bad)


def test_directory_appears_whole(tmp_path):
    with files.build_directory(tmp_path / "set") as staging:
        (staging / "a").write_bytes(b"a")
        (staging / "sub").mkdir()
        (staging / "sub" / "link").symlink_to("nowhere")
        assert not (tmp_path / "set").exists()
    assert sorted(os.listdir(tmp_path / "set")) == ["a", "sub"]
    assert os.listdir(tmp_path) == ["set"]


def test_existing_directory_is_refused_or_replaced(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_bytes(b"")
    with pytest.raises(AlreadyExistsError, match="set"), files.build_directory(tmp_path / "set"):
        pass
    with files.build_directory(tmp_path / "set", replace=True) as staging:
        (staging / "new").write_bytes(b"")
    assert os.listdir(tmp_path / "set") == ["new"]
    assert os.listdir(tmp_path) == ["set"]


def test_exception_while_building_leaves_no_trace_and_is_the_users_own(tmp_path):
    class OwnError(OSError):
        pass

    def build():
        with files.build_directory(tmp_path / "set") as staging:
            (staging / "a").write_bytes(b"")
            raise OwnError(28, "mine")

    with pytest.raises(OwnError):
        build()
    assert os.listdir(tmp_path) == []


def test_file_that_becomes_unreadable_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        files.sync_file(tmp_path / "none")
    with pytest.raises(StorageError, match="descriptor"):
        files.sync_file(2**20)
