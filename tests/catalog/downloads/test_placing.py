"""Where files of a download go; every name comes from a server that may be hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.canned import item
from holdfast.catalog.downloads.placing import place
from holdfast.errors import ConflictError, ForbiddenError, HoldfastError, ServerError


def asset(number, location, **facts):
    return {"id": number, "location": location, "is_directory": False, "size": 1, "state": "ok", **facts}


def nodes(**items):
    """Make descriptions of path=(family, [assets]); '__' stands for a slash, 'DOT' for a dot."""
    made = {(): item("", "container")}
    for name, (family, assets) in items.items():
        path = name.replace("__", "/").replace("DOT", ".")
        made[tuple(path.split("/"))] = item(
            path, family, sources=[{"structure_family": family, "assets": assets}]
        )
    return made


def placed(made, manifest=lambda path, asset: ()):
    return {"/".join(target): wanted.asset.id for target, wanted in place(made, manifest).files.items()}


def test_a_file_lies_at_the_path_of_its_node():
    made = nodes(
        runs=("container", [asset(1, "runs", is_directory=True)]),
        runs__aDOTh5=("container", [asset(2, "runs/a.h5")]),
    )
    assert placed(made) == {"runs/a.h5": 2}


def test_a_file_of_many_nodes_has_one_place():
    shared = asset(2, "a.h5")
    made = nodes(
        aDOTh5=("container", [shared]), aDOTh5__x=("array", [shared]), aDOTh5__g=("container", [shared])
    )
    assert placed(made) == {"a.h5": 2}


def test_a_file_under_another_name_than_its_node_lies_below_the_node():
    made = nodes(
        scan=("array", [asset(1, "scan_0.tif"), asset(2, "scan_1.tif")]), a=("table", [asset(3, "a.csv")])
    )
    assert placed(made) == {"scan/scan_0.tif": 1, "scan/scan_1.tif": 2, "a/a.csv": 3}


def test_the_files_of_a_directory_lie_below_the_node():
    made = nodes(z=("array", [asset(1, "z", is_directory=True)]))
    inside = [("c", "0"), ("zarr.json",)]
    listed = placed(made, lambda path, asset: [(each, asset) for each in inside])
    assert listed == {"z/c/0": 1, "z/zarr.json": 1}


def test_the_files_of_a_directory_of_many_nodes_are_listed_once():
    store = asset(1, "z", is_directory=True)
    made = nodes(z=("container", [store]), z__a=("array", [store]), z__b=("array", [store]))
    made["z",]["attributes"]["data_sources"][0]["mimetype"] = "application/x-zarr"
    asked = []

    def manifest(path, directory):
        asked.append(path)
        return [(("a", "c", "0"), directory)]

    assert placed(made, manifest) == {"z/a/c/0": 1}
    assert asked == [("z",)]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("raw.h5", "runs/raw.h5"),
        ("../raw.h5", "raw.h5"),
        ("ext/./r.h5", "runs/ext/r.h5"),
        ("/data/raw.h5", "runs/raw.h5"),
    ],
)
def test_a_linked_file_lies_where_the_link_finds_it(link, expected):
    own, linked = asset(1, "runs/a.nxs"), asset(2, "somewhere/raw.h5", parameter=f"external:{link}")
    made = nodes(runs=("container", []), runs__aDOTnxs=("container", [own, linked]))
    assert placed(made) == {"runs/a.nxs": 1, expected: 2}


def test_a_file_that_is_a_node_and_linked_elsewhere_has_both_places():
    made = nodes(
        rawDOTh5=("container", [asset(2, "raw.h5")]),
        runs=("container", []),
        runs__aDOTh5=(
            "container",
            [asset(1, "runs/a.h5"), asset(2, "raw.h5", parameter="virtual:/old/raw.h5")],
        ),
    )
    assert placed(made) == {"raw.h5": 2, "runs/a.h5": 1, "runs/raw.h5": 2}


def test_a_linked_file_that_is_absent_is_told_and_not_wanted():
    linked = asset(2, "gone.h5", state="missing", link="gone.h5")
    placing = place(nodes(aDOTh5=("container", [asset(1, "a.h5"), linked])), lambda path, asset: ())
    assert placing.absent == ["gone.h5"]
    assert list(placing.files) == [("a.h5",)]


@pytest.mark.parametrize("link", ["../../etc/passwd", "../x", "..", "/..", "a/../../x"])
def test_a_link_that_leaves_the_destination_is_refused(link):
    made = nodes(aDOTh5=("container", [asset(1, "a.h5"), asset(2, "x", link=link)]))
    with pytest.raises(HoldfastError):
        placed(made)


def test_a_link_above_the_top_is_forbidden():
    made = nodes(aDOTh5=("container", [asset(1, "a.h5"), asset(2, "x", link="../x")]))
    with pytest.raises(ForbiddenError, match="outside"):
        placed(made)


def test_two_files_never_share_a_place():
    with pytest.raises(ConflictError):
        placed(nodes(x=("bytes", [asset(1, "x")]), x__y=("bytes", [asset(3, "x/y")])))
    made = nodes(x=("array", [asset(1, "same.tif"), asset(2, "same.tif")]))
    with pytest.raises(ConflictError):
        placed(made)


@pytest.mark.parametrize("bad", [{}, {"id": "x"}, {"id": 1, "digest": "md9:0"}, {"id": 1, "size": "big"}])
def test_a_file_that_is_described_wrongly_is_a_server_error(bad):
    with pytest.raises(ServerError):
        placed(nodes(x=("bytes", [bad])))


NAMES = st.text(st.sampled_from("ab./\\\0~é "), max_size=6)


@given(st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), NAMES, st.none() | NAMES), max_size=4))
def test_whatever_a_server_says_stays_below_the_destination(entries):
    made = {(): item("", "container")}
    for number, (path, location, link) in enumerate(entries):
        own = asset(2 * number, location)
        linked = [] if link is None else [asset(2 * number + 1, "l", link=link)]
        made[tuple(path)] = item(
            "/".join(path), "bytes", sources=[{"structure_family": "bytes", "assets": [own, *linked]}]
        )
    try:
        placing = place(made, lambda path, asset: ())
    except HoldfastError:
        return
    for target in placing.files:
        assert target
        assert not {"", ".", ".."} & set(target)
        assert not any("/" in part or "\0" in part for part in target)


def test_data_in_no_file_is_named_and_what_is_inside_files_is_not():
    made = nodes(
        lab=("container", [asset(1, "lab", is_directory=True)]),
        lab__aDOTh5=("container", [asset(2, "lab/a.h5")]),
        lab__group=("container", [asset(3, "lab/group", is_directory=True)]),
        memory=("container", []),
    )
    made["lab", "group"]["attributes"]["data_sources"][0]["mimetype"] = "application/x-zarr"
    for path in ("lab/a.h5/x", "lab/group/y", "lab/b", "memory/t"):
        made[tuple(path.split("/"))] = item(path, "table" if path.endswith("t") else "array")
    assert place(made, lambda path, asset: ()).without_file == ["lab/b", "memory/t"]
