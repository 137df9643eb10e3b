"""Checking a directory against its catalog."""

import os

import h5py
import numpy as np
import pytest

from holdfast.catalog import check, index
from holdfast.errors import InvalidInputError, NotFoundError


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "sub").mkdir()
    for n in range(20):
        np.save(tmp_path / "sub" / f"{n}.npy", np.arange(n + 1))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["absent"] = h5py.ExternalLink("gone.h5", "data")
    index(tmp_path)
    return tmp_path


def kinds(report):
    return sorted((finding.kind, finding.uri) for finding in report.findings)


def flip(path):
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_untouched_directory_is_in_order(directory):
    report = check(directory)
    assert (report.ok, report.findings) == (True, [])
    assert report.checked == 24
    assert report.notes == ["gone.h5 is named by another file and was absent already"]


def test_changed_missing_and_extra_files_are_told_apart(directory):
    flip(directory / "sub" / "3.npy")
    (directory / "sub" / "4.npy").unlink()
    (directory / "sub" / "5.npy").write_bytes(b"shorter")
    (directory / "new.txt").write_text("x")
    report = check(directory)
    assert kinds(report) == [
        ("changed", "sub/3.npy"),
        ("changed", "sub/5.npy"),
        ("extra", "new.txt"),
        ("missing", "sub/4.npy"),
    ]
    [found] = [finding for finding in report.findings if finding.uri == "sub/3.npy"]
    assert found.expected.startswith("blake3:")
    assert found.found.startswith("blake3:")
    assert found.found != found.expected


def test_fast_reads_nothing_and_a_subset_reads_some(directory):
    for n in range(20):
        flip(directory / "sub" / f"{n}.npy")
    assert check(directory, fast=True).ok
    some = check(directory, subset=0.25)
    assert 3 <= len(some.findings) <= 6
    assert len(check(directory).findings) == 20


def test_what_cannot_be_checked_is_an_error(directory, tmp_path_factory):
    for subset in (0, -1, 1.5):
        with pytest.raises(InvalidInputError):
            check(directory, subset=subset)
    with pytest.raises(NotFoundError, match="holdfast index"):
        check(tmp_path_factory.mktemp("plain"))


def test_files_that_were_not_digested_are_noted(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    index(tmp_path, digest="never")
    report = check(tmp_path)
    assert report.ok
    assert report.notes == ["a.txt was not digested yet; index the directory again"]
