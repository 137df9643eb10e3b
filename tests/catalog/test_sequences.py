"""Sequences: numbered files of one shape and type are one array, also when files come, go and change."""

import json
import os

import numpy as np
import pytest

from holdfast.catalog import check, download, from_catalog, index
from holdfast.catalog.indexing import index_catalog
from holdfast.catalog.rounds import Options
from holdfast.catalog.tree import Catalog
from holdfast.catalog.watching import Keeper
from holdfast.errors import ChangedError, HashError, MissingFileError
from holdfast.queries import Key

LONG_AGO = 1_700_000_000


def frame(number, shape=(3, 4), dtype="<u2"):
    return np.full(shape, number, dtype) + np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(directory, number, prefix="scan_", age_s=0, **form):
    path = directory / f"{prefix}{number:04d}.npy"
    np.save(path, frame(number, **form))
    os.utime(path, (LONG_AGO - age_s, LONG_AGO - age_s))
    return path


@pytest.fixture
def run(tmp_path):
    top = tmp_path / "run"
    top.mkdir()
    for number in range(1, 6):
        write(top, number)
    return top


def keys(directory, *path):
    with Catalog(directory) as catalog:
        return [row.key for row in catalog.search(path).rows]


def read(directory, key="scan_", part=...):
    with Catalog(directory) as catalog, catalog.array((key,)) as array:
        return array.read(part)


def facts(directory, key="scan_"):
    with Catalog(directory) as catalog:
        return json.loads(catalog.node((key,)).metadata)["sequence"]


def expected(*numbers):
    return np.stack([frame(number) for number in numbers])


def only_these_can_be_read(directory, names):
    for path in directory.glob("*.npy"):
        path.chmod(0o644 if path.name in names else 0)


def test_a_numbered_run_is_one_array_whose_assets_are_its_files_in_order(run):
    summary = index(run, sequences=True)
    assert (summary.files, summary.added, summary.errors) == (5, 5, [])
    assert keys(run) == ["scan_"]
    with Catalog(run) as catalog:
        row = catalog.node(("scan_",))
        [source] = catalog.sources([row])[row.id]
        structure = json.loads(row.structure)
    assert (row.family, structure["shape"]) == ("array", [5, 3, 4])
    assert source.mimetype == "multipart/related;type=application/x-npy"
    assert [(asset.location, asset.parameter, asset.num) for asset in source.assets] == [
        (f"scan_{number:04d}.npy", "data_uris", number - 1) for number in range(1, 6)
    ]
    assert all(asset.digest and asset.state == "verified" for asset in source.assets)
    assert facts(run) == {"frames": 5, "first": 1, "last": 5}


def test_a_sequence_is_sliced_as_numpy_slices(run):
    index(run, sequences=True)
    whole = expected(1, 2, 3, 4, 5)
    for part in [
        ...,
        0,
        -1,
        slice(1, 3),
        slice(None, None, -2),
        (2, 1),
        (slice(None), 0, slice(None, None, -1)),
    ]:
        assert np.array_equal(read(run, part=part), whole[part])


def test_a_slice_opens_only_the_files_that_it_touches(run):
    index(run, sequences=True)
    for path in run.glob("*.npy"):
        if path.name != "scan_0003.npy":
            path.unlink()
    assert np.array_equal(read(run, part=(2, slice(1, None))), frame(3)[1:])
    with pytest.raises(MissingFileError, match=r"scan_0004\.npy"):
        read(run, part=3)


def test_numbers_count_not_names(run):
    for number in (10, 9):
        np.save(run / f"plain{number}.npy", frame(number))
    index(run, sequences=True)
    assert keys(run) == ["plain", "scan_"]
    assert np.array_equal(read(run, "plain"), expected(9, 10))


def test_without_the_option_files_are_nodes_and_the_option_is_remembered(run):
    index(run)
    assert keys(run) == [f"scan_{number:04d}.npy" for number in range(1, 6)]
    summary = index(run, sequences=True)
    assert (summary.unchanged, keys(run)) == (5, ["scan_"])
    index(run)
    assert keys(run) == ["scan_"]
    assert np.array_equal(read(run), expected(1, 2, 3, 4, 5))
    index(run, sequences=False)
    assert sorted(keys(run)) == [f"scan_{number:04d}.npy" for number in range(1, 6)]
    assert np.array_equal(read(run, "scan_0002.npy"), frame(2))
    assert check(run).ok


def test_a_run_that_grew_is_updated_and_no_other_file_is_read(run):
    index(run, sequences=True)
    with Catalog(run) as catalog, catalog.database.transaction() as tx:
        row = catalog.node(("scan_",))
        tx.nodes.update(row.id, metadata={**json.loads(row.metadata), "remark": "mine"})
    only_these_can_be_read(run, ())
    write(run, 6)
    summary = index(run)
    assert (summary.added, summary.updated, summary.unchanged, summary.errors) == (1, 0, 5, [])
    for path in run.glob("*.npy"):
        path.chmod(0o644)
    assert np.array_equal(read(run), expected(1, 2, 3, 4, 5, 6))
    assert facts(run) == {"frames": 6, "first": 1, "last": 6}
    with Catalog(run) as catalog:
        assert json.loads(catalog.node(("scan_",)).metadata)["remark"] == "mine"
        assert catalog.node(("scan_",)).id == row.id


def test_a_run_that_lost_a_frame_has_a_gap(run):
    index(run, sequences=True)
    (run / "scan_0003.npy").unlink()
    summary = index(run)
    assert (summary.missing, summary.unchanged) == (1, 4)
    assert np.array_equal(read(run), expected(1, 2, 4, 5))
    assert facts(run) == {"frames": 4, "first": 1, "last": 5, "missing": [[3, 3]], "gaps": 1}
    assert [finding.kind for finding in check(run).findings] == ["missing"]
    index(run, prune=True)
    assert check(run).ok
    write(run, 3)
    index(run)
    assert np.array_equal(read(run), expected(1, 2, 3, 4, 5))


def test_a_frame_that_was_replaced_is_read_anew_and_the_others_are_not(run):
    index(run, sequences=True)
    np.save(run / "scan_0002.npy", frame(77))
    os.utime(run / "scan_0002.npy", (LONG_AGO + 5, LONG_AGO + 5))
    with pytest.raises(ChangedError, match=r"scan_0002\.npy changed"):
        read(run)
    summary = index(run)
    assert (summary.added, summary.updated, summary.unchanged) == (0, 1, 4)
    assert np.array_equal(read(run), expected(1, 77, 3, 4, 5))


def test_the_first_frame_going_gives_the_sequence_another_first(run):
    index(run, sequences=True)
    (run / "scan_0001.npy").unlink()
    index(run, prune=True)
    assert np.array_equal(read(run), expected(2, 3, 4, 5))
    assert facts(run)["first"] == 2


def test_another_shape_splits_the_run(run):
    for number in (6, 7):
        write(run, number, shape=(2, 2))
    write(run, 8, dtype="<f4")
    index(run, sequences=True)
    assert sorted(keys(run)) == ["scan_", "scan_0006.npy", "scan_0008.npy"]
    assert np.array_equal(read(run), expected(1, 2, 3, 4, 5))
    assert read(run, "scan_0006.npy").shape == (2, 2, 2)
    assert read(run, "scan_0008.npy").shape == (3, 4)
    # Of three of the other shape, and none of this one any more, the first names the node as before.
    for number in (1, 2, 3, 4, 5):
        write(run, number, shape=(2, 2), age_s=7)
    index(run)
    assert sorted(keys(run)) == ["scan_", "scan_0008.npy"]
    assert read(run).shape == (7, 2, 2)


def test_a_damaged_file_is_a_file_of_its_own_until_it_is_whole(run):
    whole = (run / "scan_0003.npy").read_bytes()
    (run / "scan_0003.npy").write_bytes(whole[:-2])
    os.utime(run / "scan_0003.npy", (LONG_AGO, LONG_AGO))
    summary = index(run, sequences=True)
    assert len(summary.errors) == 1
    assert keys(run) == ["scan_0003.npy", "scan_"] or keys(run) == ["scan_", "scan_0003.npy"]
    assert np.array_equal(read(run), expected(1, 2, 4, 5))
    (run / "scan_0003.npy").write_bytes(whole)
    os.utime(run / "scan_0003.npy", (LONG_AGO, LONG_AGO))
    summary = index(run)
    assert (summary.errors, keys(run)) == ([], ["scan_"])
    assert np.array_equal(read(run), expected(1, 2, 3, 4, 5))


def test_two_runs_in_one_directory_are_two_arrays_and_other_files_stay(run):
    for number in (1, 2):
        write(run, number, prefix="dark", shape=(2,))
        write(run, number, prefix="", shape=(5,))
    (run / "scan_").mkdir()
    (run / "notes1.txt").write_text("one")
    (run / "notes2.txt").write_text("two")
    write(run, 7, prefix="alone")
    index(run, sequences=True)
    assert sorted(keys(run)) == [
        "_unnamed", "alone0007.npy", "dark", "notes1.txt", "notes2.txt", "scan_", "scan_.npy"
    ]  # fmt: skip
    assert read(run, "dark").shape == (2, 2)
    assert read(run, "_unnamed").shape == (2, 5)
    assert np.array_equal(read(run, "scan_.npy"), expected(1, 2, 3, 4, 5))


def test_a_run_of_one_left_is_a_file_again(run):
    index(run, sequences=True)
    for number in (1, 2, 3, 4):
        (run / f"scan_{number:04d}.npy").unlink()
    index(run, prune=True)
    assert keys(run) == ["scan_0005.npy"]
    assert np.array_equal(read(run, "scan_0005.npy"), frame(5))


def test_a_run_that_vanished_is_marked_and_removed_only_when_asked(run):
    index(run, sequences=True)
    for path in run.glob("*.npy"):
        path.unlink()
    summary = index(run)
    assert (summary.missing, keys(run)) == (5, ["scan_"])
    with pytest.raises(MissingFileError):
        read(run)
    summary = index(run, prune=True)
    assert (summary.pruned, keys(run)) == (1, [])
    with Catalog(run) as catalog:
        assert [asset.location for asset in catalog.database.assets.each()] == ["."]


def test_nothing_is_written_for_a_run_that_is_as_recorded(run):
    write(run, 9, shape=(2, 2))
    index(run, sequences=True)
    with Catalog(run) as catalog:
        before = catalog.database.change()
        told = []
        catalog.database.write = told.append
        catalog.database.transaction = told.append
        summary = index_catalog(catalog)
        assert (summary.unchanged, summary.added, summary.updated) == (6, 0, 0)
        assert catalog.database.change() == before
    assert told == []


def test_a_flipped_bit_in_a_frame_is_an_error_that_names_it(run):
    index(run, sequences=True)
    path = run / "scan_0004.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert np.array_equal(read(run, part=slice(0, 3)), expected(1, 2, 3))
    with pytest.raises(HashError, match=r"scan_0004\.npy"):
        read(run)
    assert [finding.uri for finding in check(run).findings] == ["scan_0004.npy"]


def test_a_frame_replaced_by_another_shape_while_served_is_an_error(run):
    index(run, sequences=True, digest="never")
    path = run / "scan_0002.npy"
    with open(path, "r+b") as held:
        np.save(held, frame(2, dtype="<u4"))
        held.flush()
        with pytest.raises(ChangedError):
            read(run)


def test_a_sequence_that_got_another_order_since_it_was_opened_is_never_read_mixed(run):
    (run / "scan_0002.npy").unlink()
    index(run, sequences=True)
    with Catalog(run) as catalog, catalog.array(("scan_",)) as array:
        assert np.array_equal(array.read(1), frame(3))
        write(run, 2)
        index(run)
        with pytest.raises(ChangedError, match="read it again"):
            array.read(1)
    assert np.array_equal(read(run, part=1), frame(2))


def test_a_sequence_is_found_downloaded_and_opened_offline_with_all_its_frames(run, tmp_path):
    (run / "sub").mkdir()
    for number in (1, 2):
        write(run / "sub", number, prefix="z")
    index(run, sequences=True)
    with from_catalog(run) as client:
        hits = client.search(Key("sequence.frames") == 5)
        assert list(hits) == ["scan_"]
        download(hits, tmp_path / "home")
    names = sorted(
        path.relative_to(tmp_path / "home").as_posix() for path in (tmp_path / "home").rglob("*.npy")
    )
    assert names == [f"data/scan_{number:04d}.npy" for number in range(1, 6)]
    with from_catalog(tmp_path / "home") as copy:
        assert list(copy) == ["scan_"]
        assert np.array_equal(copy["scan_"].read(), expected(1, 2, 3, 4, 5))
        assert [asset.location for asset in copy["scan_"].assets()] == [name[5:] for name in names]
    assert check(tmp_path / "home").ok
    index(tmp_path / "home")
    assert keys(tmp_path / "home") == ["scan_"]


def test_a_run_that_is_written_while_served_grows(run):
    with Catalog(run, create=True) as catalog:
        keeper = Keeper(catalog, watch_s=0.2, sequences=True)
        keeper.start()
        try:
            assert keeper.wait(20)
            np.save(run / "scan_0006.npy", frame(6))
            for _ in range(200):
                with catalog.array(("scan_",)) as array:
                    if array.structure.shape[0] == 6:
                        break
                keeper._stopped.wait(0.05)
            with catalog.array(("scan_",)) as array:
                assert np.array_equal(array.read(), expected(1, 2, 3, 4, 5, 6))
        finally:
            keeper.stop()


def test_options_say_nothing_of_sequences_by_default():
    assert Options().sequences is None
