"""A small directory of files of every kind, as a laboratory has it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

IMAGE = np.arange(3 * 5 * 7, dtype=">i4").reshape(3, 5, 7)
NOISE = np.random.default_rng(7).normal(size=(64, 1024))


def write_lab(directory: Path) -> Path:
    """Write the files and return the directory."""
    (directory / "runs" / "ext").mkdir(parents=True)
    with h5py.File(directory / "runs" / "scan.nxs", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["sample/name"] = "AgBehenate"
        entry["sample/temperature"] = np.array([293.5])
        entry["data/image"] = IMAGE
        entry["data/image"].attrs["units"] = "counts"
        entry.create_dataset("data/noise", data=NOISE, chunks=(8, 256), compression="gzip")
        entry["data/point"] = 3.5
        entry["data/empty"] = np.empty((0, 3))
        entry["data/flags"] = np.array([True, False])
        entry["data/complex"] = np.array([1 + 2j])
        entry["data/names"] = np.array([b"a", b"bcd"])
        entry["data/words"] = np.array(["ä", "longer"], dtype=object)
        entry["data/pairs"] = np.array([(1, 2.5), (3, 4.5)], dtype=[("n", "<i2"), ("x", "<f8")])
        entry["linked"] = h5py.ExternalLink("ext/raw.h5", "/raw")
        entry["absent"] = h5py.ExternalLink("gone.h5", "/raw")
    with h5py.File(directory / "runs" / "ext" / "raw.h5", "w") as file:
        file["raw"] = np.arange(10.0)
    np.save(directory / "runs" / "plain.npy", np.arange(1000.0).reshape(10, 100))
    (directory / "table.csv").write_text("x,y,name\n1,0.5,a\n2,1.5,b\n3,2.5,c\n")
    (directory / "facts.json").write_text(json.dumps({"color": "red", "n": 7, "tags": ["u", "v"]}))
    (directory / "notes.txt").write_text("a note\n")
    (directory / "odd ä#?%.txt").write_text("a name that URLs must quote\n")
    for number in range(12):
        path = directory / "many" / f"{number:02}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"n": number, "color": "blue" if number % 2 else "red"}))
    return directory
