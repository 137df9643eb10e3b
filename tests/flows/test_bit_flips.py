"""A flipped bit in any stored file, by any way in: an error that names the object, never a wrong answer."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

import holdfast as hf
from flows.wire import ShortBodyError, ask
from holdfast.errors import HoldfastError
from served import KEY, holdfast, served

FLIPS = 12


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("flips") / "lab"
    (root / "sub").mkdir(parents=True)
    np.save(root / "image.npy", np.arange(5000.0).reshape(50, 100))
    (root / "table.csv").write_text("x,y\n" + "\n".join(f"{i},{i * i}" for i in range(500)))
    (root / "one.json").write_text('{"n": 1, "color": "red"}')
    (root / "sub" / "notes.txt").write_text("note\n" * 300)
    with h5py.File(root / "tree.h5", "w") as file:
        file["a/plain"] = np.arange(3000)
        file.create_dataset("a/packed", data=np.arange(3000), chunks=(100,), compression="gzip")
    assert holdfast("index", root).returncode == 0
    return root


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    shutil.copytree(pristine, tmp_path / "lab", copy_function=shutil.copy2)
    return tmp_path / "lab"


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """Flip one bit, hiding it behind the old time; put everything back."""
    before, facts = path.read_bytes(), path.stat()
    changed = bytearray(before)
    changed[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(changed)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def flips(path: Path, seed: int) -> list[int]:
    bits = path.stat().st_size * 8
    return [0, bits - 1, *random.Random(seed).sample(range(bits), FLIPS - 2)]


def files_of(root: Path) -> list[Path]:
    return [p for p in sorted(root.rglob("*")) if p.is_file() and ".holdfast" not in p.parts]


def asset_ids(url: str, name: str) -> int:
    item = ask(url, f"/api/v1/metadata/{name}?include_data_sources=true").json()["data"]
    return item["attributes"]["data_sources"][0]["assets"][0]["id"]


def test_raw_files_are_never_served_with_a_flipped_bit(root):
    with served(root, timeout_s=300) as server:
        for number, path in enumerate(files_of(root)):
            name = path.relative_to(root).as_posix()
            target = f"/api/v1/assets/{asset_ids(server.url, name)}"
            assert ask(server.url, target).body == path.read_bytes()
            for bit in flips(path, number):
                with flipped(path, bit):
                    try:
                        answer = ask(server.url, target)
                    except (ShortBodyError, ConnectionError):
                        continue
                    assert answer.status != 200, f"{name} was served with bit {bit} flipped"
                    assert name.rpartition("/")[2] in answer.detail
            assert ask(server.url, target).body == path.read_bytes()


def test_a_download_never_keeps_a_flipped_bit(root, tmp_path):
    with served(root, timeout_s=300) as server, hf.from_uri(server.url, api_key=KEY) as client:
        for number, path in enumerate(files_of(root)):
            bit = flips(path, number)[2]
            with flipped(path, bit), pytest.raises((HoldfastError, ExceptionGroup)) as raised:
                hf.download(client, tmp_path / f"taken{number}")
            assert path.name in str(raised.value)
            assert not (tmp_path / f"taken{number}").exists()


def test_check_names_every_flipped_file(root):
    assert hf.check(root).ok
    for number, path in enumerate(files_of(root)):
        for bit in flips(path, number)[:4]:
            with flipped(path, bit):
                report = hf.check(root)
                assert not report.ok
                assert any(path.name in finding.uri for finding in report.findings)
                assert holdfast("check", root).returncode != 0
                break


def test_arrays_read_whole_are_right_or_refused(root):
    truths = {"image.npy": np.arange(5000.0).reshape(50, 100), "tree.h5/a/plain": np.arange(3000)}
    with hf.from_catalog(root) as client:
        for key, truth in truths.items():
            path = root / key.split("/")[0]
            node = client[key]
            for bit in flips(path, 7):
                with flipped(path, bit):
                    wrong = False
                    with suppress(HoldfastError):
                        wrong = not np.array_equal(node.read(), truth)
                    assert not wrong, f"{key}: bit {bit} flipped unnoticed"


def test_a_file_changed_since_it_was_indexed_asks_for_a_new_index(root):
    path = root / "image.npy"
    with served(root, timeout_s=100) as server:
        np.save(path, np.zeros((50, 100)))
        later = path.stat().st_mtime + 3600
        os.utime(path, (later, later))
        answer = ask(server.url, "/api/v1/array/full/image.npy")
        assert answer.status == 409
        assert "index" in answer.detail


def test_a_touched_file_with_the_same_bytes_goes_on(root):
    path = root / "image.npy"
    with served(root, timeout_s=100) as server:
        os.utime(path, (1, 1))
        answer = ask(server.url, "/api/v1/array/full/image.npy")
        assert answer.status == 200
        assert answer.body == np.arange(5000.0).tobytes()


def test_flips_in_the_database_are_never_a_crash(root):
    database = root / ".holdfast" / "catalog.db"
    with hf.from_catalog(root) as client:
        truth = sorted(client)
    for bit in flips(database, 99) + flips(database, 100):
        for left in database.parent.glob("catalog.db-*"):
            left.unlink()
        with flipped(database, bit):
            try:
                with hf.from_catalog(root) as client:
                    assert sorted(client) == truth or len(list(client)) != len(truth) or client
            except HoldfastError:
                continue
