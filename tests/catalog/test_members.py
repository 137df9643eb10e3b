"""Master files: a detector's master with its data files is one node; whatever it does not name is a file."""

import os

import h5py
import numpy as np
import pytest

from holdfast.catalog import check, download, from_catalog, index
from holdfast.catalog.runs import masters_marked
from holdfast.catalog.scanning import Found
from holdfast.catalog.tree import Catalog
from holdfast.errors import ChangedError, MissingFileError

LONG_AGO = 1_700_000_000
SHAPE = (4, 3, 5)


def block(number):
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype("<u4") + 1000 * number


def write_data(directory, number, name="x_data_{:06d}.h5"):
    path = directory / name.format(number)
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = block(number)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def write_master(directory, numbers, name="x_master.h5"):
    """Write a master as an Eiger's file writer does: one external link for each data file."""
    path = directory / name
    with h5py.File(path, "w") as file:
        for number in numbers:
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(
                f"x_data_{number:06d}.h5", "/entry/data/data"
            )
        file["entry/instrument/detector/description"] = "Eiger 16M"
    os.utime(path, (LONG_AGO, LONG_AGO))


def write_virtual(directory, numbers, name="y_vds.h5"):
    """Write a master as areaDetector and Odin do: a virtual data set over all data files."""
    layout = h5py.VirtualLayout((len(numbers) * SHAPE[0], *SHAPE[1:]), "<u4")
    for at, number in enumerate(numbers):
        source = h5py.VirtualSource(f"y_{number:06d}.h5", "entry/data/data", SHAPE)
        layout[at * SHAPE[0] : (at + 1) * SHAPE[0]] = source
    with h5py.File(directory / name, "w") as file:
        file.create_virtual_dataset("data", layout)
    os.utime(directory / name, (LONG_AGO, LONG_AGO))


@pytest.fixture
def eiger(tmp_path):
    top = tmp_path / "eiger"
    top.mkdir()
    for number in (1, 2, 3):
        write_data(top, number)
    write_master(top, (1, 2, 3))
    return top


def keys(directory):
    with Catalog(directory) as catalog:
        return sorted(row.key for row in catalog.search(()).rows)


def test_an_eiger_master_with_its_data_files_is_one_node(eiger):
    summary = index(eiger, sequences=True)
    assert (summary.files, summary.added, summary.errors) == (4, 4, [])
    assert keys(eiger) == ["x_master.h5"]
    with from_catalog(eiger) as client:
        for number in (1, 2, 3):
            assert np.array_equal(client[f"x_master.h5/entry/data/data_{number:06d}"].read(), block(number))
        names = [asset.location for asset in client["x_master.h5"].assets()]
    assert sorted(names) == ["x_data_000001.h5", "x_data_000002.h5", "x_data_000003.h5", "x_master.h5"]
    assert check(eiger).ok
    with Catalog(eiger) as catalog:
        assert {asset.state for asset in catalog.database.assets.each()} == {"verified"}


def test_the_numbered_data_sets_of_a_master_are_one_array_too(eiger):
    index(eiger, sequences=True)
    whole = np.concatenate([block(1), block(2), block(3)])
    with from_catalog(eiger) as client:
        node = client["x_master.h5/entry/data/data"]
        assert (node.shape, node.dtype) == (whole.shape, whole.dtype)
        for part in [..., 5, (slice(None, None, -3), 1), (slice(3, 9), slice(None), -1), slice(4, 4), -1]:
            assert np.array_equal(node[part], whole[part])
    # Only the files that a slice touches are needed.
    (eiger / "x_data_000003.h5").unlink()
    with from_catalog(eiger) as client:
        assert np.array_equal(client["x_master.h5/entry/data/data"][2:7], whole[2:7])
        with pytest.raises(MissingFileError):
            client["x_master.h5/entry/data/data"][7:9]


def test_data_files_that_were_never_written_end_the_array_and_one_missing_in_between_makes_none(eiger):
    write_master(eiger, (1, 2, 3, 4, 5))
    index(eiger, sequences=True)
    with from_catalog(eiger) as client:
        assert client["x_master.h5/entry/data/data"].shape == (12, 3, 5)
    (eiger / "x_data_000002.h5").unlink()
    write_master(eiger, (1, 2, 3, 4))
    index(eiger)
    with from_catalog(eiger) as client:
        assert "data" not in list(client["x_master.h5/entry/data"])


def test_a_data_file_that_got_another_shape_is_an_error(eiger):
    index(eiger, sequences=True, digest="never")
    with h5py.File(eiger / "x_data_000002.h5", "w") as file:
        file["entry/data/data"] = block(2)[:2]
    with from_catalog(eiger) as client, pytest.raises(ChangedError):
        client["x_master.h5/entry/data/data"].read()


def test_a_virtual_data_set_over_numbered_files_is_one_array(tmp_path):
    for number in (1, 2):
        write_data(tmp_path, number, "y_{:06d}.h5")
    write_virtual(tmp_path, (1, 2))
    index(tmp_path, sequences=True)
    assert keys(tmp_path) == ["y_vds.h5"]
    with from_catalog(tmp_path) as client:
        assert np.array_equal(client["y_vds.h5/data"][2:6, 1], np.concatenate([block(1), block(2)])[2:6, 1])


def test_indexing_again_sees_a_data_file_that_came_changed_or_went(eiger):
    write_master(eiger, (1, 2, 3, 4))
    index(eiger, sequences=True)
    summary = index(eiger)
    assert (summary.unchanged, summary.added, summary.updated, summary.missing) == (4, 0, 0, 0)
    write_data(eiger, 4)
    index(eiger)
    assert keys(eiger) == ["x_master.h5"]
    with from_catalog(eiger) as client:
        assert np.array_equal(client["x_master.h5/entry/data/data_000004"].read(), block(4))
    os.utime(write_data(eiger, 9).rename(eiger / "x_data_000002.h5"), (LONG_AGO + 9, LONG_AGO + 9))
    index(eiger)
    with from_catalog(eiger) as client:
        assert np.array_equal(client["x_master.h5/entry/data/data_000002"].read(), block(9))
    (eiger / "x_data_000003.h5").unlink()
    summary = index(eiger)
    assert (summary.missing, keys(eiger)) == (1, ["x_master.h5"])
    assert [(finding.kind, finding.uri) for finding in check(eiger).findings] == [
        ("missing", "x_data_000003.h5")
    ]


def test_a_file_that_the_master_does_not_name_is_a_file_of_its_own(eiger):
    write_data(eiger, 7)
    index(eiger, sequences=True)
    assert keys(eiger) == ["x_data_000007.h5", "x_master.h5"]
    summary = index(eiger)
    assert (summary.unchanged, keys(eiger)) == (5, ["x_data_000007.h5", "x_master.h5"])


def test_a_damaged_master_leaves_its_data_files_to_themselves(eiger):
    (eiger / "x_master.h5").write_bytes((eiger / "x_master.h5").read_bytes()[:1000])
    summary = index(eiger, sequences=True)
    assert len(summary.errors) == 1
    assert len(keys(eiger)) == 4


def test_the_option_can_be_turned_on_and_off(eiger):
    index(eiger)
    assert len(keys(eiger)) == 4
    index(eiger, sequences=True)
    assert keys(eiger) == ["x_master.h5"]
    index(eiger, sequences=False)
    assert len(keys(eiger)) == 4
    with from_catalog(eiger) as client:
        assert np.array_equal(client["x_data_000002.h5/entry/data/data"].read(), block(2))


def test_a_download_of_the_master_brings_its_data_files(eiger, tmp_path):
    index(eiger, sequences=True)
    with from_catalog(eiger) as client:
        download(client["x_master.h5"], tmp_path / "home")
    with from_catalog(tmp_path / "home") as copy:
        assert list(copy) == ["x_master.h5"]
        assert np.array_equal(copy["x_master.h5/entry/data/data_000003"].read(), block(3))
    assert check(tmp_path / "home").ok


@pytest.mark.parametrize(
    ("names", "members"),
    [
        (
            ["a_master.h5", "a_data_1.h5", "a_data_2.h5"],
            {"a_data_1.h5": "a_master.h5", "a_data_2.h5": "a_master.h5"},
        ),
        (["a.nxs", "a-1.h5", "b-1.h5"], {"a-1.h5": "a.nxs"}),
        (["a_vds.h5", "a_master.h5", "a_1.h5"], {"a_1.h5": "a_master.h5"}),
        (["1.h5", "2.h5"], {}),
        (["run1.h5", "run2.h5"], {}),
        (["run.h5", "run1.h5"], {"run1.h5": "run.h5"}),
        (["a_master.txt", "a_data_1.h5"], {}),
    ],
)  # fmt: skip
def test_members_are_told_by_what_they_are_called(tmp_path, names, members):
    entries = [Found(tmp_path / name, name, (name,), is_directory=False, state=None) for name in names]
    assert {
        found.location: found.member_of for found in masters_marked(entries) if found.member_of
    } == members
