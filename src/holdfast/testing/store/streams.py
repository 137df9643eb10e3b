"""Own the streams that fail."""

from __future__ import annotations

import io

__all__ = ["BrokenStream"]


class BrokenStream(io.RawIOBase):
    """Give some bytes, then fail."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 3

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the detector went away")
        return b"x" * 1000
