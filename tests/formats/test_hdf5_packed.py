"""Packed chunks of HDF5 files: read as HDF5 reads them, and never unpacked to more than a chunk."""

import bz2
import contextlib
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import UnreadableError
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.source import Source

RNG = np.random.default_rng(3)
BOMB = zlib.compress(bytes(200 << 20), 9)
DTYPES = ["u1", "i2", ">i4", "f4", ">f8", "c16", "f2", "u8"]


def read(path, index=..., name="a"):
    with HDF5.open(Source(path)) as opened:
        return opened.array({"dataset": name}).read(index)


@contextlib.contextmanager
def grows_at_most(size):
    """Fail if the process was larger by more than this at any time; HDF5's own memory counts too."""

    def used(name):
        return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) << 10

    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = used("VmRSS")
    yield
    assert used("VmHWM") - before < size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shuffle", "libver"), [(False, "latest"), (True, "earliest")])
def test_large_deflated_chunks_read_as_h5py_reads_them(tmp_path, dtype, shuffle, libver):
    array = RNG.integers(0, 100, (300, 700)).astype(dtype)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("a", data=array, chunks=(128, 640), compression="gzip", shuffle=shuffle)
    for index in (..., 5, -1, (slice(100, 200), slice(600, 700)), (slice(None, None, -7), slice(699, 2, -3))):
        np.testing.assert_array_equal(read(path, index), array[index])
    with HDF5.open(Source(path)) as opened:
        reader = opened.array({"dataset": "a"})
        np.testing.assert_array_equal(np.concatenate(list(reader.slabs())), array.reshape(-1))
        for row in range(0, 300, 50):
            np.testing.assert_array_equal(reader.read(row), array[row])


@settings(max_examples=40)
@given(st.data())
def test_any_slice_of_any_layout_is_that_of_h5py(tmp_path_factory, data):
    shape = data.draw(st.tuples(st.integers(1, 300), st.integers(1, 400)))
    chunks = data.draw(st.tuples(st.integers(100, 400), st.integers(200, 500)))
    array = RNG.integers(0, 50, shape).astype(data.draw(st.sampled_from(DTYPES)))
    path = tmp_path_factory.mktemp("any") / "a.h5"
    with h5py.File(path, "w") as file:
        options = {"compression": data.draw(st.sampled_from(["gzip", "lzf", None]))}
        chunks = tuple(min(pair) for pair in zip(chunks, shape, strict=True))
        made = file.create_dataset(
            "a", shape, array.dtype, chunks=chunks, shuffle=data.draw(st.booleans()), maxshape=(None, None),
            fletcher32=data.draw(st.booleans()), fillvalue=None if array.dtype.kind == "c" else 7, **options,
        )  # fmt: skip
        written = data.draw(st.integers(0, shape[0]))
        made[:written] = array[:written]
        expected = made[...]
    starts = st.one_of(st.none(), st.integers(-400, 400))
    steps = st.one_of(st.none(), st.integers(-9, 9).filter(bool))
    index = data.draw(st.tuples(*[st.builds(slice, starts, starts, steps)] * 2))
    np.testing.assert_array_equal(read(path, index), expected[index])


def test_chunks_that_skip_filters_read_right(tmp_path):
    array = RNG.integers(0, 9, (200, 400))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", (200, 400), "i8", chunks=(100, 400), compression="gzip", shuffle=True)
        shuffled = array[:100].view("u1").reshape(-1, 8).T.tobytes()
        made.id.write_direct_chunk((0, 0), shuffled, filter_mask=2)
        made.id.write_direct_chunk((100, 0), zlib.compress(array[100:].tobytes()), filter_mask=1)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["a"][...], array)
    np.testing.assert_array_equal(read(path), array)


def test_edges_that_are_stored_without_filters_read_right(tmp_path):
    array = RNG.integers(0, 1 << 60, (150, 400))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        # H5Pset_chunk_opts is not in h5py: a chunk at the edge of exactly a chunk's size stands for it.
        made = file.create_dataset("a", (150, 400), "i8", chunks=(100, 400), compression="gzip")
        whole = np.zeros((100, 400), "i8")
        whole[:50] = array[100:]
        made.id.write_direct_chunk((0, 0), zlib.compress(array[:100].tobytes()))
        made.id.write_direct_chunk((100, 0), whole.tobytes(), filter_mask=1)
    np.testing.assert_array_equal(read(path), array)


def bomb(path, chunk, packed, **options):
    """A file whose only chunk is what is given, whatever it unpacks to."""
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", chunk, "f8", chunks=chunk, **options)
        made.id.write_direct_chunk((0,) * len(chunk), packed)
    return path


@pytest.mark.parametrize("chunk", [(10,), (1,), (100, 100), (1000, 300)], ids=str)
@pytest.mark.parametrize("fletcher32", [False, True])
def test_a_chunk_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path, chunk, fletcher32):
    packed = BOMB + bytes(4) * fletcher32
    path = bomb(tmp_path / "a.h5", chunk, packed, compression="gzip", fletcher32=fletcher32)
    with grows_at_most(32 << 20), pytest.raises(UnreadableError, match="chunk at"):
        read(path)


def test_small_data_that_is_collected_is_looked_at_too(tmp_path):
    path = bomb(tmp_path / "a.h5", (1,), BOMB, compression="gzip")
    with grows_at_most(32 << 20):
        HDF5.describe(Source(path))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_bomb_that_says_it_skips_another_filter_is_refused(tmp_path, shuffle):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        options = {"shuffle": True, "fletcher32": not shuffle, "compression": "gzip"}
        made = file.create_dataset("a", (300, 300), "f8", chunks=(300, 300), **options)
        made.id.write_direct_chunk((0, 0), BOMB, filter_mask=1 if shuffle else 4)
    with grows_at_most(32 << 20), pytest.raises(UnreadableError, match="unpacks to more"):
        read(path)


def piped(path, array, chunks, *filters):
    """A file whose filters stand in an order that h5py itself does not make."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(chunks)
    for each in filters:
        each(created)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(array.shape)
        made = h5py.h5d.create(file.id, b"a", h5py.h5t.py_create(array.dtype), space, created)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return path


def test_a_checksum_before_packing_reads_right_as_netcdf_writes_it(tmp_path):
    array = RNG.integers(0, 1 << 60, (300, 400))
    path = piped(
        tmp_path / "a.h5", array, (100, 400),
        lambda p: p.set_shuffle(), lambda p: p.set_fletcher32(), lambda p: p.set_deflate(4),
    )  # fmt: skip
    np.testing.assert_array_equal(read(path), array)
    np.testing.assert_array_equal(read(path, slice(None, None, -3)), array[::-3])


@pytest.mark.parametrize("order", ["twice", "too early"])
def test_filters_in_an_order_that_hides_what_comes_out_are_refused(tmp_path, order):
    array = RNG.integers(0, 9, (300, 400))
    filters = [lambda p: p.set_deflate(4), lambda p: p.set_shuffle()]
    filters = [filters[0], filters[0]] if order == "twice" else filters
    path = piped(tmp_path / "a.h5", array, (100, 400), *filters)
    with pytest.raises(UnreadableError, match="last but for a checksum"):
        read(path)


def test_a_bomb_of_bzip2_is_refused(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    array = RNG.integers(0, 9, (50, 60))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, chunks=(50, 60), **hdf5plugin.BZip2())
    np.testing.assert_array_equal(read(path), array)
    with h5py.File(path, "r+") as file:
        file["a"].id.write_direct_chunk((0, 0), bz2.compress(bytes(200 << 20)))
    with grows_at_most(64 << 20), pytest.raises(UnreadableError, match="unpacks to more"):
        read(path)


def test_far_apart_elements_of_many_chunks_are_found_at_once(tmp_path):
    array = RNG.integers(0, 9, (4000, 3))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, chunks=(2, 3), compression="gzip")
    with HDF5.open(Source(path)) as opened:
        reader = opened.array({"dataset": "a"})
        np.testing.assert_array_equal(reader.read(slice(None, None, 9)), array[::9])
        assert reader._packed._kept_sizes is not None


@pytest.mark.parametrize("name", ["Bitshuffle", "Blosc", "LZ4", "Zstd"])
def test_a_chunk_that_claims_gigabytes_is_refused(tmp_path, name):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    array = RNG.integers(0, 9, (50, 60))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, chunks=(50, 60), **getattr(hdf5plugin, name)())
    np.testing.assert_array_equal(read(path), array)
    with h5py.File(path, "r+") as file:
        packed = bytearray(file["a"].id.read_direct_chunk((0, 0))[1])
        if name == "Zstd":  # a head that says its size in eight bytes, and one empty block
            packed = bytearray.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little") + b"\1\0\0"
        elif name == "Blosc":
            packed[4:8] = b"\xff\xff\xff\x7f"
        else:
            packed[:8] = (1 << 40).to_bytes(8, "big")
        file["a"].id.write_direct_chunk((0, 0), bytes(packed))
    with pytest.raises(UnreadableError, match="claims to unpack to"):
        read(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "more", "less"])
def test_damaged_chunks_name_where_they_are(tmp_path, damage):
    array = RNG.integers(0, 9, (100, 400))
    packed = bytearray(zlib.compress(array.tobytes()))
    if damage == "cut":
        packed = packed[:-9]
    elif damage == "flipped":
        packed[len(packed) // 2] ^= 255
    else:
        packed = zlib.compress(array.tobytes() + b"x" if damage == "more" else array.tobytes()[:-1])
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", (200, 400), "i8", chunks=(100, 400), compression="gzip")
        made.id.write_direct_chunk((100, 0), bytes(packed))
    np.testing.assert_array_equal(read(path, slice(0, 100)), 0)
    with pytest.raises(UnreadableError, match=r"a\.h5 is damaged: the chunk at \[100, 0\]"):
        read(path)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_one_bad_chunk_of_many_small_ones_spoils_no_other(tmp_path, compression):
    array = RNG.integers(0, 9, (200, 10))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("a", data=array, chunks=(1, 10), compression=compression)
        made.id.write_direct_chunk((70, 0), BOMB)
    np.testing.assert_array_equal(read(path, slice(0, 70)), array[:70])
    np.testing.assert_array_equal(read(path, slice(72, 75)), array[72:75])
    for index in (..., 70, slice(60, 90)):
        with grows_at_most(32 << 20), pytest.raises(UnreadableError, match=r"chunk at \[70, 0\] has"):
            read(path, index)


def virtual(path, shape, *mappings):
    """A file of one virtual data set; mappings are target index, source file, shape and index."""
    layout = h5py.VirtualLayout(shape, "f8")
    for target, name, source, index in mappings:
        layout[target] = h5py.VirtualSource(name, "a", source)[index]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("a", layout, fillvalue=-1)
    return path


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_bomb_in_a_source_of_a_virtual_data_set_is_refused_where_it_is_touched(tmp_path, is_nested):
    array, everything = RNG.random((4, 100, 90)), (slice(None),) * 2
    with h5py.File(tmp_path / "s.h5", "w") as file:
        made = file.create_dataset("a", data=array, chunks=(1, 100, 90), compression="gzip")
        made.id.write_direct_chunk((2, 0, 0), BOMB)
    mapping = (slice(3, 7), *everything), "s.h5", array.shape, slice(None)
    path = virtual(tmp_path / "v.h5", (9, 100, 90), mapping)
    if is_nested:
        path = virtual(tmp_path / "w.h5", (9, 100, 90), (slice(None), "v.h5", (9, 100, 90), slice(None)))
    with grows_at_most(32 << 20), pytest.raises(UnreadableError, match="chunk at"):
        read(path)
    with grows_at_most(32 << 20), pytest.raises(UnreadableError, match="chunk at"):
        read(path, (slice(8, None, -3), slice(5, 6)))
    np.testing.assert_array_equal(read(path, slice(3, 5)), array[:2])
    np.testing.assert_array_equal(read(path, slice(6, 8))[0], array[3])
    assert (read(path, slice(0, 3)) == -1).all()


@settings(max_examples=60)
@given(st.data())
def test_any_slice_of_any_virtual_data_set_is_that_of_h5py(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("virtual")
    array = RNG.random((5, 7, 9))
    with h5py.File(directory / "s.h5", "w") as file:
        file.create_dataset("a", data=array, chunks=(1, 4, 5), compression="gzip", shuffle=True)

    def box(length):
        low = data.draw(st.integers(0, length - 1))
        return slice(low, data.draw(st.integers(low + 1, length)), data.draw(st.integers(1, 2)))

    mappings = []
    for n in range(data.draw(st.integers(1, 3))):
        index = tuple(box(length) for length in array.shape)
        shape = array[index].shape
        at = tuple(data.draw(st.integers(0, 9 - length)) for length in shape)
        target = tuple(slice(a, a + length) for a, length in zip(at, shape, strict=True))
        mappings.append(((n, *target), "s.h5", array.shape, index))
    path = virtual(directory / "v.h5", (3, 9, 9, 9), *mappings)
    index = tuple(box(length) for length in (3, 9, 9, 9))
    with h5py.File(path) as file:
        expected = file["a"][index]
    np.testing.assert_array_equal(read(path, index), expected)


def test_what_a_slice_takes_of_a_source_is_never_narrowed_too_far(tmp_path):
    # Each chunk of the source is a bomb in turn: a slice is refused if and only if it takes of that chunk.
    array = RNG.random((4, 6))
    target = (1, slice(2, 6), slice(1, 7))
    for bad in [(row, column) for row in (0, 2) for column in (0, 3)]:
        with h5py.File(tmp_path / "s.h5", "w") as file:
            made = file.create_dataset("a", data=array, chunks=(2, 3), compression="gzip")
            made.id.write_direct_chunk(bad, BOMB)
        path = virtual(tmp_path / "v.h5", (3, 8, 8), (target, "s.h5", array.shape, slice(None)))
        for row in range(8):
            for column in range(8):
                rows, columns = slice(row, row + 1), slice(column, None, 7)
                taken = [column, column + 7] if column == 0 else [column]
                is_bad = row - 2 in (bad[0], bad[0] + 1) and any(bad[1] <= c - 1 < bad[1] + 3 for c in taken)
                if is_bad:
                    with pytest.raises(UnreadableError):
                        read(path, (slice(None), rows, columns))
                elif column:
                    found = read(path, (slice(None), rows, columns))
                    inside = 0 <= row - 2 < 4 and 0 <= column - 1 < 6
                    assert found[1, 0, 0] == (array[row - 2, column - 1] if inside else -1)
