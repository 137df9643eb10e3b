"""A package of a third party with a format whose files crash, hang or exhaust who looks into them."""

import sys
import threading
from contextlib import contextmanager

from holdfast.formats.registry import all_formats

PLUGIN = """
import os, time
from holdfast.formats.base import Described, Description, Format

class Trap(Format):
    name, media_types, suffixes = "trap", ("application/x-trap",), (".trap",)
    def sniff(self, head, source):
        return head.startswith(b"TRAP")
    def describe(self, source):
        kind = source.head()[4:].decode()
        if kind == "crash":
            os.abort()
        if kind == "exit":
            os._exit(3)
        if kind == "hang":
            time.sleep(100)
        if kind == "raise":
            raise ZeroDivisionError("what a plug-in may raise")
        if kind == "memory":
            bytearray(1 << 40)
        if kind == "surrogate":
            return Description(Described("", "bytes", {"a": "\\ud800"}), self.media_types[0])
        return Description(Described("", "bytes", {"ok": True}), self.media_types[0])

TRAP = Trap()
"""


@contextmanager
def trap_plugin(site):
    """Install the package into a directory.

    A second thread runs meanwhile: workers then start as fresh processes, which see the package.
    """
    information = site / "trap_format-1.dist-info"
    information.mkdir(parents=True)
    (site / "trap_format.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: trap-format\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[holdfast.formats]\ntrap = trap_format:TRAP\n")
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    sys.path.insert(0, str(site))
    try:
        yield
    finally:
        sys.path.remove(str(site))
        all_formats.cache_clear()
        stop.set()
        thread.join()
