"""Pictures: what pillow reads is an array, and what is too large, damaged or hostile is an error of ours."""

import io
import struct
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from holdfast.errors import HoldfastError, MissingDependencyError, UnreadableError
from holdfast.formats import images
from holdfast.formats.images import IMAGE
from holdfast.formats.libraries import image_library
from holdfast.formats.probe import probe_file
from holdfast.formats.registry import detect
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.testing.formats import FormatTests, Sample

RGB = (np.arange(20 * 30 * 3).reshape(20, 30, 3) % 251).astype("u1")
GRAY = RGB[:, :, 0].copy()


def described(path):
    with Source(path) as source:
        return IMAGE.describe(source)


def read(path, part=...):
    with IMAGE.open(Source(path)) as opened:
        return opened.array({}).read(part)


class TestPng(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.png"
        Image.fromarray(RGB).save(path)
        return Sample(IMAGE, path, arrays=[({}, RGB)])


class TestBmp(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.bmp"
        Image.fromarray(GRAY).save(path)
        return Sample(IMAGE, path, arrays=[({}, GRAY)])


class TestMovingGif(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.gif"
        frames = [Image.fromarray(np.roll(GRAY, n, 0)) for n in range(4)]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=40, loop=0)
        with Image.open(path) as opened:
            array = np.stack([_frame(opened, n) for n in range(4)])
        return Sample(IMAGE, path, arrays=[({}, array)])


def _frame(opened, number):
    opened.seek(number)
    return np.asarray(opened.convert("RGBA"))


KINDS = {
    "JPEG": ("a.jpg", "image/jpeg", {}),
    "WEBP": ("a.webp", "image/webp", {"lossless": True}),
    "JPEG2000": ("a.jp2", "image/jp2", {}),
    "GIF": ("a.gif", "image/gif", {}),
    "PPM": ("a.ppm", "image/x-portable-anymap", {}),
    "AVIF": ("a.avif", "image/avif", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_as_pillow_reads_it(tmp_path, kind):
    name, media_type, options = KINDS[kind]
    path = tmp_path / name
    try:
        Image.fromarray(RGB).save(path, kind, **options)
    except (KeyError, OSError):
        pytest.skip(f"this pillow writes no {kind}")
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    found = described(path)
    structure = ArrayStructure.from_json(found.root.structure)
    assert (found.media_type, structure.shape, structure.dtype) == (media_type, (20, 30, 3), np.uint8)
    assert np.array_equal(read(path), expected)
    assert np.array_equal(read(path, (slice(None, None, -3), 4)), expected[::-3, 4])
    with Source(path) as source:
        assert detect(source) is IMAGE


PIXELS = {
    "bits": GRAY > 100,
    "gray": GRAY,
    "gray and alpha": RGB[:, :, :2].copy(),
    "RGBA": np.concatenate([RGB, RGB[:, :, :1]], axis=2),
    "16 bits": GRAY.astype("<u2") * 257,
}


@pytest.mark.parametrize("pixels", PIXELS)
def test_every_kind_of_pixels_in_a_png_keeps_its_values(tmp_path, pixels):
    array, path = PIXELS[pixels], tmp_path / "a.png"
    Image.fromarray(array).save(path)
    assert np.array_equal(read(path), array)
    assert read(path).dtype == array.dtype


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_colours_of_sixteen_bits_keep_all_of_them(tmp_path, bands):
    array = np.random.default_rng(1).integers(0, 65535, (9, 7, bands), np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    assert read(tmp_path / "a.png").dtype == np.dtype("<u2")
    assert np.array_equal(read(tmp_path / "a.png"), array)


def test_a_palette_becomes_colours(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png"), np.asarray(image.convert("RGB")))
    image.save(tmp_path / "t.png", transparency=3)
    assert read(tmp_path / "t.png").shape == (20, 30, 4)


def test_numbers_beyond_bytes_keep_their_type(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 3 2 65535\n" + np.arange(6, dtype=">u2").tobytes())
    assert np.array_equal(read(tmp_path / "a.pgm"), np.arange(6).reshape(2, 3))
    (tmp_path / "a.pfm").write_bytes(b"Pf\n3 2\n-1.0\n" + np.arange(6, dtype="<f4").tobytes())
    assert read(tmp_path / "a.pfm").dtype == np.float32


def test_frames_of_a_moving_picture_are_read_alone_and_backwards(tmp_path):
    frames = [Image.fromarray(np.roll(RGB, n, 0)) for n in range(5)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    expected = np.stack([np.asarray(frame) for frame in frames])
    assert np.array_equal(read(tmp_path / "a.webp")[..., :3], expected)
    assert np.array_equal(
        read(tmp_path / "a.webp", (slice(None, None, -2), 3, slice(2, 5)))[..., :3], expected[::-2, 3, 2:5]
    )
    assert np.array_equal(read(tmp_path / "a.webp", -1)[..., :3], expected[-1])


def test_exif_and_text_are_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Holdfast"
    exif[0x8769] = {0x829A: 0.25, 0x9003: "2026:01:02 03:04:05"}
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300), comment=b"hello")
    found = described(tmp_path / "a.jpg").root.metadata
    assert found["Exif"] == {
        "Make": "Holdfast",
        "ExposureTime": 0.25,
        "DateTimeOriginal": "2026:01:02 03:04:05",
    }
    assert (found["dpi"], found["comment"], found["format"]) == ([300, 300], "hello", "JPEG")
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Sample", "AgBehenate")
    info.add_text("Long", "x" * 500_000, zip=True)
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=info)
    found = described(tmp_path / "a.png").root.metadata
    assert found["text"]["Sample"] == "AgBehenate"
    assert len(found["text"].get("Long", "")) <= 65536


def png(width, height, depth=8, colour=0, data=b"", more=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + packed + chunk(b"IEND", b"")


JPEG_2000 = bytes.fromhex(
    "ff4fff510029000000989680009896800000000000000000009896800098968000000000000000000001070101"
)


def gif(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


def bmp(width, height):
    return b"BM" + struct.pack("<IHHIIiiHHII", 100, 0, 0, 54, 40, width, height, 1, 24, 0, 0) + bytes(100)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", png(1_000_000, 1_000_000)),
        ("a.png", png(200_000, 200_000, 16, 6)),
        ("a.png", png((1 << 31) - 1, (1 << 31) - 1)),
        ("a.gif", gif(65535, 65535)),
        ("a.bmp", bmp(1 << 20, 1 << 20)),
        ("a.ppm", b"P6 1000000 1000000 255\n" + bytes(100)),
        ("a.jp2", JPEG_2000 + bytes(200)),
    ],
)  # fmt: skip
def test_a_small_file_that_claims_a_huge_picture_is_an_error_at_once(tmp_path, name, data, recwarn):
    path = tmp_path / name
    path.write_bytes(data)
    image_library("PIL.Image").init()
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match=r"pixels|cannot be decoded"):
            described(path)
        with pytest.raises(UnreadableError):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert not recwarn.list


def test_the_limit_is_a_number_of_bytes_and_named(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_FRAME_BYTES", 1799)
    with pytest.raises(UnreadableError, match=r"30 x 20 pixels, 1800 bytes; at most 1799 are decoded"):
        described(tmp_path / "a.png")


def test_text_that_unpacks_without_end_is_an_error_or_left_out(tmp_path):
    bomb = zlib.compress(bytes(100 << 20), 9)
    body = b"Comment\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    (tmp_path / "a.png").write_bytes(png(2, 2, more=chunk, data=b"\0ab\0cd"))
    with pytest.raises(UnreadableError, match="cannot be decoded"):
        described(tmp_path / "a.png")


def test_every_flipped_byte_of_a_header_reads_or_is_an_error(tmp_path):
    for name, options in (
        ("a.png", {}),
        ("a.jpg", {}),
        ("a.gif", {}),
        ("a.bmp", {}),
        ("a.webp", {"lossless": True}),
    ):
        out = io.BytesIO()
        Image.fromarray(RGB[:8, :8]).save(out, {"a.jpg": "JPEG"}.get(name, name[2:].upper()), **options)
        whole = out.getvalue()
        for at in range(2, min(len(whole), 120)):
            (tmp_path / name).write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
            try:
                with IMAGE.open(Source(tmp_path / name)) as opened:
                    reader = opened.array({})
                    if reader.structure.nbytes < 1 << 24:
                        reader.read()
                described(tmp_path / name)
            except HoldfastError:
                continue


def test_text_that_begins_like_a_picture_is_text(tmp_path):
    for name, text in (("a.txt", "P5 is the fifth point of 3 on 7 pages"), ("b.txt", "BMW drives 40 km")):
        (tmp_path / name).write_text(text)
        with Source(tmp_path / name) as source:
            assert detect(source) is not IMAGE


def test_a_library_that_is_not_there_is_named_and_the_file_is_listed(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")

    def absent(name):
        raise MissingDependencyError("this image needs pillow to be read: pip install 'holdfast[images]'")

    monkeypatch.setattr(images, "image_library", absent)
    with pytest.raises(MissingDependencyError, match=r"holdfast\[images\]"):
        described(tmp_path / "a.png")
    found = probe_file(tmp_path / "a.png")
    assert (found.failure, found.description.root.family) == (None, "bytes")
    assert "holdfast[images]" in found.description.root.metadata["holdfast"]["needs"]
