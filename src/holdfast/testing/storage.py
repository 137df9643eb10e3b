"""Own the contract of `holdfast.storage.Storage` as tests.

>>> class TestMyStorage(StorageTests):
...     @pytest.fixture
...     def storage(self):
...         return MemoryStorage()
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from holdfast.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    RangeNotSatisfiableError,
)
from holdfast.storage import MemoryStorage, Storage

__all__ = ["StorageTests"]

BAD_KEYS = [
    "",
    "/a",
    "a//b",
    "a/",
    "..",
    "a/../b",
    ".",
    "a\0b",
    "x" * 256,
    ".holdfast",
    "a/catalog.db",
    "\udc80",
]


class StorageTests:
    """Prove a back end. A subclass gives the fixture `storage`: an empty one for each test."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Return an empty storage; overridden by each back end's test."""
        return MemoryStorage()

    def test_what_was_put_is_got(self, storage: Storage) -> None:
        storage.put("a/b.txt", b"content")
        assert storage.get("a/b.txt") == b"content"

    @pytest.mark.parametrize(
        "data", [b"", bytearray(b"ab"), memoryview(b"ab"), [b"a", b"", memoryview(b"b")]]
    )
    def test_all_forms_of_data_are_taken(self, storage: Storage, data: bytes) -> None:
        found = storage.put("a", data)
        expected = b"ab" if data else b""
        assert (storage.get("a"), found.size) == (expected, len(expected))

    def test_iterator_is_taken_once(self, storage: Storage) -> None:
        storage.put("a", (bytes([number]) * 70_000 for number in range(5)))
        assert storage.get("a") == b"".join(bytes([number]) * 70_000 for number in range(5))

    def test_put_replaces(self, storage: Storage) -> None:
        storage.put("a", b"a longer old content")
        storage.put("a", b"new")
        assert storage.get("a") == b"new"

    def test_failing_data_leave_the_old_object(self, storage: Storage) -> None:
        def broken() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("source broke")

        storage.put("a", b"old")
        for key in ("a", "b"):
            with pytest.raises(RuntimeError, match="source broke"):
                storage.put(key, broken())
        assert storage.get("a") == b"old"
        assert [found.key for found in storage.list()] == ["a"]

    def test_put_if_absent_refuses_an_existing_object(self, storage: Storage) -> None:
        storage.put("a", b"first", if_absent=True)
        with pytest.raises(AlreadyExistsError, match="a"):
            storage.put("a", b"second", if_absent=True)
        assert storage.get("a") == b"first"

    def test_exactly_one_put_if_absent_wins(self, storage: Storage) -> None:
        start, won = threading.Barrier(8), []

        def put(number: int) -> None:
            start.wait()
            try:
                storage.put("a", b"%d" % number, if_absent=True)
            except AlreadyExistsError:
                return
            won.append(number)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert storage.get("a") == b"%d" % won[0]

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [(0, 10, b"0123456789"), (2, 5, b"234"), (8, 99, b"89"), (10, 12, b""), (3, 3, b"")],
    )
    def test_range_is_cut_to_the_object(
        self, storage: Storage, start: int, end: int, expected: bytes
    ) -> None:
        storage.put("a", b"0123456789")
        assert storage.get_range("a", start, end) == expected

    @pytest.mark.parametrize(("start", "end"), [(-1, 3), (5, 2), (11, 12)])
    def test_range_outside_is_an_error(self, storage: Storage, start: int, end: int) -> None:
        storage.put("a", b"0123456789")
        with pytest.raises(RangeNotSatisfiableError, match="a"):
            storage.get_range("a", start, end)

    def test_open_gives_a_seekable_file_that_later_writes_do_not_change(self, storage: Storage) -> None:
        storage.put("a", b"0123456789")
        with storage.open("a") as file:
            storage.put("a", b"other")
            storage.delete("a")
            file.seek(4)
            assert file.read(2) == b"45"
            assert file.read() == b"6789"

    def test_head_tells_size_time_and_a_tag_that_changes(self, storage: Storage) -> None:
        before = storage.put("d/a", b"one")
        assert storage.head("d/a") == before
        assert (before.key, before.size) == ("d/a", 3)
        assert abs((datetime.now(UTC) - before.modified_at).total_seconds()) < 60
        assert storage.put("d/a", b"two").etag != before.etag

    def test_missing_object_is_an_error_that_names_it(self, storage: Storage) -> None:
        storage.put("d/a", b"")
        for verb in (storage.get, storage.head, storage.open, storage.delete):
            for key in ("none", "d", "d/a/x"):
                with pytest.raises(NotFoundError, match=key):
                    verb(key)
        with pytest.raises(NotFoundError, match="none"):
            storage.get_range("none", 0, 1)
        with pytest.raises(NotFoundError, match="none"):
            storage.copy("none", "b")

    def test_list_is_sorted_and_knows_parts(self, storage: Storage) -> None:
        keys = ["a", "a-b", "a.b/c", "ab/c", "b/c/d", "b/c/e", "b/x", "é/ü", "Z"]
        for key in reversed(keys):
            storage.put(key, key.encode())
        assert [found.key for found in storage.list()] == sorted(keys)
        assert [found.key for found in storage.list("b")] == ["b/c/d", "b/c/e", "b/x"]
        assert [found.key for found in storage.list("b/c/")] == ["b/c/d", "b/c/e"]
        assert list(storage.list("none")) == list(storage.list("a")) == []
        assert [found.size for found in storage.list("ab")] == [4]

    def test_deleted_object_is_gone_and_its_name_is_free(self, storage: Storage) -> None:
        storage.put("a/b/c", b"x")
        storage.delete("a/b/c")
        assert list(storage.list()) == []
        storage.put("a", b"now an object", if_absent=True)
        assert storage.get("a") == b"now an object"

    def test_copy_gives_an_object_of_its_own(self, storage: Storage) -> None:
        storage.put("a", b"x")
        assert storage.copy("a", "d/b").key == "d/b"
        storage.put("a", b"changed")
        assert storage.get("d/b") == b"x"
        with pytest.raises(AlreadyExistsError):
            storage.copy("a", "d/b", if_absent=True)
        storage.copy("a", "d/b")
        assert storage.get("d/b") == b"changed"

    def test_object_cannot_be_the_parent_of_another(self, storage: Storage) -> None:
        storage.put("a/b", b"x")
        for key in ("a", "a/b/c"):
            with pytest.raises(InvalidInputError, match=key):
                storage.put(key, b"")
        assert [found.key for found in storage.list()] == ["a/b"]

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_key_is_refused_by_every_verb(self, storage: Storage, key: str) -> None:
        storage.put("a", b"")
        verbs = (
            lambda: storage.get(key),
            lambda: storage.get_range(key, 0, 1),
            lambda: storage.open(key),
            lambda: storage.put(key, b""),
            lambda: storage.head(key),
            lambda: storage.delete(key),
            lambda: storage.copy("a", key),
            lambda: storage.copy(key, "b"),
        )
        for verb in verbs:
            with pytest.raises(InvalidInputError):
                verb()
        assert [found.key for found in storage.list()] == ["a"]

    def test_bad_prefix_is_refused(self, storage: Storage) -> None:
        with pytest.raises(InvalidInputError):
            list(storage.list("../a"))

    def test_many_threads_put_and_get(self, storage: Storage) -> None:
        failures: list[Exception] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    storage.put(f"t{number}/{turn}", b"%d" % turn)
                    storage.put("same", b"%d" % number * 1000)
                    assert storage.get(f"t{number}/{turn}") == b"%d" % turn
                    assert len(set(storage.get("same"))) == 1
            except (AssertionError, OSError) as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(list(storage.list())) == 41
