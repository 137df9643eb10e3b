"""The unmodified tiled 0.2.20 client reads sequences, TIFF files and pictures from our server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import holdfast as hf
from holdfast.catalog import check, download
from originals.tiled_server import tiled_serving
from served import KEY, holdfast, served

pytestmark = pytest.mark.originals

Ask = Callable[..., Any]
FRAMES = np.arange(6 * 5 * 7, dtype="<u2").reshape(6, 5, 7)
STACK = np.arange(1, 2 * 3 * 40 * 30 + 1, dtype="<i4").reshape(2, 3, 40, 30)
COLOURS = (np.arange(8 * 9 * 3) % 251).astype("u1").reshape(8, 9, 3)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("frames") / "run"
    root.mkdir()
    for number, frame in enumerate(FRAMES):
        tifffile.imwrite(root / f"name_{number + 1:04d}.tif", frame)
    tifffile.imwrite(root / "stack.tif", STACK, photometric="minisblack", compression="zlib", tile=(16, 16))
    tifffile.imwrite(root / "pages.tif", FRAMES[0])
    tifffile.imwrite(root / "pages.tif", STACK[0, 0], append=True)
    Image.fromarray(COLOURS).save(root / "picture.png")
    indexed = holdfast("index", root, "--sequences")
    assert indexed.returncode == 0, indexed.stderr
    return root


@pytest.fixture(scope="module")
def ask(original, directory) -> Iterator[Ask]:
    """Ask the tiled client, which is connected as `client`."""
    with served(directory) as server:
        conversation = original("tiled-0.2.20")
        conversation(f"from tiled.client import from_uri\nclient = from_uri({server.url!r}, api_key={KEY!r})")
        yield conversation


def test_a_numbered_run_is_one_array_with_the_key_that_tiled_gives_it(ask):
    assert ask("sorted(client)") == ["name_", "pages.tif", "picture.png", "stack.tif"]
    assert ask("client['name_'].read()") == FRAMES.tolist()
    assert ask("client['name_'][2:5, ::2, -1]") == FRAMES[2:5, ::2, -1].tolist()
    assert ask("client['name_'][3]") == FRAMES[3].tolist()
    assert ask("client['name_'].metadata['sequence']") == {"frames": 6, "first": 1, "last": 6}


def test_its_data_source_is_what_tiled_itself_would_record(ask):
    ask("[source] = client['name_'].data_sources()")
    assets = "[[a.parameter, a.num, a.data_uri.rsplit('/', 1)[1]] for a in source.assets]"
    source = ask(f"[source.mimetype, source.structure_family, {assets}]")
    assert source[:2] == ["multipart/related;type=image/tiff", "array"]
    assert source[2] == [["data_uris", number, f"name_{number + 1:04d}.tif"] for number in range(6)]


def test_its_files_are_exported_as_they_are(ask, directory, tmp_path):
    ask(f"client['name_'].raw_export({str(tmp_path)!r})")
    found = {path.name: path.read_bytes() for path in tmp_path.rglob("*.tif")}
    assert found == {path.name: path.read_bytes() for path in directory.glob("name_*.tif")}


def test_a_tiff_of_many_pages_is_read_whole_sliced_and_by_block(ask):
    assert ask("client['stack.tif'].shape") == list(STACK.shape)
    assert ask("client['stack.tif'].read()") == STACK.tolist()
    assert ask("client['stack.tif'][1, :, 10:20, ::-7]") == STACK[1, :, 10:20, ::-7].tolist()
    block = tuple(map(slice, ask("[lengths[0] for lengths in client['stack.tif'].chunks]")))
    assert ask("client['stack.tif'].read_block((0, 0, 0, 0))") == STACK[block].tolist()


def test_pages_of_several_shapes_are_a_container(ask):
    assert ask("[client['pages.tif'][key].read() for key in client['pages.tif']]") == [
        FRAMES[0].tolist(),
        STACK[0, 0].tolist(),
    ]


def test_a_picture_is_an_array_of_colours(ask):
    assert ask("client['picture.png'].read()") == COLOURS.tolist()


def test_a_sequence_of_a_tiled_server_comes_home_with_all_files_and_opens_offline(tmp_path):
    lab = tmp_path / "lab"
    lab.mkdir()
    for number, frame in enumerate(FRAMES):
        tifffile.imwrite(lab / f"name_{number + 1:04d}.tif", frame)
    command = ["directory", lab, "--keep-ext", "--api-key", "secret"]
    serving = tiled_serving("0.2.20", command, "Indexing complete")
    with serving as url, hf.from_uri(url, api_key="secret") as client:
        assert np.array_equal(client["name_"].read(), FRAMES)
        download(client, tmp_path / "home")
    with hf.from_catalog(tmp_path / "home") as copy:
        assert list(copy) == ["name_"]
        assert np.array_equal(copy["name_"][1:4, ::-1], FRAMES[1:4, ::-1])
    assert check(tmp_path / "home").ok
