"""The archive's handle: queries, trees, forks, pickles, and manifests that are never behind for long."""

import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from holdfast.archive import AddedEvent, Archive, Entry
from holdfast.archive.adding import Wanted
from holdfast.archive.entries import Place
from holdfast.errors import AlreadyPresentException, InvalidInputError, InvalidTypeError
from holdfast.events import bus
from holdfast.queries import Key


def whole_yaml(archive):
    return yaml.safe_load(Path(archive.root, ".manifest", "manifest.yaml").read_text())


def yaml_names(archive):
    data = whole_yaml(archive)
    return {name for event in data["events"].values() for production in event.values() for name in production}


def test_find_understands_text_values_and_queries(archive, file):
    for number in range(5):
        archive.add_file(f"S{number % 2}", "Prod0", file(f"f{number}", b"x" * number))
    names = lambda found: [entry.place.name for entry in found]  # noqa: E731
    assert names(archive.find("size > 2 and event == 'S0'")) == ["f4"]
    assert names(archive.find({"event": "S1"})) == ["f1", "f3"]
    assert names(archive.find(Key("name") == "f2")) == ["f2"]
    assert len(archive.find()) == 5
    [entry] = archive.find({"name": "f3"})
    assert archive.find(f'blake3 == "{entry.digests["blake3"].hex}"') == [entry]
    assert isinstance(entry, Entry)
    with pytest.raises(InvalidInputError):
        archive.find("size >")


def test_tree_is_added_under_its_paths_with_one_commit(archive, file, tmp_path):
    for name in ("t/a.txt", "t/sub/b.txt", "t/sub/deep/c.txt"):
        file(name, name.encode())
    added = archive.add_tree("S1", "Prod0", tmp_path / "t")
    assert [each["file"] for each in added] == ["a.txt", "sub/b.txt", "sub/deep/c.txt"]
    assert Path(archive.fetch_file("S1", "Prod0", "sub/deep/c.txt")).read_bytes() == b"t/sub/deep/c.txt"
    assert archive.check().ok
    assert archive.add_tree("S1", "Prod0", tmp_path / "store" / ".manifest" / "writers") is not None


def test_tree_is_added_as_a_whole_or_not_at_all(archive, file, tmp_path, contents):
    for name in ("t/a.txt", "t/b.txt"):
        file(name, b"same")
    archive.add_file("S1", "Prod0", file("b.txt", b"first"))
    before, head = contents(), archive.head()
    with pytest.raises(AlreadyPresentException, match=r"b\.txt"):
        archive.add_tree("S1", "Prod0", tmp_path / "t")
    (tmp_path / "t" / "dangling").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        archive.add_tree("S2", "Prod0", tmp_path / "t")
    assert (contents(), archive.head()) == (before, head)


def test_empty_tree_adds_nothing(archive, tmp_path):
    (tmp_path / "empty").mkdir()
    assert archive.add_tree("S1", "Prod0", tmp_path / "empty") == []


def test_event_tells_what_was_added(archive, file):
    seen = []
    connection = bus.connect(AddedEvent, seen.append, keep=True)
    archive.add_file("S1", "Prod0", file())
    bus.disconnect(connection)
    assert [(event.source, event.entry.place.name) for event in seen] == [(archive, "results.xml")]


def test_progress_counts_over_all_files(archive, file, tmp_path):
    for name in ("t/a", "t/b"):
        file(name, os.urandom(1000))
    seen = []
    archive.add_tree("S1", "Prod0", tmp_path / "t", progress=seen.append)
    assert seen[-1] == 2000
    archive.check(progress=seen.append)
    assert seen[-1] == 2000


def test_objects_with_a_name_are_taken_and_numbers_are_not(archive, file):
    class Event:
        name = "S1"

    assert archive.add_file(Event(), "Prod0", file())["file"] == "results.xml"
    with pytest.raises(InvalidTypeError):
        archive.add_file(5, "Prod0", file())


def test_md5_can_be_left_out(archive, file):
    added = archive.add_file("S1", "Prod0", file(), md5=False)
    assert added["hash"] == added["digests"]["sha256"]
    assert set(added["digests"]) == {"blake3", "sha256"}
    assert archive.manifest.list_resources("S1", "Prod0")["results.xml"]["hash"] == added["hash"]
    assert archive.fetch_file("S1", "Prod0", "results.xml", hash=added["hash"])
    import hashlib

    assert archive.fetch_file("S1", "Prod0", "results.xml", hash=hashlib.md5(b"<results/>").hexdigest())


def test_yaml_is_at_most_a_second_behind_while_the_writer_lives(archive, file):
    for number in range(30):
        archive.add_file("S1", "Prod0", file(f"f{number}", b"%d" % number))
    deadline = time.monotonic() + 1
    while len(yaml_names(archive)) < 30 and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert len(yaml_names(archive)) == 30


def test_yaml_is_exact_after_flush_and_close(archive, file):
    for number in range(3):
        archive.add_file("S1", "Prod0", file(f"f{number}", b"%d" % number))
    archive.flush()
    assert len(yaml_names(archive)) == 3
    archive.add_file("S1", "Prod0", file("last", b"last"))
    archive.close()
    assert len(yaml_names(archive)) == 4
    assert sorted(os.listdir(Path(archive.root, ".manifest"))) == [
        "manifest.db",
        "manifest.lock",
        "manifest.yaml",
        "writers",
    ]
    assert os.listdir(Path(archive.root, ".manifest", "writers")) == []


def test_lost_yaml_is_written_again(archive, file):
    archive.add_file("S1", "Prod0", file())
    archive.flush()
    Path(archive.root, ".manifest", "manifest.yaml").unlink()
    assert [finding.kind for finding in archive.check().findings] == ["missing"]
    archive.flush()
    assert yaml_names(archive) == {"results.xml"}
    assert archive.check().ok


def test_opening_writes_nothing(archive, file):
    archive.add_file("S1", "Prod0", file())
    archive.close()

    def state():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(archive.root).rglob("*")
        }

    before = state()
    with Archive(archive.root) as opened:
        opened.fetch_file("S1", "Prod0", "results.xml")
        opened.find()
        opened.head()
        assert opened.check().ok
    assert state() == before


def test_pickled_archive_opens_again(archive, file):
    archive.add_file("S1", "Prod0", file())
    with pickle.loads(pickle.dumps(archive)) as again:
        assert again.entries() == archive.entries()


def test_forked_child_adds_too(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))
    path = file("b", b"b")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            archive.add_file("S1", "Prod0", path)
            archive.flush()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [entry.place.name for entry in archive.entries()] == ["a", "b"]
    archive.add_file("S1", "Prod0", file("c", b"c"))
    assert archive.check().ok


def test_forgotten_archive_is_closed(archive, file):
    handle = Archive(archive.root)
    handle.add_file("S1", "Prod0", file())
    handle.add_file("S1", "Prod0", file("b", b"b"))
    del handle
    assert yaml_names(archive) == {"results.xml", "b"}


def test_open_file_reads_what_was_verified_whatever_happens_to_the_name(archive, file):
    added = archive.add_file("S1", "Prod0", file())
    path = Path(archive.root, "S1", "Prod0", added["uuid"])
    with archive.open_file("S1", "Prod0", "results.xml") as opened:
        path.unlink()
        path.write_bytes(b"swapped")
        assert opened.read() == b"<results/>"
        assert not opened.writable()


def test_cached_check_trusts_only_what_rests(archive, file, monkeypatch):
    added = archive.add_file("S1", "Prod0", file())
    monkeypatch.setattr("holdfast.archive.verifying._SETTLED_S", -1.0)
    archive.fetch_file("S1", "Prod0", "results.xml")
    path = Path(archive.root, "S1", "Prod0", added["uuid"])
    assert archive.fetch_file("S1", "Prod0", "results.xml", verify="cached")
    path.chmod(0o644)
    path.write_bytes(b"<Results/>")
    with pytest.raises(OSError, match="damaged"):
        archive.fetch_file("S1", "Prod0", "results.xml", verify="cached")
    with pytest.raises(InvalidInputError, match="verify"):
        archive.fetch_file("S1", "Prod0", "results.xml", verify="never")


def test_full_name_of_a_uuid_is_no_trap(archive, file):
    added = archive.add_file("S1", "Prod0", file())
    again = archive.add_file("S1", "Prod0", file("other", b"other"), new_name="0" * 32)
    assert Path(archive.fetch_file("S1", "Prod0", "0" * 32)).read_bytes() == b"other"
    with pytest.raises(FileExistsError):
        archive.add_file("S1", "Prod0", file("third", b"third"), new_name=added["uuid"])
    assert archive.check().ok
    assert again["uuid"] != "0" * 32


def test_name_cannot_be_file_and_directory(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"), new_name="sub/b")
    with pytest.raises(OSError, match="sub"):
        archive.add_file("S1", "Prod0", file("b", b"b"), new_name="sub")
    with pytest.raises((OSError, ValueError), match="sub/b"):
        archive.add_file("S1", "Prod0", file("c", b"c"), new_name="sub/b/c")
    assert archive.check().ok


def test_archive_that_was_removed_makes_no_noise_at_the_end(tmp_path, file):
    handle = Archive.create(tmp_path / "gone", "Gone")
    for name in ("a", "b"):
        handle.add_file("S1", "Prod0", file(name, name.encode()))
    shutil.rmtree(tmp_path / "gone")
    del handle
    source = (
        "import sys, shutil; from holdfast.archive import Archive; a = Archive.create(sys.argv[1], 'x')\n"
    )
    source += (
        "a.add_file('S', 'P', sys.argv[2]); a.add_file('S', 'Q', sys.argv[2]); shutil.rmtree(sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", source, str(tmp_path / "gone"), str(file("c"))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_program_that_forgets_to_close_leaves_an_exact_yaml(tmp_path, file):
    source = "import sys; from holdfast.archive import Archive; a = Archive.create(sys.argv[1], 'x')\n"
    source += "for n in range(5): a.add_file('S', f'P{n}', sys.argv[2])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", source, str(tmp_path / "left"), str(file("c"))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    data = yaml.safe_load((tmp_path / "left" / ".manifest" / "manifest.yaml").read_text())
    assert len(data["events"]["S"]) == 5
    assert os.listdir(tmp_path / "left" / ".manifest" / "writers") == []


def test_path_that_the_system_cannot_hold_leaves_no_directories(tmp_path, file):
    deep = "/".join(["d" * 209] * 19)
    with Archive.create(tmp_path / ("r" * 200), "Deep") as archive:
        with pytest.raises(InvalidInputError):
            archive.add_file("S1", "Prod0", file(), new_name=deep)
        assert os.listdir(archive.root) == [".manifest"]


def test_check_beside_a_writer_finds_nothing(archive, file):
    paths = [file(f"f{number}", b"%d" % number) for number in range(60)]
    stop, reports = threading.Event(), []

    def check():
        with Archive(archive.root) as reader:
            while not stop.is_set():
                reports.append(reader.check())

    checker = threading.Thread(target=check)
    checker.start()
    for path in paths:
        archive.add_file("S1", "Prod0", path)
    stop.set()
    checker.join()
    assert reports
    assert all(report.ok for report in reports), next(str(report) for report in reports if not report.ok)


def test_source_of_any_name_has_its_origin_recorded(archive, tmp_path):
    directory = os.path.join(os.fsencode(tmp_path), b"\xff\xfe")
    os.mkdir(directory)
    path = os.path.join(directory, b"source")
    with open(path, "wb") as file:
        file.write(b"x")
    archive.add_file("S1", "Prod0", os.fsdecode(path))
    [entry] = archive.entries()
    assert entry.origin.endswith("/\\udcff\\udcfe/source")
    assert archive.check().ok


@pytest.mark.parametrize("name", ["", "\udcff", "a\nb", "\0"])
def test_name_of_an_archive_is_printable_text(tmp_path, name):
    with pytest.raises(InvalidInputError, match="name"):
        Archive.create(tmp_path / "x", name)
    assert not (tmp_path / "x").exists()


def test_one_place_cannot_be_given_twice_at_once(archive, file):
    path = file()
    twice = [Wanted(Place.of("S1", "Prod0", "same"), path)] * 2
    with pytest.raises(InvalidInputError, match="2 times"):
        archive.add_all(twice)
    assert archive.entries() == []


def test_link_that_somebody_made_by_hand_costs_no_recorded_file(archive, file):
    added = archive.add_file("S1", "Prod0", file("a", b"aaa"))
    directory = Path(archive.root, "S1", "Prod0")
    (directory / "alias").symlink_to(added["uuid"])
    (directory / "outside").symlink_to("../../../elsewhere")
    (directory / "odd").symlink_to("x/" + "0" * 32)
    for name in ("alias", "outside", "odd"):
        with pytest.raises(AlreadyPresentException, match="no manifest knows"):
            archive.add_file("S1", "Prod0", file("b", b"bbb"), new_name=name)
        assert (directory / name).is_symlink()
    assert Path(archive.fetch_file("S1", "Prod0", "a")).read_bytes() == b"aaa"


def test_what_a_dead_writer_left_under_a_name_makes_room(archive, file):
    directory = Path(archive.root, "S1", "Prod0", "sub")
    directory.mkdir(parents=True)
    (directory.parent / ("f" * 32)).write_bytes(b"left")
    (directory / "a").symlink_to("../" + "f" * 32)
    archive.add_file("S1", "Prod0", file("a", b"aaa"), new_name="sub/a")
    assert Path(archive.fetch_file("S1", "Prod0", "sub/a")).read_bytes() == b"aaa"
    assert archive.check().ok


def test_yaml_is_the_same_with_and_without_foreign_entries(archive, file):
    for event, name in (("S1", "b"), ("S2", "a"), ("S1", "sub/c"), ("S10", "1.0")):
        archive.add_file(event, "Prod0", file(f"{event}-{name}".replace("/", "-"), name.encode()), name)
    archive.flush()
    path = Path(archive.root, ".manifest", "manifest.yaml")
    data = whole_yaml(archive)
    assert data == archive.manifest.data
    data["events"]["S1"]["Prod0"]["a0"] = {"hash": "0" * 32, "uuid": "e" * 32}
    path.write_text(yaml.safe_dump(data))
    archive.add_file("S1", "Prod1", file("x", b"x"))
    archive.flush()
    data["events"]["S1"]["Prod1"] = archive.manifest.data["events"]["S1"]["Prod1"]
    assert whole_yaml(archive) == data == archive.manifest.data
    assert "entries: 6, foreign: 1," in path.read_text().partition("\n")[0]
