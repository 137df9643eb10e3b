"""Probing: looking into files in replaceable worker processes.

Owns the workers and what is asked of them; a file that hangs or crashes a library costs one worker, and the
answer for that file is a failure.

Notes
-----
A worker reads requests from its standard input and answers on its standard output, each a length and JSON.
It answers file by file, so that the one in work is known when the worker has to be ended.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from blake3 import blake3

from holdfast.errors import HoldfastError, MissingDependencyError
from holdfast.formats.base import Described, Description
from holdfast.formats.metadata import Metadata
from holdfast.formats.registry import detect, is_built_in
from holdfast.formats.source import FileState, Source
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest

__all__ = [
    "Job",
    "ProbeFailure",
    "Probed",
    "Request",
    "encode_path",
    "probe_file",
    "read_frame",
    "serve",
    "write_frame",
]

HASHED_AT_ONCE_BYTES = 1 << 20
"""Files up to this size are hashed while they are looked into."""

_FRAME = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Job:
    """A file to look into.

    Parameters
    ----------
    path : Path
        The file.
    is_hashed : bool
        Whether a small file is hashed at once.
    is_outline : bool
        Whether shape and type are enough.
    """

    path: Path
    is_hashed: bool = False
    is_outline: bool = False

    @property
    def kind(self) -> tuple[bool, bool]:
        """What jobs asked about together have in common."""
        return self.is_hashed, self.is_outline


@dataclass(frozen=True, slots=True)
class ProbeFailure:
    """Why a file could not be looked into: the code of an error, and its message."""

    code: str
    message: str


@dataclass(slots=True)
class Probed:
    """What a worker found.

    Parameters
    ----------
    description : Description, optional
        What the file holds; None when it could not be read.
    failure : ProbeFailure, optional
        Why not.
    state : FileState, optional
        Size and times of the file as it was read.
    is_steady : bool
        Whether the file stayed the same meanwhile.
    digest : str, optional
        Digest of the whole file.
    blocks : bytes
        Digests of its blocks.
    """

    description: Description | None = None
    failure: ProbeFailure | None = None
    state: FileState | None = None
    is_steady: bool = True
    digest: str | None = None
    blocks: bytes = b""

    def digests(self) -> BlockDigests | None:
        """Return the digests as a value; None when the file was not hashed."""
        if self.digest is None or self.state is None:
            return None
        return BlockDigests(Digest.parse(self.digest), self.state.size, self.blocks)


@dataclass(slots=True)
class Request:
    """Files to look into, as they travel to a worker."""

    paths: list[str]
    is_hashed: bool
    roots: list[str] = field(default_factory=list)
    is_outline: bool = False


def probe_file(
    path: Path, *, roots: Sequence[Path] = (), is_hashed: bool = False, is_outline: bool = False
) -> Probed:
    """Look into one file in this process.

    Parameters
    ----------
    path : Path
        The file.
    roots : sequence of Path
        Where files that it names may lie.
    is_hashed : bool
        Whether a small file is hashed as well.
    is_outline : bool
        Whether shape and type are enough; metadata is left out.
    """
    found = Probed()
    try:
        with Source(path, roots=roots, name=path.name) as source:
            found.state = source.state
            if is_hashed and source.size <= HASHED_AT_ONCE_BYTES:
                _hash(source, found)
            found.description = _outline(source) if is_outline else _describe(source)
            found.is_steady = FileState.of(os.fstat(source.fd)) == source.state
    except HoldfastError as error:
        found.failure = ProbeFailure(error.code, str(error))
    except Exception as error:  # a format of a third party may raise anything; the file is listed with it
        found.failure = ProbeFailure("unreadable", f"{path.name}: {type(error).__name__}: {error}"[:500])
    return found


def _describe(source: Source) -> Description:
    """Describe a file; what a format of a third party says is cleaned as ours is."""
    form = detect(source)
    try:
        description = form.describe(source)
    except MissingDependencyError as error:
        # A file that this installation cannot look into is no damaged file.
        needs = {"holdfast": {"needs": str(error)}}
        return Description(Described("", "bytes", needs), form.media_types[0])
    if not is_built_in(form):
        _clean(description.root)
    return description


def _outline(source: Source) -> Description:
    """Describe a file without its metadata."""
    description = detect(source).outline(source)
    description.root.metadata = {}
    return description


def _clean(node: Described) -> None:
    collected = Metadata()
    for key, value in node.metadata.items():
        collected.put((key,), value)
    node.metadata = collected.to_json()
    for child in node.children:
        _clean(child)


def _hash(source: Source, found: Probed) -> None:
    data = source.read()
    found.digest = f"blake3:{blake3(data).hexdigest()}"
    blocks = range(0, len(data), BLOCK_BYTES)
    found.blocks = b"".join(blake3(data[at : at + BLOCK_BYTES]).digest() for at in blocks)


def encode_path(path: Path) -> str:
    """Write any path as text that JSON can hold, one character a byte."""
    return os.fsencode(path).decode("latin-1")


def read_frame(fd: int) -> bytes | None:
    """Read one message from a pipe; None at its end."""
    head = _read_exactly(fd, _FRAME.size)
    return None if head is None else _read_exactly(fd, _FRAME.unpack(head)[0])


def _read_exactly(fd: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def write_frame(fd: int, data: bytes) -> None:
    """Write one message to a pipe."""
    view = memoryview(_FRAME.pack(len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def serve(request_fd: int = 0, answer_fd: int = 1) -> None:
    """Answer requests until the pipe ends: the whole life of a worker."""
    decoder = msgspec.json.Decoder(Request)
    while (frame := read_frame(request_fd)) is not None:
        request = decoder.decode(frame)
        roots = [_decode_path(root) for root in request.roots]
        for path in request.paths:
            found = probe_file(
                _decode_path(path), roots=roots, is_hashed=request.is_hashed, is_outline=request.is_outline
            )
            write_frame(answer_fd, _encoded(found))


def _encoded(found: Probed) -> bytes:
    try:
        return msgspec.json.encode(found)
    except (OverflowError, ValueError, TypeError, RecursionError) as error:
        failure = ProbeFailure("unreadable", f"its metadata cannot be kept: {error}")
        return msgspec.json.encode(Probed(failure=failure, state=found.state, is_steady=found.is_steady))


def _decode_path(text: str) -> Path:
    return Path(os.fsdecode(text.encode("latin-1")))
