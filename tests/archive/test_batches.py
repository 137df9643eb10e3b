"""What one step of adding does: sources that change, equal contents, places taken, nothing left behind."""

import os
import sqlite3
from pathlib import Path

import pytest

from holdfast.archive import Archive
from holdfast.archive.adding import Wanted
from holdfast.archive.entries import Place
from holdfast.archive.sources import Source
from holdfast.errors import AlreadyPresentException, ChangedError, ConflictError

SMALL, LARGE = b"small", bytes(range(256)) * 2000
SIZES = pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])


def stored(archive, added, production="Prod0"):
    return Path(archive.root, "S1", production, added["uuid"])


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")


def rewrite(path):
    path.write_bytes(b"SMALL")


def shorten(path):
    os.truncate(path, 2)


def replace(path):
    path.with_name("other").write_bytes(SMALL)
    os.replace(path.with_name("other"), path)


def touch(path):
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [append, rewrite, shorten, replace, touch])
def test_small_source_that_changes_while_it_is_read_is_refused(file, change):
    path = file("source", SMALL)
    with Source(path) as source:
        change(path)
        with pytest.raises(ChangedError, match="changed while it was added"):
            source.read()


def test_file_that_is_longer_than_it_says_is_refused(archive, contents):
    with pytest.raises(ChangedError):
        archive.add_file("S1", "Prod0", "/proc/self/status")
    assert contents() == []


def test_short_reads_are_put_together(file, monkeypatch):
    read = os.read
    with Source(file("source", LARGE)) as source:
        monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 1000)))
        assert source.read() == LARGE


@SIZES
def test_file_of_any_size_is_sealed_and_comes_out(archive, file, content):
    added = archive.add_file("S1", "Prod0", file("a", content), "sub/a")
    assert Path(archive.fetch_file("S1", "Prod0", "sub/a")).read_bytes() == content
    assert not stored(archive, added).stat().st_mode & 0o222
    assert archive.check().ok


@SIZES
def test_equal_contents_are_one_file_with_several_names(archive, file, content):
    first = archive.add_file("S1", "Prod0", file("a", content))
    second = archive.add_file("S1", "Prod1", file("b", content))
    assert stored(archive, first).samefile(stored(archive, second, "Prod1"))
    assert archive.check().ok


@SIZES
def test_equal_contents_of_one_tree_are_one_file(archive, file, tmp_path, content):
    for name in ("a", "b", "sub/c"):
        file(f"tree/{name}", content)
    added = archive.add_tree("S1", "Prod0", tmp_path / "tree")
    assert len({stored(archive, each).stat().st_ino for each in added}) == 1
    assert archive.check().ok


@SIZES
def test_damaged_file_is_never_the_twin_of_a_new_one(archive, file, content):
    first = stored(archive, archive.add_file("S1", "Prod0", file("a", content)))
    first.chmod(0o644)
    first.write_bytes(content[::-1])
    second = archive.add_file("S1", "Prod0", file("b", content))
    assert not stored(archive, second).samefile(first)
    assert Path(archive.fetch_file("S1", "Prod0", "b")).read_bytes() == content


def test_contents_beyond_the_greatest_number_of_links_are_copied(archive, file, monkeypatch):
    archive.add_file("S1", "Prod0", file("a", SMALL))
    monkeypatch.setattr("holdfast.files.link_new", lambda source, target, durability: False)
    archive.add_file("S1", "Prod0", file("b", SMALL))
    assert archive.check().ok


@SIZES
def test_known_place_whose_files_are_gone_is_refused_without_a_trace(archive, file, contents, content):
    added = archive.add_file("S1", "Prod0", file("a", content))
    stored(archive, added).unlink()
    Path(archive.root, "S1", "Prod0", "a").unlink()
    before, head = contents(), archive.head()
    with pytest.raises(AlreadyPresentException, match="S1/Prod0/a is in the archive already"):
        archive.add_file("S1", "Prod0", file("a", content + b"other"))
    assert (contents(), archive.head()) == (before, head)


@SIZES
def test_uuid_that_is_taken_costs_its_owner_nothing(archive, file, contents, content):
    added = archive.add_file("S1", "Prod0", file("a", SMALL))
    before = contents()
    for production in ("Prod0", "Prod1"):
        wanted = Wanted(Place.of("S1", production, "b"), file("b", content), uuid=added["uuid"])
        with pytest.raises((FileExistsError, ConflictError)):
            archive.add_all([wanted])
    assert contents() == before
    assert Path(archive.fetch_uuid(added["uuid"])).read_bytes() == SMALL
    assert archive.check().ok


def test_one_bad_file_of_a_tree_takes_all_back(archive, file, tmp_path, contents):
    for number in range(20):
        file(f"tree/f{number}", b"%d" % number)
    file("tree/large", LARGE)
    os.mkfifo(tmp_path / "tree" / "z")
    with pytest.raises(ValueError, match="a pipe"):
        archive.add_tree("S1", "Prod0", tmp_path / "tree")
    assert contents() == []
    assert archive.check().ok


def test_database_with_the_indexes_of_before_goes_on(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))
    archive.close()
    connection = sqlite3.connect(Path(archive.root, ".manifest", "manifest.db"))
    connection.executescript(
        "DROP INDEX entries_by_content; CREATE INDEX entries_by_content ON entries (blake3);"
        "CREATE UNIQUE INDEX log_hashes ON log (hash);"
    )
    connection.close()
    with Archive(archive.root) as again:
        first = again.entry("S1", "Prod0", "a")
        added = again.add_file("S1", "Prod1", file("b", b"a"))
        assert stored(again, added, "Prod1").samefile(Path(again.root, "S1", "Prod0", first.uuid))
        assert again.check().ok
