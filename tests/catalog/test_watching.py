"""Keeping a served catalog up to date."""

import os
import time
from pathlib import Path

import numpy as np

from holdfast.catalog.tree import Catalog
from holdfast.catalog.watching import Keeper
from trap_plugin import trap_plugin


def until(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        os.sched_yield()


def test_files_are_listed_then_digested_while_others_read(tmp_path):
    for n in range(30):
        np.save(tmp_path / f"{n}.npy", np.arange(n))
        os.utime(tmp_path / f"{n}.npy", (1e9, 1e9))
    with Catalog(tmp_path, create=True) as catalog:
        keeper = Keeper(catalog)
        assert catalog.count(()) == 0
        keeper.start()
        until(lambda: catalog.count(()) == 30)
        assert keeper.wait(60)
        assert catalog.database.assets.counts() == {"verified": 30}
        assert keeper.summary.added == keeper.summary.digested == 30
        keeper.stop()
        keeper.stop()
        assert not keeper.is_busy


def test_watching_finds_what_is_new_and_digests_what_rests(tmp_path):
    with Catalog(tmp_path, create=True) as catalog:
        keeper = Keeper(catalog, watch_s=0.1)
        keeper.start()
        assert keeper.wait(60)
        np.save(tmp_path / "new.npy", np.arange(3))
        until(lambda: catalog.count(()) == 1)
        until(lambda: catalog.database.assets.by_location("new.npy").state == "verified")
        (tmp_path / "new.npy").unlink()
        until(lambda: catalog.database.assets.by_location("new.npy").state == "missing")
        keeper.stop()


def test_without_watching_it_ends_but_waits_for_files_to_rest(tmp_path):
    np.save(tmp_path / "fresh.npy", np.arange(3))
    with Catalog(tmp_path, create=True) as catalog:
        keeper = Keeper(catalog)
        keeper.start()
        until(lambda: catalog.count(()) == 1)
        until(lambda: catalog.database.assets.by_location("fresh.npy").digest is not None)
        keeper.stop()


def test_stopping_leaves_the_rest_for_another_time(tmp_path):
    for n in range(300):
        (tmp_path / f"{n}.txt").touch()
    with Catalog(tmp_path, create=True) as catalog:
        keeper = Keeper(catalog)
        keeper.start()
        keeper.stop()
        assert not keeper.is_busy
        again = Keeper(catalog)
        again.start()
        assert again.wait(60)
        again.stop()
        assert catalog.count(()) == 300


def test_stopping_does_not_wait_for_a_file_that_hangs(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.trap").write_text("TRAPhang")
    with trap_plugin(tmp_path / "packages"), Catalog(tmp_path / "served", create=True) as catalog:
        keeper = Keeper(catalog)
        keeper.start()
        until(lambda: workers() > 0)
        began = time.monotonic()
        keeper.stop()
        assert time.monotonic() - began < 20


def workers():
    children = Path(f"/proc/self/task/{os.getpid()}/children").parent.parent
    return sum(len(path.read_text().split()) for path in children.glob("*/children"))


def test_stopping_does_not_wait_for_a_large_file_to_be_read(tmp_path):
    with open(tmp_path / "huge.bin", "wb") as file:
        file.truncate(1 << 38)
    os.utime(tmp_path / "huge.bin", (1e9, 1e9))
    with Catalog(tmp_path, create=True) as catalog:
        keeper = Keeper(catalog)
        keeper.start()
        until(lambda: catalog.database.assets.counts() == {"pending": 1})
        keeper.stop()
        assert catalog.database.assets.counts() == {"pending": 1}
