"""Files that were cut, flipped or made up: a format answers with what is there or with an error of ours."""

from __future__ import annotations

import io
import json
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import HoldfastError
from holdfast.formats.base import Described, OpenFile
from holdfast.formats.registry import detect
from holdfast.formats.source import Source

EXAMPLES = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
LONGEST_S = 3.0
LARGEST_BYTES = 64 << 20


def npy(value: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value)
    return stream.getvalue()


STRUCTURED = np.zeros(3, dtype=[("a", "<i4"), ("b", "S3"), ("c", "<f8", (2,))])
WHOLE = {
    "plain.npy": npy(np.arange(12.0).reshape(3, 4)),
    "fields.npy": npy(STRUCTURED),
    "text.npy": npy(np.array(["a", "bcd"])),
    "table.csv": b"x,y,label\n1,2.5,one\n2,3.5,\"two, \"\"quoted\"\"\"\n3,,three\n",
    "semicolons.csv": "größe;wert\n1,5;2\n".encode("latin-1"),
    "object.json": json.dumps({"a": [1, 2.5, None, {"b": "c"}], "d": "e" * 50}).encode(),
    "notes.txt": b"one\ntwo\nthree\n",
}  # fmt: skip
SPLICES = [
    b"",
    b"\x00" * 8,
    b"\xff\xfe",
    b'"',
    b",,,,\n",
    b"\n\r",
    b"9" * 30,
    b"{",
    b"[" * 3000,
    b"'descr'",
    b"(1,)",
    b"O",
]
SPLICES += [
    b"1e999",
    b"NaN",
    b"\x93NUMPY\x01\x00",
    b"'shape': (1000000000000,)",
    b"-1",
    b"<f8",
    b"\xef\xbb\xbf",
]
EDITS = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(0, 40), st.sampled_from(SPLICES) | st.binary(max_size=6)),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Replace some bytes by others at some places."""
    for place, length, splice in edits:
        at = place % (len(data) + 1)
        data = data[:at] + splice + data[at + length :]
    return data


def read_everything(path: Path) -> None:
    """Do all that serving a file does: find its format, describe it, read its arrays and tables."""
    with Source(path) as source:
        format_ = detect(source)
        root = format_.describe(source).root
        json.dumps(root.metadata, allow_nan=False).encode()
        if root.family != "bytes":
            with format_.open(source) as file:
                read_tree(file, root)


def read_tree(file: OpenFile, node: Described) -> None:
    if node.family == "array":
        reader = file.array(node.parameters)
        found = reader.structure.to_json()
        assert (found["shape"], found["data_type"]) == (node.structure["shape"], node.structure["data_type"])
        if reader.structure.nbytes <= LARGEST_BYTES:
            value = reader.read()
            assert (value.shape, value.dtype) == (reader.structure.shape, reader.structure.dtype)
            assert sum(slab.size for slab in reader.slabs()) == value.size
    elif node.family == "table":
        table = file.table(node.parameters)
        assert table.structure.to_json() == node.structure
        assert tuple(table.read().columns) == tuple(table.structure.columns)
    for child in node.children:
        read_tree(file, child)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])
    read_everything(tmp_path / name)


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_files_are_read_or_refused_in_time(tmp_path, name):
    @EXAMPLES
    @given(EDITS)
    def check(edits: list[tuple[int, int, bytes]]) -> None:
        path = tmp_path / name
        path.write_bytes(edited(WHOLE[name], edits))
        started = time.perf_counter()
        with suppress(HoldfastError):
            read_everything(path)
        assert time.perf_counter() - started < LONGEST_S

    check()


@pytest.mark.parametrize("name", WHOLE)
def test_files_cut_anywhere_are_read_or_refused(tmp_path, name):
    path = tmp_path / name
    whole = WHOLE[name]
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with suppress(HoldfastError):
            read_everything(path)
        assert path.read_bytes() == whole[:length]


@pytest.mark.parametrize("suffix", ["h5", "nxs", "npy", "csv", "json", "txt", "bin", "nc", "hdf"])
def test_random_bytes_under_any_suffix_are_refused_or_bytes(tmp_path, suffix):
    @settings(EXAMPLES, max_examples=30)
    @given(st.binary(max_size=2000))
    def check(data: bytes) -> None:
        path = tmp_path / f"file.{suffix}"
        path.write_bytes(data)
        with suppress(HoldfastError):
            read_everything(path)

    check()


HOSTILE = [
    "(10**18,)",
    "(2**63,)",
    "(2**62, 4)",
    "(-1,)",
    "(1.5,)",
    "('a',)",
    "()" * 200,
    "(True,)",
    "(0, 10**18)",
]


@pytest.mark.parametrize("shape", HOSTILE)
def test_an_npy_that_claims_a_huge_shape_takes_no_memory(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    head = header.encode().ljust(117) + b"\n"
    path = tmp_path / "huge.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(80))
    with suppress(HoldfastError), Source(path) as source:
        format_ = detect(source)
        root = format_.describe(source).root
        with format_.open(source) as file:
            assert file.array(root.parameters).structure.nbytes <= 80


@pytest.mark.parametrize(
    "descr", ["|O", "O", "<f0", "|V99999999999", "[('a', '|O')]", "[('a', [('b', '|O')])]", "zz", "<M8[zz]"]
)
def test_an_npy_of_objects_or_nonsense_is_refused(tmp_path, descr):
    text = descr if descr.startswith("[") else repr(descr)
    head = f"{{'descr': {text}, 'fortran_order': False, 'shape': (1,), }}".encode().ljust(117) + b"\n"
    path = tmp_path / "objects.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(80))
    with Source(path) as source, pytest.raises(HoldfastError):
        read_everything(source.path)
