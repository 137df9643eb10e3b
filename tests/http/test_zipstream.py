"""ZIP files are valid, deterministic, and the same by any range."""

from __future__ import annotations

import io
import os
import random
import subprocess
import zipfile

import pytest

from holdfast.errors import ChangedError, HashError, InvalidInputError, MissingFileError
from holdfast.hashing import hash_blocks
from holdfast.http.zipstream import Entry, ZipPlan


def entry_of(path, name=None, blocks=None):
    stat = path.stat()
    return Entry(name or path.name, str(path), stat.st_size, stat.st_mtime_ns, blocks=blocks)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b.bin").write_bytes(os.urandom(2_500_000))
    (tmp_path / "a.txt").write_bytes(b"hello")
    (tmp_path / "é.empty").write_bytes(b"")
    return tmp_path


@pytest.fixture
def plan(folder):
    return ZipPlan([entry_of(folder / name, f"sub/{name}") for name in ("b.bin", "a.txt", "é.empty")])


def whole(plan):
    return b"".join(bytes(piece) for piece in plan.stream())


def test_the_size_is_known_before_a_byte_is_read(plan):
    assert plan.size_bytes == len(whole(plan))


def test_every_file_is_in_it_unchanged(plan, folder):
    with zipfile.ZipFile(io.BytesIO(whole(plan))) as archive:
        assert archive.namelist() == ["sub/a.txt", "sub/b.bin", "sub/é.empty"]
        assert archive.testzip() is None
        assert archive.read("sub/b.bin") == (folder / "b.bin").read_bytes()


def test_unzip_accepts_it(plan, tmp_path):
    target = tmp_path / "x.zip"
    target.write_bytes(whole(plan))
    assert subprocess.run(["unzip", "-tqq", str(target)], check=False).returncode == 0


def test_every_range_equals_the_slice_of_the_whole(folder):
    plan = ZipPlan([entry_of(folder / "a.txt"), entry_of(folder / "é.empty")])
    data = whole(plan)
    for start in range(len(data)):
        for stop in range(start + 1, len(data) + 1):
            assert b"".join(map(bytes, plan.stream(start, stop))) == data[start:stop]


def test_random_ranges_of_a_larger_one_equal_slices(plan):
    data = whole(plan)
    draw = random.Random(7)
    for _ in range(50):
        start, stop = sorted(draw.sample(range(len(data) + 1), 2))
        assert b"".join(map(bytes, plan.stream(start, stop))) == data[start:stop]


def test_the_same_entries_give_the_same_tag_and_other_times_another(folder):
    entries = [entry_of(folder / "a.txt"), entry_of(folder / "b.bin")]
    assert ZipPlan(entries).etag == ZipPlan(reversed(entries)).etag
    os.utime(folder / "a.txt", ns=(1, 1))
    assert ZipPlan([entry_of(folder / "a.txt"), entries[1]]).etag != ZipPlan(entries).etag


def test_a_file_that_changed_breaks_it_off(plan, folder):
    (folder / "b.bin").write_bytes(b"other")
    with pytest.raises(ChangedError, match=r"b\.bin"):
        whole(plan)


def test_a_file_that_is_gone_breaks_it_off(plan, folder):
    (folder / "b.bin").unlink()
    with pytest.raises(MissingFileError, match=r"b\.bin"):
        whole(plan)


def test_a_flipped_bit_is_found_before_its_block_leaves(folder):
    path = folder / "b.bin"
    with path.open("rb") as source:
        blocks = hash_blocks(source)
    data = bytearray(path.read_bytes())
    data[600_000] ^= 1
    path.write_bytes(data)
    plan = ZipPlan([entry_of(path, blocks=lambda: blocks)])
    sent = []
    with pytest.raises(HashError, match="block 2"):
        sent.extend(plan.stream())
    assert sum(map(len, sent)) < 600_000


def test_one_name_twice_is_refused(folder):
    with pytest.raises(InvalidInputError, match="different names"):
        ZipPlan([entry_of(folder / "a.txt"), entry_of(folder / "b.bin", "a.txt")])


def test_times_before_1980_and_after_2107_are_clamped(folder):
    for seconds in (-5, 0, 10**10):
        os.utime(folder / "a.txt", (0, seconds))
        with zipfile.ZipFile(io.BytesIO(whole(ZipPlan([entry_of(folder / "a.txt")])))) as archive:
            assert archive.testzip() is None


@pytest.mark.slow
def test_many_files_need_zip64(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"")
    entries = [entry_of(path, f"{number:05}") for number in range(66_000)]
    with zipfile.ZipFile(io.BytesIO(whole(ZipPlan(entries)))) as archive:
        assert len(archive.namelist()) == 66_000


@pytest.mark.slow
def test_a_file_over_four_gib_needs_zip64(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as target:
        target.truncate(2**32 + 5)
    (tmp_path / "z").write_bytes(b"after")
    plan = ZipPlan([entry_of(path), entry_of(tmp_path / "z")])
    target = tmp_path / "x.zip"
    with target.open("wb") as out:
        for piece in plan.stream():
            out.write(piece)
    assert target.stat().st_size == plan.size_bytes
    with zipfile.ZipFile(target) as archive:
        assert archive.read("z") == b"after"
        assert archive.getinfo("large").file_size == 2**32 + 5
    assert subprocess.run(["unzip", "-tqq", str(target)], check=False).returncode == 0
