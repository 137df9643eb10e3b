"""A directory of files as a laboratory has them, small and made here, with what is in them known."""

from __future__ import annotations

import json
from pathlib import Path

import awkward
import h5py
import numpy as np
import scipy.sparse
import sparse

NUMBERS = np.arange(60, dtype="float64").reshape(3, 4, 5)
STRUCTURED = np.array([(1, 2.5, b"ab"), (2, 3.5, b"cd")], dtype=[("id", "<i4"), ("x", "<f8"), ("tag", "S2")])
ARRAYS = {
    "cube": NUMBERS,
    "counts": np.arange(12, dtype="uint16").reshape(3, 4),
    "big_endian": np.array([1, 2, 70000], dtype=">i4"),
    "flags": np.array([True, False, True]),
    "waves": np.array([1 + 2j, 3 - 4j]),
    "scalar": np.float32(2.5),
    "empty": np.empty((0, 3)),
    "fixed": np.array([b"ab", b"cde"], dtype="S3"),
    "structured": STRUCTURED,
}
CUBE = sparse.random((6, 5, 4), density=0.3, random_state=3)
MATRIX = scipy.sparse.random_array((30, 20), density=0.1, rng=np.random.default_rng(3), format="csr")
EVENTS = [
    {"t": 0.5, "hits": [{"x": 1, "y": 2.5}, {"x": 2, "y": 3.5}], "label": "a"},
    {"t": 1.5, "hits": [], "label": "é"},
    {"t": None, "hits": [{"x": 4, "y": 5.5}], "label": ""},
]
LISTS = [[1.0, 2.0], [], [3.5]]
COLORS = ["red", "green", "blue"]
N_SAMPLES = 12


def write(root: Path) -> Path:
    """Write everything below `root` and return it."""
    root.mkdir(parents=True, exist_ok=True)
    write_arrays(root / "arrays.h5")
    write_climate(root / "climate.nc")
    (root / "samples").mkdir()
    for number in range(N_SAMPLES):
        write_sample(root / "samples" / f"s{number:02d}.h5", number)
    np.save(root / "image.npy", np.arange(20, dtype="int32").reshape(4, 5))
    rows = "\n".join(f"{i},{i * 0.5},name{i}" for i in range(6))
    (root / "table.csv").write_text("x,y,label\n" + rows + "\n")
    (root / "notes.txt").write_text("aligned the beam\n")
    (root / "settings.json").write_text(
        json.dumps({"energy": 12.4, "operator": {"name": "Ada"}, "tags": ["u", "v"]})
    )
    (root / "raw.bin").write_bytes(bytes(range(256)) * 4)
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "first.txt").write_text("first\n")
    (root / "folder" / "inner" / "second.bin").write_bytes(b"\x00\x01\x02")
    return root


def write_arrays(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "many types"
        for name, value in ARRAYS.items():
            file[name] = value
        file["deep/er/packed"] = np.arange(1000).reshape(100, 10)
        file["text"] = ["one", "zwei", "três"]
        file["deep"].attrs["depth"] = 1
        file.create_dataset(
            "chunked", data=np.arange(600).reshape(20, 30), chunks=(7, 11), compression="gzip"
        )


def write_uneven(root: Path) -> None:
    """Write sparse and awkward arrays below `root`, as the libraries that make them do."""
    sparse.save_npz(root / "cube.npz", CUBE)
    scipy.sparse.save_npz(root / "matrix.npz", MATRIX)
    with h5py.File(root / "events.h5", "w") as file:
        packed = awkward.to_packed(awkward.Array(EVENTS))
        form, length, _ = awkward.to_buffers(packed, container=file.create_group("hits"))
        file["hits"].attrs.update({"form": form.to_json(), "length": length})
        lists = file.create_dataset("lists", (3,), h5py.vlen_dtype("f8"))
        for number, each in enumerate(LISTS):
            lists[number] = each


def write_climate(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "weather"
        file["time"] = np.arange(4.0)
        file["time"].make_scale("time")
        file["height"] = np.array([10.0, 20.0, 30.0])
        file["height"].make_scale("height")
        file["temperature"] = np.arange(12.0).reshape(4, 3)
        file["temperature"].attrs["units"] = "K"
        file["pressure"] = np.arange(4.0) * 100
        for name, scales in {"temperature": ["time", "height"], "pressure": ["time"]}.items():
            for axis, scale in enumerate(scales):
                file[name].dims[axis].attach_scale(file[scale])


def write_sample(path: Path, number: int) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["color"] = COLORS[number % 3]
        file.attrs["n"] = number
        file.attrs["good"] = bool(number % 2)
        file.attrs["words"] = f"sample number {number} {'special' if number == 7 else 'plain'}"
        if number < 3:
            file.attrs["only_some"] = 1.5
        file["data"] = np.full((2, 2), number)
