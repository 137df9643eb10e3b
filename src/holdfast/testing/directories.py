"""Own the contract of formats whose nodes are directories: what `FormatTests` asks, of every file in one.

>>> class TestMyStore(DirectoryFormatTests):
...     @pytest.fixture
...     def sample(self, tmp_path):
...         write_store(tmp_path / "a.zarr")
...         return Sample(ZARR, tmp_path / "a.zarr" / "zarr.json", arrays=[({}, np.arange(6))])
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import ChangedError, HashError, HoldfastError, MissingFileError, UnreadableError
from holdfast.formats.source import FindDigests, Source
from holdfast.hashing import BlockDigests
from holdfast.testing.formats import FormatTests, Sample, block_digests, compare, open_descriptors

__all__ = ["DirectoryFormatTests", "recorded"]


class DirectoryFormatTests(FormatTests):
    """Prove a format of directories; the path of the `sample` is the file by which its directory is known."""

    def test_a_truncated_file_is_an_error_or_reads_right(self, sample: Sample, tmp_path: Path) -> None:
        for path in _copied_files(sample, tmp_path / "cut"):
            whole = path.read_bytes()
            for size in sorted({0, 1, len(whole) // 2, len(whole) - 1} - {len(whole)}):
                path.write_bytes(whole[:size])
                try:
                    _read_all(sample, tmp_path / "cut")
                except (UnreadableError, ChangedError):
                    continue
            path.write_bytes(whole)

    def test_a_flipped_bit_is_an_error_where_digests_are_known(self, sample: Sample, tmp_path: Path) -> None:
        find = recorded(sample.path.parent, tmp_path / "flipped")
        for path in _copied_files(sample, tmp_path / "flipped"):
            whole = bytearray(path.read_bytes())
            whole[len(whole) // 2] ^= 4
            path.write_bytes(whole)
            with pytest.raises(HashError, match="damaged"), Source(path, find_digests=find) as source:
                _read_all(sample, tmp_path / "flipped", find)
                # What no array reads is read here.
                source.read()
            whole[len(whole) // 2] ^= 4
            path.write_bytes(whole)

    def test_with_digests_everything_still_reads_the_same(self, sample: Sample) -> None:
        _read_all(sample, sample.path.parent, recorded(sample.path.parent, sample.path.parent))

    def test_a_file_that_was_there_and_is_gone_is_an_error(self, sample: Sample, tmp_path: Path) -> None:
        find = recorded(sample.path.parent, tmp_path / "gone")
        for path in _copied_files(sample, tmp_path / "gone"):
            whole = path.read_bytes()
            path.unlink()
            with pytest.raises(MissingFileError):
                _read_all(sample, tmp_path / "gone", find)
                find(path)
            path.write_bytes(whole)

    def test_other_content_under_the_suffix_is_an_error(self, sample: Sample, tmp_path: Path) -> None:
        path = tmp_path / "other" / sample.path.name
        path.parent.mkdir()
        path.write_bytes(b'"\x00\xff\x01' * 100)
        with pytest.raises(HoldfastError), Source(path) as source:
            sample.format.describe(source)

    def test_no_descriptor_is_left_open(self, sample: Sample, tmp_path: Path) -> None:
        _read_all(sample, sample.path.parent)
        before = open_descriptors()
        for path in _copied_files(sample, tmp_path / "cut"):
            path.write_bytes(path.read_bytes()[:-1])
            try:
                _read_all(sample, tmp_path / "cut")
            except HoldfastError:
                continue
        assert open_descriptors() == before


def recorded(original: Path, directory: Path) -> FindDigests:
    """Return what answers with the digests that the files of a directory had in the original.

    Parameters
    ----------
    original, directory : Path
        The directory as it was recorded, and as it is now.
    """
    known = {
        path.relative_to(original): block_digests(path) for path in original.rglob("*") if path.is_file()
    }

    def find(path: Path) -> BlockDigests | None:
        digests = known.get(path.relative_to(directory))
        if digests is not None and not path.exists():
            raise MissingFileError(f"{path.name} is not there any more")
        return digests

    return find


def _copied_files(sample: Sample, directory: Path) -> Iterator[Path]:
    """Copy the directory of a sample and yield every file of the copy."""
    shutil.copytree(sample.path.parent, directory)
    yield from sorted(path for path in directory.rglob("*") if path.is_file())


def _read_all(sample: Sample, directory: Path, find: FindDigests | None = None) -> None:
    """Describe, open, read and compare everything of a directory that should be the sample."""
    path = directory / sample.path.name
    with Source(path, find_digests=find) as source:
        sample.format.describe(source)
    if sample.is_opened:
        with sample.format.open(Source(path, find_digests=find)) as opened:
            compare(sample, opened)
