"""The npz format: the contract for arrays and sparse arrays, and ZIP files that lie."""

import io
import struct
import zipfile

import numpy as np
import pytest
import scipy.sparse
import sparse

from holdfast.errors import HashError, TooLargeError, UnreadableError
from holdfast.formats.npz import NPZ
from holdfast.formats.registry import detect
from holdfast.formats.source import Source
from holdfast.testing.formats import FormatTests, Sample, block_digests, describe

RNG = np.random.default_rng(3)
MATRIX = scipy.sparse.random_array((18, 12), density=0.2, rng=RNG)
CUBE = sparse.random((4, 5, 6), density=0.3, random_state=1)
ARRAYS = {
    "a": RNG.random((5, 7)),
    "deep": np.arange(24, dtype=">i2").reshape(2, 3, 4),
    "fortran": np.asfortranarray(RNG.random((3, 4))),
    "text": np.array(["é", "abc"]),
    "empty": np.zeros((0, 3)),
}


class TestNpz(FormatTests):
    @pytest.fixture(params=[np.savez, np.savez_compressed])
    def sample(self, request, tmp_path):
        request.param(tmp_path / "a.npz", **ARRAYS)
        return Sample(NPZ, tmp_path / "a.npz", [({"array": name}, value) for name, value in ARRAYS.items()])


class TestSparse(FormatTests):
    @pytest.fixture(params=["csr", "csc", "coo", "bsr", "dia", "COO", "GCXS", "csr packed"])
    def sample(self, request, tmp_path):
        path, kind = tmp_path / "a.npz", request.param
        if kind in ("COO", "GCXS"):
            sparse.save_npz(path, CUBE if kind == "COO" else sparse.GCXS.from_coo(CUBE, (0, 2)))
            return Sample(NPZ, path, sparse=[({}, CUBE.todense())])
        layout, _, packed = kind.partition(" ")
        scipy.sparse.save_npz(path, MATRIX.asformat(layout), compressed=bool(packed))
        return Sample(NPZ, path, sparse=[({}, MATRIX.toarray())])


def test_blocks_have_so_many_rows_that_a_large_matrix_comes_in_parts(tmp_path):
    rows = 200_000
    indptr = np.arange(0, 10 * rows + 1, 10)
    matrix = scipy.sparse.csr_array((np.ones(10 * rows), np.tile(np.arange(10), rows), indptr), (rows, 50))
    scipy.sparse.save_npz(tmp_path / "a.npz", matrix, compressed=False)
    with NPZ.open(Source(tmp_path / "a.npz")) as opened:
        reader = opened.sparse({})
        assert sum(reader.structure.chunks[0]) == rows
        assert 1 < len(reader.structure.chunks[0]) < 10
        assert reader.read((slice(rows - 3, None), slice(2, 4))).to_dense().tolist() == [[1, 1]] * 3
        with pytest.raises(TooLargeError, match="blocks"):
            reader.read(most_bytes=1_000_000)


def test_a_value_stored_twice_counts_as_its_sum(tmp_path):
    matrix = scipy.sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), (2, 2))
    scipy.sparse.save_npz(tmp_path / "a.npz", matrix)
    with NPZ.open(Source(tmp_path / "a.npz")) as opened:
        assert opened.sparse({}).read().to_dense().tolist() == [[0, 3], [4, 0]]


@pytest.mark.parametrize("value", [sparse.COO([[0]], [1.0], (2,), fill_value=7.0), MATRIX.astype("c16")])
def test_what_has_no_sparse_form_here_is_a_container_of_its_parts(tmp_path, value):
    save = scipy.sparse.save_npz if scipy.sparse.issparse(value) else sparse.save_npz
    save(tmp_path / "a.npz", value)
    root = describe(Sample(NPZ, tmp_path / "a.npz"))
    assert root.family == "container"
    assert "data" in {child.key for child in root.children}


DAMAGED = {
    "indices outside": {"indices": np.array([0, 99])},
    "negative indices": {"indices": np.array([0, -1])},
    "rows that overlap": {"indptr": np.array([0, 2, 1, 2])},
    "rows that end outside": {"indptr": np.array([0, 1, 1, 1 << 60])},
}


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_coordinates_outside_are_an_error_and_never_a_wrong_number(tmp_path, change):
    parts = {"data": np.ones(2), "indices": np.array([0, 1]), "indptr": np.array([0, 1, 1, 2])}
    np.savez(tmp_path / "a.npz", format=b"csr", shape=(3, 4), **{**parts, **change})
    with NPZ.open(Source(tmp_path / "a.npz")) as opened, pytest.raises(UnreadableError, match="sparse"):
        opened.sparse({}).read()


ABSURD = {
    "a part is missing": {"indptr": None},
    "parts do not fit": {"indptr": np.array([0, 2])},
    "indices that are no integers": {"indices": np.array([0.5, 1])},
    "a negative shape": {"shape": (-3, 4)},
    "too many axes": {"shape": (3,) * 40},
    "a layout nobody knows": {"format": b"xyz"},
    "a layout of a megabyte": {"format": np.array(b"x" * (1 << 20))},
}


@pytest.mark.parametrize("change", ABSURD.values(), ids=ABSURD)
def test_what_only_looks_like_a_sparse_array_is_listed_as_its_parts(tmp_path, change):
    parts = {"data": np.ones(2), "indices": np.array([0, 1]), "indptr": np.array([0, 1, 1, 2])}
    parts |= {"format": b"csr", "shape": (3, 4), **change}
    np.savez(tmp_path / "a.npz", **{name: part for name, part in parts.items() if part is not None})
    assert describe(Sample(NPZ, tmp_path / "a.npz")).family == "container"


def zipped(path, data, name="a.npy", **changes):
    """Write a ZIP file whose directory claims other things than are in it."""
    with zipfile.ZipFile(path, "w", changes.pop("packed", zipfile.ZIP_STORED)) as file:
        file.writestr(name, data)
        for attribute, value in changes.items():
            setattr(file.filelist[0], attribute, value)
    return path


def npy(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


HOSTILE = {
    "a member of a terabyte": (npy(np.ones(3)), {"file_size": 1 << 40, "compress_size": 1 << 40}),
    "a bomb that claims a terabyte": (
        npy(np.zeros(3))[:60] + b" " * 20 + bytes(1 << 16),
        {"file_size": 1 << 40, "packed": zipfile.ZIP_DEFLATED},
    ),
    "pickled objects": (npy(np.array([{}], object)), {}),
    "packed by bzip2": (npy(np.ones(3)), {"packed": zipfile.ZIP_BZIP2}),
    "encrypted": (npy(np.ones(3)), {"flag_bits": 1}),
    "another place": (npy(np.ones(3)), {"header_offset": 7}),
    "no npy": (b"hello", {}),
}


@pytest.mark.parametrize(("data", "changes"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_member_is_an_error_before_memory_is_taken(tmp_path, data, changes):
    path = zipped(tmp_path / "a.npz", data, **changes)
    with Source(path) as source:
        try:
            [child] = NPZ.describe(source).root.children
        except UnreadableError:
            return
        assert child.family == "bytes" or "error" in child.metadata or child.family == "array"
    with NPZ.open(Source(path)) as opened, pytest.raises(UnreadableError, match=r"a\.npz"):
        opened.array({"array": "a"}).read()


def test_a_packed_array_that_claims_more_than_the_limit_is_refused(tmp_path):
    head = npy(np.zeros(1 << 27, "u1"))[:128].replace(str(1 << 27).encode(), str(1 << 33).encode())
    data = head[:127] + b"\n" if head[127:128] != b"\n" else head
    path = zipped(tmp_path / "a.npz", data, packed=zipfile.ZIP_DEFLATED, file_size=(1 << 33) + 200)
    with Source(path) as source:
        [child] = NPZ.describe(source).root.children
    if child.family == "array":
        with NPZ.open(Source(path)) as opened, pytest.raises(UnreadableError, match="savez"):
            opened.array({"array": "a"}).read(0)


def test_a_packed_member_that_was_changed_fails_its_own_checksum(tmp_path):
    path = zipped(tmp_path / "a.npz", npy(np.arange(500.0)), packed=zipfile.ZIP_DEFLATED, CRC=1)
    with NPZ.open(Source(path)) as opened, pytest.raises(UnreadableError, match="CRC"):
        opened.array({"array": "a"}).read()


def test_a_directory_that_would_fill_the_memory_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    struct.pack_into("<L", whole, len(whole) - 22 + 12, 1 << 31)
    (tmp_path / "a.npz").write_bytes(whole)
    with Source(tmp_path / "a.npz") as source, pytest.raises(UnreadableError, match="too large"):
        NPZ.describe(source)


def test_names_that_no_path_can_hold_are_told_and_not_listed(tmp_path):
    np.savez(tmp_path / "a.npz", **{"a": np.ones(2), "../b": np.ones(2), "c/d": np.ones(2)})
    root = describe(Sample(NPZ, tmp_path / "a.npz"))
    assert [child.key for child in root.children] == ["a"]
    assert root.metadata == {"holdfast": {"unlisted": ["../b.npy", "c/d.npy"]}}


def test_other_zip_files_are_not_taken_for_arrays(tmp_path):
    zipped(tmp_path / "a.zip", npy(np.ones(3)))
    with Source(tmp_path / "a.zip") as source:
        assert detect(source) is not NPZ


def test_damage_in_the_directory_is_told_as_damage(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    digests = block_digests(tmp_path / "a.npz")
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[-40] ^= 1
    (tmp_path / "a.npz").write_bytes(whole)
    with Source(tmp_path / "a.npz", digests=digests) as source, pytest.raises(HashError):
        NPZ.describe(source)
