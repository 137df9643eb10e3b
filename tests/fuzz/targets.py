"""Every parser of ours as a function of bytes, with whole inputs to begin from.

One list for both ways of fuzzing: Hypothesis (`test_targets.py`) and atheris (`test_guided.py`, `guided.py`).
A target may raise errors of ours; anything else is a fault.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from holdfast import Record, paths, queries
from holdfast.catalog.routes.params import parse_shape, parse_sort
from holdfast.errors import HoldfastError
from holdfast.formats import arrowmessages, parquetpages
from holdfast.formats.archives import directory
from holdfast.formats.base import Described, OpenFile
from holdfast.formats.csv import CSV
from holdfast.formats.json import JSON
from holdfast.formats.npy import NPY
from holdfast.formats.sealed.format import SEALED
from holdfast.formats.sealed.tail import read_frames, read_tail
from holdfast.formats.slicing import Selection, parse_slice
from holdfast.formats.source import Source
from holdfast.hashing import Digest
from holdfast.http.frames import FrameReader, frames
from holdfast.http.ranges import Validators, parse_range, select
from holdfast.http.request import Query

__all__ = ["TARGETS", "Target", "run"]

LARGEST_BYTES = 16 << 20


@dataclass(frozen=True)
class Target:
    """A parser: what reads bytes, and some that it reads well."""

    read: Callable[[bytes], object]
    seeds: list[bytes] = field(default_factory=list)


def run(target: Target, data: bytes) -> None:
    """Read bytes; only an error of ours that says something may come of it."""
    try:
        target.read(data)
    except HoldfastError as error:
        if not str(error):
            raise AssertionError("an error that says nothing") from error


def text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """Take bytes as text of any kind."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def in_file(read: Callable[[Path], object], suffix: str) -> Callable[[bytes], object]:
    """Put bytes into a file."""

    def read_bytes(data: bytes) -> object:
        with tempfile.NamedTemporaryFile(suffix=suffix, dir=_directory()) as file:
            file.write(data)
            file.flush()
            return read(Path(file.name))

    return read_bytes


def _directory() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


# -- files -------------------------------------------------------------------------------------------------


def in_format(form: object) -> Callable[[Path], object]:
    """Describe a file and read all that its description names."""

    def read(path: Path) -> None:
        with Source(path) as source:
            root = form.describe(source).root
            json.dumps(root.metadata, allow_nan=False)
        if root.family != "bytes":
            with form.open(Source(path)) as file:
                _read_tree(file, root)

    return read


def _read_tree(file: OpenFile, node: Described) -> None:
    if node.family == "array":
        reader = file.array(node.parameters)
        assert reader.structure.to_json() == node.structure
        if reader.structure.nbytes <= LARGEST_BYTES:
            assert reader.read().shape == reader.structure.shape
    elif node.family == "table":
        table = file.table(node.parameters)
        assert tuple(table.read().columns) == table.structure.columns
    for child in node.children:
        _read_tree(file, child)


def sealed_log(path: Path) -> None:
    """Read a log as the reader of a record does, and every frame that counts."""
    fd = os.open(path, os.O_RDONLY)
    try:
        header, tail = read_tail(fd, "log")
        size = sum(frame.size for frame in tail.frames)
        assert size <= path.stat().st_size
        read_frames(fd, header, tail.frames, memoryview(bytearray(size)), "log")
    finally:
        os.close(fd)


def arrow_messages(path: Path) -> None:
    """Walk along messages and add up what they claim."""
    with Source(path) as source:
        for message in arrowmessages.messages(source, 0, source.size):
            assert message.offset + message.head + message.body <= source.size
            assert arrowmessages.claimed_bytes(source, message) >= 0


def parquet_pages(path: Path) -> None:
    """Walk along pages."""
    with Source(path) as source:
        found = parquetpages.sizes(source, 0, source.size, 1 << 40)
        assert 0 <= found.largest <= parquetpages.MAX_PAGE_BYTES


def zip_directory(path: Path) -> None:
    """Find the list of an archive's members."""
    with Source(path) as source:
        assert len(directory(source) or b"") <= source.size


# -- what comes over the wire ------------------------------------------------------------------------------


def received(data: bytes) -> bytes:
    """Take a body of frames whose parts are as long as the first byte says."""
    reader, out = FrameReader(), bytearray()
    step = (data[0] if data else 0) + 1
    for start in range(1, len(data), step):
        for piece in reader.feed(data[start : start + step]):
            out += piece
    reader.finish()
    return bytes(out)


def ranges(field_text: str) -> None:
    """Read a Range field and what goes with it."""
    span = parse_range(field_text, 1000)
    assert span is None or 0 <= span[0] < span[1] <= 1000
    names = ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]
    headers = dict(zip(names, field_text.split("\n"), strict=False))
    chosen = select(headers, 1000, Validators('"etag"', 784111777.0))
    assert 0 <= chosen.start <= chosen.stop <= 1000


def query(found: queries.Query) -> None:
    """A query that was read has a meaning, and goes to JSON and back."""
    found.matches({"n": 1, "color": "red", "list": ["a", {"b": None}]})
    with suppress(HoldfastError):
        assert queries.from_json(json.loads(json.dumps(queries.to_json(found)))) == found


def from_json_text(read: Callable[[object], queries.Query]) -> Callable[[bytes], object]:
    """Take bytes as JSON; what is none is no input of this parser."""

    def read_bytes(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        query(read(value))

    return read_bytes


def filters(address: bytes) -> None:
    """Read the parameters of an address, and Tiled's filters in them."""
    query(queries.from_filters(Query.parse(address).items()))


def key(spelled: str) -> None:
    """Read a key in every spelling; none leaves its root."""
    root = Path("/nowhere/root")
    for read in (paths.parse_key, paths.split_key, paths.unquote_key):
        with suppress(HoldfastError):
            parts = read(spelled)
            joined = paths.join(root, parts)
            assert joined == root or root in joined.parents
    with suppress(HoldfastError):
        paths.local_path(spelled)
    paths.is_url(spelled)


def sliced(spelled: str) -> None:
    """Read a slice and take it from a shape."""
    chosen = Selection.of(parse_slice(spelled), (7, 5, 3))
    assert all(
        0 <= axis.low <= axis.high <= length
        for axis, length in zip(chosen.axes, (7, 5, 3), strict=True)
        if axis.count
    )


# -- whole inputs ------------------------------------------------------------------------------------------


def _npy(*arrays: np.ndarray) -> list[bytes]:
    found = []
    for array in arrays:
        stream = io.BytesIO()
        np.save(stream, array)
        found.append(stream.getvalue())
    return found


def _record() -> tuple[list[bytes], list[bytes]]:
    """Return a sealed file and a log as a record writes them."""
    with tempfile.TemporaryDirectory() as directory, Record(directory) as record:
        record["whole"] = np.arange(12).reshape(3, 4)
        record["a"] = np.arange(6.0).reshape(3, 2)
        record.append("a", np.ones(2))
        record.append("a", np.zeros(2))
        files = [path.read_bytes() for path in Path(directory).rglob("whole.h5")]
        logs = [path.read_bytes() for path in Path(directory).rglob("*.log")]
    assert files
    assert logs
    return files, logs


def _arrow() -> list[bytes]:
    """Return streams, if pyarrow is here to write them."""
    try:
        import pyarrow as pa
    except ImportError:
        return []
    table = pa.table(
        {"n": [1, 2, None], "s": ["a", "b", "c"], "d": pa.array(["x", "y", "x"]).dictionary_encode()}
    )
    found = []
    for compression in (None, "zstd"):
        sink = io.BytesIO()
        with pa.ipc.new_stream(
            sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
        ) as out:
            out.write_table(table)
        found.append(sink.getvalue())
    return found


def _framed(*bodies: Iterable[bytes]) -> list[bytes]:
    return [b"\x07" + b"".join(bytes(part) for part in frames(body)) for body in bodies]


_FILES, _LOGS = _record()
_PAGE = b"\x15\x00\x15\x14\x15\x14\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x00\x00" + bytes(10)
_END = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 4, 0, 0)

TARGETS = {
    "sealed": Target(in_file(in_format(SEALED), ".h5"), _FILES),
    "sealed-log": Target(in_file(sealed_log, ".log"), _LOGS),
    "npy": Target(
        in_file(in_format(NPY), ".npy"),
        _npy(np.arange(6.0).reshape(2, 3), np.zeros(2, [("a", "<i4"), ("b", "S3", (2,))]), np.array("x")),
    ),
    "csv": Target(
        in_file(in_format(CSV), ".csv"),
        [b'n,x,"a ""b"""\n1,2.5,yes\n2,,"two\nlines"\n', b"a;b\r\n1;2,5\r\n", "µ\n1\n".encode("utf-16")],
    ),
    "json": Target(in_file(in_format(JSON), ".json"), [b'{"a": [1, 2.5e3, null, {"b": "c"}], "d": true}']),
    "frames": Target(received, _framed([b"one", b"two"], [], [b"x" * 300])),
    "ranges": Target(
        text(ranges), [b"bytes=0-99", b'bytes=-5\n"etag"', b"bytes=0-\nSun, 06 Nov 1994 08:49:37 GMT"]
    ),
    "query-language": Target(
        text(lambda spelled: query(queries.parse(spelled))),
        [
            b"n > 5 and not (color == 'red' or a.b in [1, 2])",
            b'text contains "x" and k like "a%"',
            b"not (a == null) or b != true",
        ],
    ),
    "query-json": Target(
        from_json_text(queries.from_json),
        [json.dumps(queries.to_json(queries.parse("n > 5 and not color == 'red'"))).encode()],
    ),
    "mongo": Target(
        from_json_text(queries.from_mongo),
        [
            b'{"a.b": {"$gt": 5, "$in": [1, null]}, "$or": [{"c": "d"}, {"e": {"$exists": true}}]}',
            b'{"a": {"$regex": "x"}}',
        ],
    ),
    "tiled-filters": Target(
        filters,
        [
            b"filter[eq][condition][key]=color&filter[eq][condition][value]=%22red%22",
            b"filter[comparison][condition][operator]=gt&filter[comparison][condition][key]=n"
            b"&filter[comparison][condition][value]=5&filter[fulltext][condition][text]=a",
        ],
    ),
    "paths": Target(text(key), [b"a/b", b"..%2fa", b"file:///a/b", b"/a//b/.", "é/ü".encode()]),
    "slices": Target(text(sliced), [b"1:3:1,0:5,::-2", b"...,1", b"(0, -1)"]),
    "digests": Target(text(Digest.parse), [b"blake3:" + b"0" * 64, b"md5:" + b"f" * 32]),
    "sort": Target(text(lambda spelled: parse_sort(spelled.split("&"))), [b"a&-b.c", b"-"]),
    "shape": Target(text(parse_shape), [b"1,2,3", b"scalar"]),
    "arrow-messages": Target(in_file(arrow_messages, ".arrows"), _arrow()),
    "parquet-pages": Target(in_file(parquet_pages, ".parquet"), [_PAGE * 2]),
    "zip-directory": Target(in_file(zip_directory, ".zip"), [b"PK\x01\x02" + _END]),
}
