"""encore 0.8 itself: its stores beside ours in a directory, its client against our server, its tests."""

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.app import ServeOptions, build
from holdfast.http.serving import running
from holdfast.store import FileSystemStore, init_shared_store
from holdfast.testing.store import KEYS

pytestmark = pytest.mark.originals

ENCORE = "encore-0.8.0"
KEY = "e" * 64
SOURCE = Path(__file__).parents[2] / "src"

OPEN = """
import io
from encore.storage.filesystem_store import FileSystemStore, init_shared_store
from encore.storage.dynamic_url_store import DynamicURLStore
"""

# Runs encore's own test mixins against a store that `make` gives; prints the names that failed.
PACKAGED = """
import json, os, sys, tempfile, unittest
from encore.storage.tests.abstract_test import StoreReadTestMixin, StoreWriteTestMixin
READ = {"test1": (b"test2\\n", {"a_str": "test3", "an_int": 1, "a_float": 2.0, "a_bool": True,
        "a_list": ["one", "two", "three"], "a_dict": {"one": 1, "two": 2, "three": 3}})}
WRITE = dict(READ)
for i in range(10):
    metadata = {"query_test1": "value", "query_test2": i}
    if i % 2 == 0:
        metadata["optional"] = True
    READ["key%d" % i] = (b"value%d" % i, metadata)
    WRITE["existing_key%d" % i] = (b"existing_value%d" % i, {"meta": True, "meta1": -i})
class Read(unittest.TestCase, StoreReadTestMixin):
    resolution = "second"
    def setUp(self):
        self.store = make(READ)
class Write(unittest.TestCase, StoreWriteTestMixin):
    resolution = "second"
    def setUp(self):
        self.store = make(WRITE)
suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(case) for case in (Read, Write))
result = unittest.TextTestRunner(stream=open(os.devnull, "w")).run(suite)
failed = sorted(case.id().split(".")[-1] for case, _ in result.failures + result.errors)
print(json.dumps({"run": result.testsRun, "skipped": len(result.skipped), "failed": failed}))
"""

# What encore's own client cannot do, whatever the server: query_keys() gives bytes in Python 3.
CEILING = [
    "test_glob", "test_query", "test_query1", "test_query1_keys", "test_query2", "test_query2_keys",
    "test_query_keys", "test_query_select", "test_query_select_missing",
]  # fmt: skip


def unittests(python, code, **settings):
    environment = {"PATH": os.environ["PATH"], **settings}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def site_packages(python):
    code = "import encore, os; print(os.path.dirname(os.path.dirname(encore.__file__)))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_encore_opens_what_we_wrote_and_we_what_it_wrote(original, tmp_path):
    encore = original(ENCORE)
    init_shared_store(tmp_path)
    ours = FileSystemStore(tmp_path)
    ours.set("ours", (io.BytesIO(b"1"), {"é": 1}))
    encore(f"{OPEN}\nstore = FileSystemStore({str(tmp_path)!r})\nstore.connect()")
    assert encore("[store.get('ours').data.read().decode(), store.get('ours').metadata]") == [
        "1",
        {"é": 1},
    ]
    encore("store.set('theirs', (io.BytesIO(b'2'), {'ü': 2}))")
    assert ours.to_bytes("theirs") == b"2"
    assert list(ours.query(ü=2)) == [("theirs", {"ü": 2})]


def test_both_use_a_directory_at_the_same_time(original, tmp_path):
    """Random changes by both: each sees the other's at its next call."""
    encore = original(ENCORE)
    init_shared_store(tmp_path)
    ours = FileSystemStore(tmp_path)
    ours.connect()
    encore(f"{OPEN}\nstore = FileSystemStore({str(tmp_path)!r})\nstore.connect()")
    keys = [
        key for key in KEYS if key[0] != "." and "/" not in key and len(key) < 200 and key != "catalog.db"
    ]
    chance, model = random.Random(4), {}
    for step in range(250):
        key = chance.choice(keys[:8])
        data, metadata = b"%d" % step, {"n": step % 5, "step": step}
        by_us, what = chance.random() < 0.5, chance.choice(["set", "set", "metadata", "delete"])
        if what != "set" and key not in model:
            continue
        if what == "set":
            model[key] = (data, metadata)
            if by_us:
                ours.set(key, (io.BytesIO(data), metadata))
            else:
                encore(f"store.set({key!r}, (io.BytesIO({data!r}), {metadata!r}))")
        elif what == "metadata":
            model[key] = (model[key][0], metadata)
            if by_us:
                ours.set_metadata(key, metadata)
            else:
                encore(f"store.set_metadata({key!r}, {metadata!r})")
        else:
            del model[key]
            ours.delete(key) if by_us else encore(f"store.delete({key!r})")
        assert dict(ours.query()) == {name: value[1] for name, value in model.items()}
        assert sorted(ours.query_keys(n=2)) == sorted(
            name for name, value in model.items() if value[1]["n"] == 2
        )
        if key in model:
            value = ours.get(key)
            assert (value.data.read(), value.metadata) == model[key]
            told = encore(f"value = store.get({key!r}); [value.data.read().decode(), value.metadata]")
            assert told == [model[key][0].decode(), model[key][1]]
        assert sorted(encore("list(store.query_keys())")) == sorted(model)
    assert ours.check().ok


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("served")
    init_shared_store(path)
    with build(ServeOptions(directory=path, face="store", api_key=KEY)) as app, running(app.site) as url:
        yield path, url


def test_encores_client_reaches_its_ceiling_against_our_server(python_of, server):
    path, url = server
    with_key = url.replace("http://", f"http://key:{KEY}@")
    make = f"""
import io, requests
from encore.storage.dynamic_url_store import DynamicURLStore
from encore.storage.filesystem_store import FileSystemStore
def make(values):
    local = FileSystemStore({str(path)!r})
    for key in list(local.query_keys()):
        local.delete(key)
    for key, (data, metadata) in values.items():
        local.set(key, (io.BytesIO(data), metadata))
    store = DynamicURLStore({with_key!r}, {with_key + "/query"!r})
    store.connect(("user", requests.Session()))
    return store
"""
    found = unittests(python_of(ENCORE), make + PACKAGED)
    assert (found["run"], found["skipped"], found["failed"]) == (48, 1, CEILING)


OURS = {
    "FileSystemStore": "init_shared_store(path); store = FileSystemStore(path)",
    "SQLiteStore": "store = SQLiteStore(path + '/values.db', durability='os')",
    "MemoryStore": "store = MemoryStore()",
    "JoinedStore": "store = JoinedStore([MemoryStore(), MemoryStore()])",
    "MountedStore": "store = MountedStore('', MemoryStore(), MemoryStore())",
}


@pytest.mark.parametrize("name", OURS)
def test_encores_own_tests_pass_on_our_stores(python_of, name):
    make = f"""
import io, tempfile
from holdfast.store import *
def make(values):
    path = tempfile.mkdtemp()
    {OURS[name]}
    store.connect()
    for key, (data, metadata) in values.items():
        store.set(key, (io.BytesIO(data), metadata))
    return store
"""
    path = f"{SOURCE}:{site_packages(python_of(ENCORE))}"
    found = unittests(sys.executable, make + PACKAGED, PYTHONPATH=path)
    assert (found["run"], found["skipped"], found["failed"]) == (48, 1, [])


def test_encores_tests_of_its_event_manager_pass_on_ours(python_of):
    code = """
import json, os, unittest
import encore.events.event_manager as theirs, encore.events.api as api
import holdfast.store.events as ours
from holdfast.events import Event, EventBus
theirs.EventManager, theirs.BaseEvent, api.BaseEventManager = EventBus, Event, EventBus
api.get_event_manager, api.set_event_manager = ours.get_event_manager, ours.set_event_manager
import encore.events.tests.test_event_manager as tests
class Settled:
    def __setattr__(self, name, value):
        ours._manager = value
tests.package_globals = Settled()
result = unittest.TextTestRunner(stream=open(os.devnull, "w")).run(
    unittest.defaultTestLoader.loadTestsFromModule(tests)
)
failed = sorted(case.id() + error for case, error in result.failures + result.errors)
print(json.dumps({"run": result.testsRun, "failed": failed}))
"""
    path = f"{SOURCE}:{site_packages(python_of(ENCORE))}"
    found = unittests(sys.executable, code, PYTHONPATH=path)
    assert found["failed"] == []
    assert found["run"] >= 27
