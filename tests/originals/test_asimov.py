"""asimov 0.8.0's own Store and ours share directories, both ways."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from holdfast.archive import Archive, HashError
from holdfast.archive.importing import import_from
from originals.environments import RefusedError

pytestmark = pytest.mark.originals


@pytest.fixture
def asimov(original):
    """A conversation in which ``storage`` is the original's module."""
    ask = original("asimov-0.8.0")
    ask("import asimov.storage as storage; 1")
    return ask


@pytest.fixture
def theirs(asimov, tmp_path):
    """A store that the original made, with three files."""
    root = tmp_path / "theirs"
    asimov(f"storage.Store.create({str(root)!r}, 'Their Store'); store = storage.Store({str(root)!r}); 1")
    for number in range(3):
        path = tmp_path / f"f{number}.txt"
        path.write_text(f"content {number}")
        asimov(f"store.add_file('S1', 'Prod{number % 2}', {str(path)!r})")
    return root


@pytest.fixture
def ours(tmp_path):
    root = tmp_path / "ours"
    with Archive.create(root, "Our Store: ü") as archive:
        for number in range(3):
            path = tmp_path / f"o{number}.txt"
            path.write_text(f"ours {number}")
            archive.add_file("S1", f"Prod{number % 2}", path)
        archive.add_file("1.0", "true", tmp_path / "o0.txt", "null")
        archive.add_file("S1", "shared", tmp_path / "o1.txt", "sub/deep.txt")
    return root


def findings(report):
    return [(finding.kind, finding.uri) for finding in report.findings]


def test_original_opens_and_fetches_from_our_archive(asimov, ours):
    asimov(f"store = storage.Store({str(ours)!r}); 1")
    assert asimov("store.manifest.data['name']") == "Our Store: ü"
    for event, production, name, content in (
        ("S1", "Prod0", "o0.txt", "ours 0"),
        ("S1", "Prod1", "o1.txt", "ours 1"),
        ("1.0", "true", "null", "ours 0"),
        ("S1", "shared", "sub/deep.txt", "ours 1"),
    ):
        assert asimov(f"open(store.fetch_file({event!r}, {production!r}, {name!r})).read()") == content
    with Archive(ours) as archive:
        uuid = archive.manifest.get_uuid("S1", "Prod0", "o0.txt")
        assert asimov(f"store.manifest.get_hash({uuid!r})") == archive.manifest.get_hash(uuid)
        assert asimov("store.manifest.data") == archive.manifest.data


def test_original_lists_and_refuses_what_has_no_md5(asimov, ours, tmp_path):
    with Archive(ours) as archive:
        archive.add_file("S2", "Prod0", tmp_path / "o2.txt", md5=False)
    asimov(f"store = storage.Store({str(ours)!r}); 1")
    assert len(asimov("store.manifest.list_resources('S2', 'Prod0')['o2.txt']['hash']")) == 64
    with pytest.raises(RefusedError) as refused:
        asimov("store.fetch_file('S2', 'Prod0', 'o2.txt')")
    assert refused.value.kinds[0] == "HashError"


def test_we_open_the_originals_store_in_place_and_verify(asimov, theirs):
    before = {path: path.stat().st_mtime_ns for path in theirs.rglob("*")}
    with Archive(theirs) as archive:
        assert archive.name == "Their Store"
        assert Path(archive.fetch_file("S1", "Prod1", "f1.txt")).read_text() == "content 1"
        assert archive.manifest.data == asimov("store.manifest.data")
        report = archive.check()
        assert (report.ok, report.checked) == (True, 3)
        assert archive.find({"name": "f2.txt"})[0].is_foreign
    assert {path: path.stat().st_mtime_ns for path in theirs.rglob("*")} == before
    path = theirs / "S1" / "Prod0" / "f0.txt"
    path.chmod(0o644)
    path.write_text("Content 0")
    with Archive(theirs) as archive, pytest.raises(HashError, match="md5:"):
        archive.fetch_file("S1", "Prod0", "f0.txt")


def test_store_of_before_2023_has_files_under_their_uuids(theirs):
    text = yaml.safe_load((theirs / ".manifest" / "manifest.yaml").read_text())
    for production, resources in text["events"]["S1"].items():
        for name, facts in resources.items():
            (theirs / "S1" / production / name).rename(theirs / "S1" / production / facts["uuid"])
    with Archive(theirs) as archive:
        assert Path(archive.fetch_file("S1", "Prod1", "f1.txt")).read_text() == "content 1"
        assert archive.check().ok
        assert archive.adopt().ok
        assert archive.check().ok
        assert Path(archive.fetch_file("S1", "Prod1", "f1.txt")).name == "f1.txt"


def test_what_the_original_adds_to_ours_is_foreign_until_adopted(asimov, ours, tmp_path):
    with Archive(ours) as archive:
        head = archive.head()
    path = tmp_path / "new.txt"
    path.write_text("new from asimov")
    asimov(f"store = storage.Store({str(ours)!r}); 1")
    added = asimov(f"store.add_file('S3', 'ProdX', {str(path)!r})")
    with Archive(ours) as archive:
        fetched = Path(archive.fetch_file("S3", "ProdX", "new.txt", hash=added["hash"]))
        assert fetched.read_text() == "new from asimov"
        assert archive.by_uuid(added["uuid"]).is_foreign
        assert findings(archive.check(head=head)) == [("foreign", "S3/ProdX/new.txt")]
        archive.add_file("S4", "P", path)
        archive.flush()
        assert "new.txt" in archive.manifest.list_resources("S3", "ProdX")
        assert archive.adopt().ok
        report = archive.check(head=head)
        assert report.ok, str(report)
        assert "1 adopt" in " ".join(report.notes)
        assert not archive.by_uuid(added["uuid"]).is_foreign
    asimov(f"store = storage.Store({str(ours)!r}); 1")
    assert asimov("open(store.fetch_file('S3', 'ProdX', 'new.txt')).read()") == "new from asimov"


def test_damaged_foreign_file_is_not_adopted(asimov, ours, tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("new from asimov")
    asimov(f"storage.Store({str(ours)!r}).add_file('S3', 'ProdX', {str(path)!r})")
    stored = ours / "S3" / "ProdX" / "new.txt"
    stored.chmod(0o644)
    stored.write_text("changed")
    with Archive(ours) as archive:
        report = archive.adopt()
        assert findings(report) == [("changed", "S3/ProdX/new.txt")]
        assert archive.by_uuid(archive.manifest.get_uuid("S3", "ProdX", "new.txt")).is_foreign


def test_adding_to_the_originals_store_keeps_both_readers(asimov, theirs, tmp_path):
    path = tmp_path / "more.txt"
    path.write_text("more")
    with Archive(theirs) as archive:
        archive.add_file("S1", "Prod0", path)
        assert {kind for kind, _ in findings(archive.check())} == {"foreign"}
        assert archive.adopt().ok
        assert archive.check().ok
    asimov(f"store = storage.Store({str(theirs)!r}); 1")
    for name, content in (("f0.txt", "content 0"), ("more.txt", "more")):
        assert asimov(f"open(store.fetch_file('S1', 'Prod0', {name!r})).read()") == content


def test_import_of_the_originals_store_is_lossless(theirs, tmp_path):
    with Archive.create(tmp_path / "new", "New") as archive:
        import_from(archive, theirs)
        expected = yaml.safe_load((theirs / ".manifest" / "manifest.yaml").read_text())["events"]
        assert archive.manifest.data["events"] == expected
        assert archive.check().ok


def test_the_originals_own_tests_pass_with_our_store(tmp_path):
    """Its three tests, word for word in what they call."""
    script = """
import os, unittest
from holdfast.archive import Store

class StoreRoundTripTests(unittest.TestCase):
    def setUp(self):
        self.root = "results"
        Store.create(root=self.root, name="Test store")
        self.store = Store(root=self.root)
        self.source_file = "sample.dat"
        with open(self.source_file, "w") as source:
            source.write("hello asimov\\n")
        self.added = self.store.add_file("GW150914_095045", "TestAnalysis", self.source_file)

    def test_all(self):
        path = self.store.fetch_file("GW150914_095045", "TestAnalysis", self.source_file)
        self.assertTrue(os.path.isfile(path))
        with open(path) as fetched:
            self.assertEqual(fetched.read(), "hello asimov\\n")
        self.assertEqual(self.added["hash"], self.store.manifest.get_hash(self.added["uuid"]))
        with self.assertRaises(Exception):
            self.store.fetch_file("GW150914_095045", "TestAnalysis", self.source_file, hash="not-real")
        self.store.fetch_file("GW150914_095045", "TestAnalysis", self.source_file, hash=self.added["hash"])
        by_uuid = self.store.fetch_uuid(self.added["uuid"])
        self.assertEqual(os.path.abspath(path), os.path.abspath(by_uuid))

unittest.main()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = {"capture_output": True, "text": True, "timeout": 60, "check": False}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, **options)
    assert done.returncode == 0, done.stderr


def test_concurrent_original_leaves_an_archive_that_opens(asimov, ours, tmp_path):
    """The original rewrites its whole manifest from memory; what it forgets of ours, we write again."""
    path = tmp_path / "late.txt"
    path.write_text("late")
    asimov(f"store = storage.Store({str(ours)!r}); 1")
    with Archive(ours) as archive:
        archive.add_file("S5", "P", path, "between.txt")
    path.write_text("later")
    asimov(f"store.add_file('S6', 'P', {str(path)!r})")
    with Archive(ours) as archive:
        assert archive.entry("S5", "P", "between.txt")
        assert archive.entry("S6", "P", "late.txt").is_foreign
        archive.adopt()
        archive.flush()
    names = yaml.safe_load((ours / ".manifest" / "manifest.yaml").read_text())["events"]
    assert {"S5", "S6"} <= set(names)
    assert json.dumps(names)
    shutil.rmtree(ours)
