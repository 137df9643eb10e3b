"""Images that were cut, flipped or made up: an array, or an error of ours, in time."""

from __future__ import annotations

import io
import time
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fuzz.test_damaged_files import edited, read_everything
from holdfast.errors import HoldfastError

# Many small cases, or servers that work for a while: minutes in all.
pytestmark = pytest.mark.slow

EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
LONGEST_S = 5.0
STACK = (np.arange(3 * 20 * 21) % 251 + 1).astype("u1").reshape(3, 20, 21)


def tiff(array, **form):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, photometric="minisblack", **form)
    return stream.getvalue()


def picture(kind, **form):
    stream = io.BytesIO()
    Image.fromarray(STACK.transpose(1, 2, 0).copy()).save(stream, kind, **form)
    return stream.getvalue()


def moving():
    stream = io.BytesIO()
    frames = [Image.fromarray(frame) for frame in STACK]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


WHOLE = {
    "stack.tif": tiff(STACK),
    "strips.tif": tiff(STACK[0], rowsperstrip=6, byteorder=">"),
    "tiles.tif": tiff(STACK.astype("<u2"), tile=(16, 16), compression="zlib", predictor=True),
    "big.tif": tiff(STACK[0], bigtiff=True, compression="lzw"),
    "jpeg.tif": tiff(STACK[0], compression="jpeg"),
    "imagej.tif": tiff(STACK, imagej=True),
    "a.png": picture("PNG"),
    "a.jpg": picture("JPEG"),
    "a.bmp": picture("BMP"),
    "a.webp": picture("WEBP", lossless=True),
    "moving.gif": moving(),
}
# Numbers that offsets, counts and lengths are at their worst.
SPLICES = [
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x08\0\0\0", b"\x01\0", b"\0\x01",
    b"II*\0", b"\x03\0\x01\0\0\0", b"\x04\0\xff\xff\xff\x7f", b"\x10\0\x01\0\0\0\0\0\0\0",
    b'{"shape": [99999999, 9]}', b"images=9999999",
]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(0, 8), st.sampled_from(SPLICES) | st.binary(max_size=4)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_images_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])
    read_everything(tmp_path / name)


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_images_are_read_or_refused_in_time(tmp_path, name):
    @EXAMPLES
    @given(EDITS, st.booleans())
    def check(edits: list[tuple[int, int, bytes]], keeps_size: bool) -> None:
        if keeps_size:
            edits = [(place, len(splice), splice) for place, _, splice in edits]
        path = tmp_path / name
        path.write_bytes(edited(WHOLE[name], edits))
        started = time.perf_counter()
        with suppress(HoldfastError):
            read_everything(path)
        assert time.perf_counter() - started < LONGEST_S

    check()


@pytest.mark.parametrize("name", WHOLE)
def test_images_cut_anywhere_are_read_or_refused(tmp_path, name):
    for length in range(0, len(WHOLE[name]), max(1, len(WHOLE[name]) // 40)):
        (tmp_path / name).write_bytes(WHOLE[name][:length])
        with suppress(HoldfastError):
            read_everything(tmp_path / name)
