"""What other processes do to a store in tests; here, where a started process can import it."""

import io
import os

from holdfast.store import FileSystemStore


def count_up(path, name, times):
    store = FileSystemStore(path, durability="os")
    for number in range(times):
        with store.transaction("count"):
            store.update_metadata("counter", {"n": store.get_metadata("counter")["n"] + 1})
        store.set(f"{name}/{number}", (io.BytesIO(b"%d" % number), {"by": name}))
        store.update_metadata("shared", {f"{name}-{number}": number})


def overwrite(path, times):
    store = FileSystemStore(path, durability="os")
    for number in range(times):
        store.set("k", (io.BytesIO(b"%08d" % number * 10), {"n": number}))


def die_while_receiving(path):
    class Deadly(io.RawIOBase):
        def read(self, size=-1):
            os._exit(1)

    FileSystemStore(path).set("k", (Deadly(), {}))


def die_in_transaction(path):
    store = FileSystemStore(path)
    with store.transaction("never ends"):
        store.set("k", (io.BytesIO(b"new"), {"v": "new"}))
        os._exit(1)
