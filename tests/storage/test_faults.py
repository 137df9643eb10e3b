"""The storage that fails on purpose fails as it is told."""

import pytest

from holdfast.errors import StorageError
from holdfast.storage import MemoryStorage
from holdfast.testing import FaultyStorage, StorageTests


class TestFaultyStorageWithoutFaults(StorageTests):
    @pytest.fixture
    def storage(self):
        return FaultyStorage(MemoryStorage())


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("get", ("a",)),
        ("get_range", ("a", 0, 1)),
        ("open", ("a",)),
        ("head", ("a",)),
        ("list", ()),
        ("put", ("a", b"")),
        ("copy", ("a", "b")),
        ("delete", ("a",)),
    ],
)
def test_the_chosen_call_fails_and_changes_nothing(verb, arguments):
    inner = MemoryStorage()
    inner.put("a", b"x")
    storage = FaultyStorage(inner, failing={verb: 1})
    with pytest.raises(StorageError, match=verb):
        getattr(storage, verb)(*arguments)
    assert {found.key: inner.get(found.key) for found in inner.list()} == {"a": b"x"}
    getattr(storage, verb)(*arguments)


def test_the_chosen_byte_is_flipped():
    inner = MemoryStorage()
    inner.put("a", b"abcdef")
    storage = FaultyStorage(inner, flipped=2)
    assert storage.get("a") == b"abbdef"
    assert storage.get_range("a", 2, 4) == b"bd"
    assert storage.get_range("a", 3, 5) == b"de"
