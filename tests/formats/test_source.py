"""Sources and the registry: what can be opened, and what is told when it cannot."""

import os
import sys

import pytest

from holdfast.errors import (
    ChangedError,
    ForbiddenError,
    HashError,
    InvalidInputError,
    MissingFileError,
    StorageError,
    UnreadableError,
)
from holdfast.formats.registry import all_formats, detect, get_format
from holdfast.formats.source import Source, SourceStream
from holdfast.hashing import BLOCK_BYTES
from holdfast.testing.formats import block_digests


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: None, MissingFileError),
        (os.mkdir, UnreadableError),
        (os.mkfifo, UnreadableError),
        (lambda path: path.symlink_to(path.name), UnreadableError),
        (lambda path: path.parent.joinpath("file").touch() or path.symlink_to("file/below"), StorageError),
    ],
)
def test_what_is_no_file_is_refused_by_name(tmp_path, make, error):
    make(tmp_path / "x")
    with pytest.raises(error, match="x"):
        Source(tmp_path / "x")


def test_a_name_that_is_no_path_is_refused():
    with pytest.raises(InvalidInputError):
        Source("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(tmp_path):
    (tmp_path / "x").touch(0)
    with pytest.raises(ForbiddenError):
        Source(tmp_path / "x")


def test_errors_call_a_file_by_the_name_it_was_given(tmp_path):
    (tmp_path / "x").write_bytes(bytes(10))
    digests = block_digests(tmp_path / "x")
    (tmp_path / "x").write_bytes(bytes(11))
    with pytest.raises(ChangedError, match=r"^run/x has 11 bytes"):
        Source(tmp_path / "x", digests=digests, name="run/x")


def test_small_reads_are_verified_block_by_block_and_large_ones_at_once(tmp_path):
    data = bytes(range(256)) * 4096
    (tmp_path / "x").write_bytes(data)
    digests = block_digests(tmp_path / "x")
    with Source(tmp_path / "x", digests=digests) as source:
        for offset, size in [
            (0, 10),
            (BLOCK_BYTES - 5, 10),
            (5, BLOCK_BYTES * 2),
            (0, len(data)),
            (len(data) - 3, 3),
        ]:
            assert bytes(source.read(offset, size)) == data[offset : offset + size]
        stream = SourceStream(source)
        assert (stream.seek(-3, os.SEEK_END), stream.tell(), stream.read(), stream.read(1)) == (
            len(data) - 3,
            len(data) - 3,
            data[-3:],
            b"",
        )
        assert stream.readable()
        assert stream.seekable()
    assert source.is_closed


def test_an_error_inside_a_stream_stays_with_it(tmp_path):
    (tmp_path / "x").write_bytes(bytes(10))
    digests = block_digests(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"1" * 10)
    with Source(tmp_path / "x", digests=digests) as source:
        stream = SourceStream(source)
        with pytest.raises(HashError):
            stream.read()
        assert isinstance(stream.failure, HashError)


def test_every_format_is_found_by_its_media_types_and_suffixes(tmp_path):
    for form in all_formats():
        for media_type in form.media_types:
            assert get_format(media_type) is form
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in form.suffixes)
    with pytest.raises(UnreadableError, match="application/x-unknown"):
        get_format("application/x-unknown")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.CSV", b"x\n1\n", "csv"),
        ("a.csv", b"x\0y", "csv"),
        ("a.json", b"not json", "json"),
        ("a", b"{}", "text"),
        ("a.txt", "é".encode() * 3000, "text"),
        ("a.txt", b"\xff\xfe\xfd", "bytes"),
        ("a.txt", b"", "bytes"),
        ("a.npy.bak", b"\x93NUMPY", "npy"),
        ("data.bin", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("a.h5", b"", "hdf5"),
    ],
)
def test_a_format_is_found_by_content_then_by_suffix(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    with Source(tmp_path / name) as source:
        assert detect(source).name == found


def test_an_entry_point_that_is_no_format_is_told(tmp_path, monkeypatch):
    (tmp_path / "bad_format.py").write_text("BAD = 3")
    information = tmp_path / "bad_format-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-format\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[holdfast.formats]\nbad = bad_format:BAD\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    all_formats.cache_clear()
    with pytest.warns(RuntimeWarning, match="bad of bad_format:BAD"):
        assert get_format("text/csv").name == "csv"
    with pytest.raises(UnreadableError, match="no instance of Format"):
        get_format("application/x-bad")
    all_formats.cache_clear()
