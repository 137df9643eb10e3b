"""JSON, text and bytes: the contract, and JSON content as metadata."""

import json

import pytest

from holdfast.errors import InvalidInputError, InvalidTypeError, UnreadableError
from holdfast.formats.json import JSON
from holdfast.formats.source import Source
from holdfast.formats.text import BYTES, TEXT
from holdfast.testing.formats import FormatTests, Sample


class TestJson(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text('{"sample": {"name": "Ag", "n": [1, 2.5, null, true]}}')
        return Sample(JSON, path)


class TestText(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("Wörter\n" * 1000)
        return Sample(TEXT, path, is_text=True, takes_anything=True)


class TestBytes(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.bin"
        path.write_bytes(bytes(range(256)) * 20)
        return Sample(BYTES, path, is_text=True, takes_anything=True)


def metadata(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with Source(path) as source:
        return JSON.describe(source).root.metadata


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "b": {"c": [1, "x"]}}', {"a": 1, "b": {"c": [1, "x"]}}),
        ("[1, 2]", {}),
        ("3", {}),
        (b"\xef\xbb\xbf{}", {}),
        ('{"é": "ü"}'.encode("utf-16"), {"é": "ü"}),
        (
            '{"t": {"x": NaN, "y": [Infinity]}}',
            {"t": {"x": None, "y": [None]}, "holdfast": {"nonfinite": ["t.x", "t.y.0"]}},
        ),
        ('{"big": 123456789012345678901234567890}', {"big": 123456789012345678901234567890.0}),
        ('{"nul": "a\\u0000b\\u0000\\u0000"}', {"nul": "a\\x00b"}),
        ('{"lone": "\\ud800"}', {"lone": "\\ud800"}),
    ],
)
def test_an_object_becomes_metadata_that_every_client_can_hold(tmp_path, text, expected):
    found = metadata(tmp_path, text)
    assert found == expected
    json.dumps(found, allow_nan=False).encode()


def test_deep_and_huge_objects_are_bounded(tmp_path):
    deep = '{"a":' * 500 + "1" + "}" * 500
    assert json.dumps(metadata(tmp_path, deep)).count("{") < 100
    many = json.dumps({f"k{n}": n for n in range(50_000)})
    found = metadata(tmp_path, many)
    assert found["holdfast"]["left_out"] == 30_000
    huge = json.dumps({"x": "a" * (9 << 20)})
    assert metadata(tmp_path, huge) == {"holdfast": {"left_out": 1}}


@pytest.mark.parametrize("text", ["{", '{"a": 1', "[" * 200_000, b"{\xff}", ""])
def test_what_is_no_json_is_an_error(tmp_path, text):
    with pytest.raises(UnreadableError, match=r"a\.json"):
        metadata(tmp_path, text)


def test_values_are_written_or_refused(tmp_path):
    JSON.write(tmp_path / "b.json", {"a": [1, "é"]})
    assert json.loads((tmp_path / "b.json").read_text()) == {"a": [1, "é"]}
    TEXT.write(tmp_path / "b.txt", "é")
    BYTES.write(tmp_path / "b.bin", b"\0")
    assert (tmp_path / "b.txt").read_bytes() + (tmp_path / "b.bin").read_bytes() == b"\xc3\xa9\0"
    for format, value, error in [
        (JSON, {"a": float("nan")}, InvalidInputError),
        (JSON, object(), InvalidInputError),
        (TEXT, b"a", InvalidTypeError),
        (BYTES, "a", InvalidTypeError),
    ]:
        with pytest.raises(error):
            format.write(tmp_path / "c", value)
    assert not (tmp_path / "c").exists()
