"""Sequences of images: packed or not, with one page or several; from the command line too."""

import json
import os
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from catalog.conftest import serving_directory
from holdfast.app import ServeOptions, build
from holdfast.catalog import from_catalog, from_uri, index
from holdfast.catalog.tree import Catalog
from holdfast.cli import run
from holdfast.errors import ForbiddenError, HoldfastError
from holdfast.events import ProgressEnd, bus

LONG_AGO = 1_700_000_000
STACK = (np.arange(7 * 12 * 11) * 7 % 60_000).astype("<u2").reshape(7, 12, 11)


def rest(directory):
    for path in directory.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return directory


def write(directory, stack=STACK, name="img_{:03d}.tif", **form):
    directory.mkdir(exist_ok=True)
    for number, frame in enumerate(stack):
        tifffile.imwrite(directory / name.format(number), frame, photometric="minisblack", **form)
    return rest(directory)


@pytest.mark.parametrize(
    "form", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"byteorder": ">"}, {"bigtiff": True}]
)
def test_a_run_of_tiff_files_is_one_array(tmp_path, form):
    directory = write(tmp_path / "run", **form)
    index(directory, sequences=True)
    with from_catalog(directory) as client:
        assert list(client) == ["img_"]
        for part in [..., 3, (slice(1, 6, 2), slice(None, None, -1), 4), (-1, slice(2, 5), slice(3, 3))]:
            assert np.array_equal(client["img_"][part], STACK[part])
        assert client["img_"].metadata["ImageWidth"] == 11


def test_packed_and_plain_files_of_one_type_are_one_run_and_another_byte_order_is_not(tmp_path):
    directory = write(tmp_path / "run")
    tifffile.imwrite(directory / "img_002.tif", STACK[2], compression="zlib")
    for number in (4, 5):
        tifffile.imwrite(directory / f"img_{number:03d}.tif", STACK[number], byteorder=">")
    index(rest(directory), sequences=True)
    with from_catalog(directory) as client:
        assert sorted(client) == ["img_", "img_004.tif"]
        assert np.array_equal(client["img_"].read(), STACK[[0, 1, 2, 3, 6]])
        assert np.array_equal(client["img_004.tif"].read(), STACK[4:6])


def test_a_run_of_stacks_has_an_axis_more(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    stacks = np.stack([STACK, STACK[::-1]])
    for number, stack in enumerate(stacks):
        tifffile.imwrite(directory / f"s{number}.tiff", stack, photometric="minisblack", compression="zlib")
    index(rest(directory), sequences=True)
    with from_catalog(directory) as client:
        assert client["s"].shape == stacks.shape
        assert np.array_equal(client["s"][1, 2:4, ::3], stacks[1, 2:4, ::3])


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_a_run_of_pictures_is_one_array_and_colours_are_its_last_axis(tmp_path, suffix):
    directory = tmp_path / "run"
    directory.mkdir()
    frames = np.stack([(STACK[n][..., None] * [1, 2, 3] % 256).astype("u1") for n in range(4)])
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(directory / f"shot{number + 8}.{suffix}")
    index(rest(directory), sequences=True)
    with from_catalog(directory) as client:
        assert list(client) == ["shot"]
        assert np.array_equal(client["shot"].read(), frames)
        assert np.array_equal(client["shot"][::2, 3, :, 1], frames[::2, 3, :, 1])


def test_a_frame_that_is_a_bomb_or_cut_is_a_file_with_an_error_and_the_others_are_the_run(tmp_path):
    directory = write(tmp_path / "run")
    whole = (directory / "img_003.tif").read_bytes()
    (directory / "img_003.tif").write_bytes(whole[: len(whole) - 40])
    (directory / "img_005.tif").write_bytes(
        whole[:8] + whole[8:].replace(b"\x0c\0\0\0", b"\xff\xff\xff\x7f", 1)
    )
    summary = index(rest(directory), sequences=True)
    assert len(summary.errors) == 2
    with from_catalog(directory) as client:
        assert sorted(client) == ["img_", "img_003.tif", "img_005.tif"]
        assert np.array_equal(client["img_"].read(), STACK[[0, 1, 2, 4, 6]])
        assert client["img_"].metadata["sequence"]["missing"] == [[3, 3], [5, 5]]


def test_a_slice_travels_over_the_wire_in_pieces_and_verified(tmp_path):
    stack = np.random.default_rng(3).integers(0, 60_000, (12, 600, 700), np.uint16)
    directory = write(tmp_path / "run", stack)
    index(directory, sequences=True)
    with serving_directory(directory) as url:
        node = from_uri(url)["img_"]
        assert np.array_equal(node.read(), stack)
        assert np.array_equal(node[3:9, 100:300], stack[3:9, 100:300])
        path = directory / "img_004.tif"
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        os.utime(path, (LONG_AGO, LONG_AGO))
        assert np.array_equal(node[5:7], stack[5:7])
        with pytest.raises(HoldfastError):
            node[3:9]


def test_the_commands_know_sequences(tmp_path, capsys):
    directory = write(tmp_path / "run")
    assert run(["index", str(directory), "--sequences"]) == 0
    capsys.readouterr()
    assert run(["ls", str(directory), "--json"]) == 0
    assert [row["key"] for row in json.loads(capsys.readouterr().out)] == ["img_"]
    assert run(["index", str(directory), "--no-sequences"]) == 0
    with Catalog(directory) as catalog:
        assert catalog.count(()) == 7


def test_serve_makes_sequences_behind_its_answers(tmp_path):
    directory = write(tmp_path / "run")
    options = ServeOptions(
        directory=directory, face="catalog", public=True, faces={"catalog": {"sequences": True}}
    )
    listed = threading.Event()
    link = bus.connect(ProgressEnd, lambda event: listed.set(), keep=True)
    try:
        with build(options):
            assert listed.wait(30)
            with from_catalog(directory) as client:
                assert list(client) == ["img_"]
                assert np.array_equal(client["img_"].read(), STACK)
    finally:
        bus.disconnect(link)


def test_numbered_fits_images_are_one_array(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    frames = np.arange(60, dtype="u2").reshape(5, 3, 4)
    for number, frame in enumerate(frames):
        fits.PrimaryHDU(frame).writeto(tmp_path / f"light_{number:03d}.fits")
    index(tmp_path, sequences=True)
    with Catalog(tmp_path) as catalog, catalog.array(("light_",)) as array:
        assert np.array_equal(array.read((slice(None, None, -2), 1)), frames[::-2, 1])


def test_a_frame_that_is_a_link_is_followed_inside_and_refused_outside(tmp_path):
    directory = write(tmp_path / "run")
    (directory / "elsewhere").mkdir()
    (directory / "img_003.tif").rename(directory / "elsewhere" / "three.tif")
    (directory / "img_003.tif").symlink_to("elsewhere/three.tif")
    index(directory, sequences=True)
    with from_catalog(directory) as client:
        assert np.array_equal(client["img_"].read(), STACK)
        (directory / "elsewhere" / "three.tif").rename(tmp_path / "three.tif")
        (directory / "img_003.tif").unlink()
        (directory / "img_003.tif").symlink_to(tmp_path / "three.tif")
        assert np.array_equal(client["img_"][4:], STACK[4:])
        with pytest.raises(ForbiddenError):
            client["img_"][3]
