"""What the seed and a sane user expect of an archive: the numbered statements of the original's study.

S: the seed says it; X: anybody would expect it. The issue's text wins where they differ.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
import yaml

from holdfast.archive import AlreadyPresentException, Archive, HashError, NotAStoreError, Store
from holdfast.archive.archive import LocalArchive
from holdfast.database.archive import GENESIS, chained
from holdfast.errors import (
    AlreadyExistsError,
    ChangedError,
    InvalidInputError,
    MissingFileError,
    NotFoundError,
    UnreadableError,
)

EVENT, PRODUCTION, NAME = "S000000xx", "Prod0", "test_results.xml"
CONTENT = b"<results/>"
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def source(file):
    return file(NAME, CONTENT)


@pytest.fixture
def added(archive, source):
    return archive.add_file(EVENT, PRODUCTION, source)


def test_01_create_returns_a_usable_store(tmp_path, source):
    store = Store.create(tmp_path / "new", "Test Store")
    assert store.add_file(EVENT, PRODUCTION, source)["hash"] == MD5
    store.close()


def test_02_create_makes_the_manifest_folder(archive):
    assert Path(archive.root, ".manifest").is_dir()


def test_03_store_needs_root_and_name(tmp_path):
    for call in (lambda: Store.create(tmp_path / "x"), lambda: Store.create(name="x")):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(InvalidInputError):
        Store()
    with pytest.raises(InvalidInputError):
        Store.create(tmp_path / "x", "")
    assert not (tmp_path / "x").exists()


def test_04_add_assigns_a_uuid(added):
    assert len(added["uuid"]) == 32
    assert set(added["uuid"]) <= set("0123456789abcdef")


def test_05_stored_file_is_named_by_its_uuid_with_its_own_name_beside_it(archive, added):
    directory = Path(archive.root, EVENT, PRODUCTION)
    assert (directory / added["uuid"]).read_bytes() == CONTENT
    assert not (directory / added["uuid"]).is_symlink()
    assert os.readlink(directory / NAME) == added["uuid"]


def test_06_stored_file_is_read_only(archive, added):
    mode = Path(archive.root, EVENT, PRODUCTION, added["uuid"]).stat().st_mode
    assert stat.S_IMODE(mode) & 0o222 == 0


def test_07_hash_is_in_the_manifest(archive, added):
    assert archive.manifest.get_hash(added["uuid"]) == MD5
    assert archive.manifest.list_resources(EVENT, PRODUCTION) == {NAME: {"uuid": added["uuid"], "hash": MD5}}


def test_08_answer_has_all_that_a_ledger_keeps(archive, added):
    assert set(added) == {"file", "uuid", "hash", "size", "digests", "head"}
    assert (added["file"], added["hash"], added["size"]) == (NAME, MD5, len(CONTENT))
    assert added["digests"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert set(added["digests"]) == {"blake3", "sha256", "md5"}
    assert added["head"] == archive.head()
    assert Path(archive.fetch_uuid(added["uuid"])).read_bytes() == CONTENT
    assert archive.fetch_uuid(f"urn:uuid:{added['uuid']}") == archive.fetch_uuid(added["uuid"].upper())


def test_09_shared_is_a_production_like_any_other(archive, source):
    archive.add_file(EVENT, "shared", source)
    assert Path(archive.fetch_file(EVENT, "shared", NAME)).read_bytes() == CONTENT


def change(path, content):
    """Edit a stored file as somebody would who does not respect the seal; size and time stay."""
    found = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    path.chmod(0o444)


def test_10_fetch_notices_a_changed_byte(archive, added):
    change(Path(archive.root, EVENT, PRODUCTION, added["uuid"]), b"<Results/>")
    with pytest.raises(HashError, match=r"expected blake3:.*found blake3:"):
        archive.fetch_file(EVENT, PRODUCTION, NAME)


def test_11_expected_hash_is_checked_too(archive, added):
    assert archive.fetch_file(EVENT, PRODUCTION, NAME, hash=MD5)
    with pytest.raises(HashError, match=rf"{'0' * 32}.*{MD5}"):
        archive.fetch_file(EVENT, PRODUCTION, NAME, hash="0" * 32)


def test_12_no_way_out_skips_the_check(archive, added):
    change(Path(archive.root, EVENT, PRODUCTION, added["uuid"]), b"<Results/>")
    for way in (
        lambda: archive.fetch_uuid(added["uuid"]),
        lambda: archive.open_file(EVENT, PRODUCTION, NAME),
        lambda: archive.fetch_file(EVENT, PRODUCTION, NAME, verify="cached"),
    ):
        with pytest.raises(HashError):
            way()


def test_13_manifest_is_yaml_of_the_originals_form(archive, added):
    archive.flush()
    text = Path(archive.root, ".manifest", "manifest.yaml").read_text()
    expected = {NAME: {"hash": MD5, "uuid": added["uuid"]}}
    assert yaml.safe_load(text) == {"name": "Test Store", "events": {EVENT: {PRODUCTION: expected}}}


def test_14_second_add_of_a_name_is_refused_and_changes_nothing(archive, added, file):
    other = file("other", b"other")
    with Archive(archive.root) as second:
        for handle in (archive, second):
            with pytest.raises(AlreadyPresentException, match=NAME) as caught:
                handle.add_file(EVENT, PRODUCTION, other, new_name=NAME)
            assert isinstance(caught.value, FileExistsError)
    assert Path(archive.fetch_file(EVENT, PRODUCTION, NAME)).read_bytes() == CONTENT


def test_16_digest_of_what_was_read_is_the_digest_of_what_was_written(archive, file):
    content = os.urandom(3_000_000)
    added = archive.add_file(EVENT, PRODUCTION, file("big", content))
    assert added["hash"] == hashlib.md5(content).hexdigest()
    assert added["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert Path(archive.fetch_file(EVENT, PRODUCTION, "big")).read_bytes() == content


def test_17_same_content_elsewhere_is_allowed_and_stored_once(archive, added, source):
    again = archive.add_file(EVENT, "Prod1", source, new_name="copy")
    paths = [
        Path(archive.root, EVENT, "Prod0", added["uuid"]),
        Path(archive.root, EVENT, "Prod1", again["uuid"]),
    ]
    assert paths[0].samefile(paths[1])
    assert again["uuid"] != added["uuid"]


def test_18_one_handle_adds_and_fetches_in_turn(archive, file):
    for number in range(3):
        archive.add_file(EVENT, PRODUCTION, file(f"f{number}", b"%d" % number))
        assert Path(archive.fetch_file(EVENT, PRODUCTION, f"f{number}")).read_bytes() == b"%d" % number


def test_19_threads_add_without_loss(archive, file):
    paths = [file(f"f{number}", b"%d" % number) for number in range(24)]
    failures = []

    def work(number):
        try:
            with Archive(archive.root) as own:
                for path in paths[number::4]:
                    (own if number % 2 else archive).add_file(EVENT, PRODUCTION, path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(archive.manifest.list_resources(EVENT, PRODUCTION)) == 24
    assert archive.check().ok


def test_22_damaged_manifest_is_named_and_can_be_rebuilt(archive, added):
    archive.close()
    folder = Path(archive.root, ".manifest")
    (folder / "manifest.db").unlink()
    (folder / "manifest.yaml").write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"manifest\.yaml is empty.*rebuild"):
        Archive(archive.root)
    assert LocalArchive.rebuild(archive.root).ok
    with Archive(archive.root) as again:
        assert Path(again.fetch_file(EVENT, PRODUCTION, NAME, hash=MD5)).read_bytes() == CONTENT
        assert again.by_uuid(added["uuid"]).place.name == NAME
        assert again.check().ok


def test_23_missing_file_is_told_from_an_unknown_name(archive, added):
    Path(archive.root, EVENT, PRODUCTION, added["uuid"]).unlink()
    with pytest.raises(MissingFileError, match="gone"):
        archive.fetch_file(EVENT, PRODUCTION, NAME)
    with pytest.raises(NotFoundError, match=r"no file 'other'.*test_results\.xml") as caught:
        archive.fetch_file(EVENT, PRODUCTION, "other")
    assert not isinstance(caught.value, MissingFileError)
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(NotFoundError, match="no production 'P9'"):
        archive.fetch_file(EVENT, "P9", NAME)
    with pytest.raises(NotFoundError, match="no event 'E9'"):
        archive.fetch_file("E9", PRODUCTION, NAME)
    for uuid in ("0" * 32, "nonsense", ""):
        with pytest.raises(NotFoundError, match="no file with uuid"):
            archive.fetch_uuid(uuid)


BAD_NAMES = [
    "",
    "/abs",
    "..",
    "../x",
    "a/../b",
    ".",
    "./a",
    "a//b",
    "a/",
    "a\0b",
    ".manifest",
    "a/.manifest",
    "n" * 256,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_24_bad_names_are_refused_before_anything_is_written(archive, source, contents, name):
    for call in (
        lambda: archive.add_file(EVENT, PRODUCTION, source, new_name=name),
        lambda: archive.add_file(name, PRODUCTION, source),
        lambda: archive.add_file(EVENT, name, source),
        lambda: archive.fetch_file(EVENT, PRODUCTION, name),
        lambda: archive.add_tree(name, PRODUCTION, source.parent),
    ):
        with pytest.raises(InvalidInputError):
            call()
    assert contents() == []
    assert len(archive.log()) == 1


def test_24_slash_is_for_names_of_files_only(archive, source, contents):
    for event, production in (("a/b", "c"), ("a", "b/c")):
        with pytest.raises(InvalidInputError, match="slash"):
            archive.add_file(event, production, source)
    assert contents() == []
    archive.add_file(EVENT, PRODUCTION, source, new_name="sub/dir/b")
    assert Path(archive.fetch_file(EVENT, PRODUCTION, "sub/dir/b")).read_bytes() == CONTENT


def test_25_failing_add_leaves_memory_and_disk_unchanged(archive, file, contents):
    path = file("growing", bytes(2_000_000))
    head = archive.head()

    def grow(copied):
        with open(path, "ab") as growing:
            growing.write(b"more")

    with pytest.raises(ChangedError, match="growing"):
        archive.add_file(EVENT, PRODUCTION, path, progress=grow)
    assert contents() == []
    assert (archive.head(), archive.entries()) == (head, [])
    assert archive.add_file(EVENT, PRODUCTION, path)["size"] > 2_000_000


@pytest.mark.parametrize("form", [str.upper, str.lower, "md5:{}".format, "MD5:{}".format, " {} ".format])
def test_26_expected_hash_may_have_any_form(archive, added, form):
    assert archive.fetch_file(EVENT, PRODUCTION, NAME, hash=form(MD5))


def test_26_other_algorithms_are_expected_too(archive, added):
    digests = added["digests"]
    for text in (
        digests["sha256"],
        digests["blake3"],
        f"sha256:{digests['sha256']}",
        f"blake3:{digests['blake3']}",
    ):
        assert archive.fetch_file(EVENT, PRODUCTION, NAME, hash=text)
    assert archive.fetch_file(EVENT, PRODUCTION, NAME, hash="sha512:" + hashlib.sha512(CONTENT).hexdigest())
    for text in ("0" * 64, "sha512:" + "0" * 128):
        with pytest.raises(HashError):
            archive.fetch_file(EVENT, PRODUCTION, NAME, hash=text)


@pytest.mark.parametrize("text", ["", "xyz", "g" * 32, "md5:12", "crc32:12345678", "0" * 33, 5])
def test_26_malformed_hash_is_refused(archive, added, text):
    for kind in (InvalidInputError, HashError):
        with pytest.raises(kind):
            archive.fetch_file(EVENT, PRODUCTION, NAME, hash=text)


def test_30_sources_are_regular_files(archive, file, tmp_path, contents):
    source = file("real", b"real")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    for name, kind, message in (
        ("dangling", NotFoundError, "leads nowhere"),
        ("none", NotFoundError, "does not exist"),
        ("fifo", InvalidInputError, "pipe"),
        (".", InvalidInputError, "directory"),
    ):
        with pytest.raises(kind, match=message):
            archive.add_file(EVENT, PRODUCTION, tmp_path / name, new_name="x")
    with pytest.raises(InvalidInputError, match="device"):
        archive.add_file(EVENT, PRODUCTION, "/dev/null", new_name="x")
    assert contents() == []
    added = archive.add_file(EVENT, PRODUCTION, tmp_path / "link")
    assert not Path(archive.root, EVENT, PRODUCTION, added["uuid"]).is_symlink()


def test_31_swapped_files_with_consistent_manifests_are_noticed_by_an_old_head(archive, file):
    first = archive.add_file(EVENT, PRODUCTION, file("a", b"aaaa"))
    second = archive.add_file(EVENT, PRODUCTION, file("b", b"bbbb"))
    head = archive.head()
    archive.close()
    forge(archive.root, first["uuid"], second["uuid"])
    with Archive(archive.root) as forged:
        assert Path(forged.fetch_file(EVENT, PRODUCTION, "a")).read_bytes() == b"bbbb"
        assert forged.check().ok
        report = forged.check(head=head)
    assert not report.ok
    assert [finding.kind for finding in report.findings] == ["log"]


def forge(root, first, second):
    """Swap two files and edit both manifests so that nothing inside contradicts anything."""
    directory = Path(root, EVENT, PRODUCTION)
    (directory / first).rename(directory / "t")
    (directory / second).rename(directory / first)
    (directory / "t").rename(directory / second)
    connection = sqlite3.connect(Path(root, ".manifest", "manifest.db"))
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    digests = "size, blake3, sha256, md5"
    rows = {
        uuid: connection.execute(f"SELECT {digests} FROM entries WHERE uuid = ?", (uuid,)).fetchone()
        for uuid in (first, second)
    }
    swapped = {first: rows[second], second: rows[first]}
    for uuid, values in swapped.items():
        connection.execute(
            "UPDATE entries SET size = ?, blake3 = ?, sha256 = ?, md5 = ? WHERE uuid = ?", (*values, uuid)
        )
    before = GENESIS
    for seq, body in connection.execute("SELECT seq, body FROM log ORDER BY seq").fetchall():
        facts = json.loads(body)
        if facts.get("uuid") in swapped:
            facts |= dict(zip(digests.split(", "), swapped[facts["uuid"]], strict=True))
        body = json.dumps(facts, separators=(",", ":"))
        before = chained(before, body)
        connection.execute("UPDATE log SET body = ?, hash = ? WHERE seq = ?", (body, before, seq))
    connection.commit()
    connection.close()
    path = Path(root, ".manifest", "manifest.yaml")
    text = path.read_text()
    text = (
        text.replace(rows[first][3], "@")
        .replace(rows[second][3], rows[first][3])
        .replace("@", rows[second][3])
    )
    path.write_text(text)


def test_33_later_writes_to_the_source_do_not_change_the_archive(archive, added, source):
    with open(source, "r+b") as file:
        file.write(b"changed!!!")
    assert Path(archive.fetch_file(EVENT, PRODUCTION, NAME)).read_bytes() == CONTENT


def test_34_nothing_can_be_deleted_through_the_api(archive):
    verbs = {name for name in dir(archive) if not name.startswith("_")}
    assert not {name for name in verbs if "delete" in name or "remove" in name or "clear" in name}


def test_35_edit_that_restores_size_and_time_is_noticed_also_by_the_cached_check(archive, added):
    path = Path(archive.root, EVENT, PRODUCTION, added["uuid"])
    archive.fetch_file(EVENT, PRODUCTION, NAME, verify="cached")
    change(path, b"<Results/>")
    for verify in ("full", "cached"):
        with pytest.raises(HashError):
            archive.fetch_file(EVENT, PRODUCTION, NAME, verify=verify)


def test_36_copied_store_opens_and_verifies(archive, added, tmp_path):
    archive.close()
    shutil.copytree(archive.root, tmp_path / "copy", symlinks=True)
    with Archive(tmp_path / "copy") as copy:
        assert copy.check(head=added["head"]).ok
        assert Path(copy.fetch_file(EVENT, PRODUCTION, NAME)).read_bytes() == CONTENT


def test_create_refuses_what_is_not_an_empty_directory(archive, file, tmp_path):
    with pytest.raises(AlreadyExistsError, match="one already"):
        Store.create(archive.root, "again")
    with pytest.raises(AlreadyExistsError, match="not empty"):
        Store.create(tmp_path, "x")
    with pytest.raises(InvalidInputError, match="is a file"):
        Store.create(file("f"), "x")
    with pytest.raises(NotFoundError, match="none"):
        Store.create(tmp_path / "none" / "x", "x")
    (tmp_path / "empty").mkdir()
    Store.create(tmp_path / "empty", "x").close()


def test_directory_that_is_no_store_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotAStoreError, match="no archive"):
            Store(path)
    assert os.listdir(tmp_path) == []
