"""Own where bad and unrecorded files go: into ``.manifest/aside``, for nothing is ever deleted.

>>> import tempfile, pathlib
>>> root = pathlib.Path(tempfile.mkdtemp()); (root / ".manifest").mkdir()
>>> _ = (root / "bad").write_bytes(b"bad")
>>> set_aside(str(root), str(root / "bad"))
>>> [path.name.partition(".")[0] for path in (root / ".manifest" / "aside").iterdir()]
['bad']
"""

from __future__ import annotations

import os
import time

from holdfast import files

__all__ = ["set_aside"]


def set_aside(root: str, path: str) -> None:
    """Move what stands at a path out of the way, if anything does.

    Parameters
    ----------
    root : str
        The archive.
    path : str
        A file or link in it; it keeps its name, with the moment behind it.
    """
    if os.path.lexists(path):
        aside = os.path.join(root, ".manifest", "aside")
        files.make_directories(aside)
        files.replace(path, os.path.join(aside, f"{os.path.basename(path)}.{time.time_ns()}"))
