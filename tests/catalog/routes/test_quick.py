"""What was quick a moment ago runs where it needs no change of threads; what was not, does not."""

from __future__ import annotations

import time

import numpy as np

from holdfast.catalog import index
from holdfast.catalog.routes import routes
from holdfast.catalog.routes.quick import EXPECTED_S, MAX_KEPT, QUICK_S, Quick
from holdfast.catalog.tree import Catalog
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.http.serving import running


def test_only_what_was_quick_a_moment_ago_is_expected_to_be(monkeypatch):
    quick, now = Quick(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with quick.timing("a"):
        pass
    assert quick.is_expected("a")
    assert not quick.is_expected("b")
    now += EXPECTED_S + 0.001
    assert not quick.is_expected("a")


def test_what_became_slow_is_expected_no_longer():
    quick = Quick()
    with quick.timing("a"):
        pass
    with quick.timing("a"):
        time.sleep(2 * QUICK_S)
    assert not quick.is_expected("a")


def test_what_is_kept_is_bounded():
    quick = Quick()
    for number in range(2 * MAX_KEPT + 10):
        with quick.timing(number):
            pass
    assert len(quick._until) <= MAX_KEPT


def test_small_reads_give_the_same_in_every_lane(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100.0))
    index(tmp_path)
    with Catalog(tmp_path) as catalog:
        site = Site([Mount("", routes(catalog), "catalog")], access=Access.open())
        with running(site) as url, Connection.to_url(url) as connection:
            for start in range(50):
                found = connection.get_bytes("/array/full/a.npy", {"slice": f"{start}:"})
                assert np.frombuffer(found).tolist() == list(range(start, 100))
