"""Check finds everything that is not as it was recorded, and a copy heals it."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from holdfast.archive import Archive
from holdfast.archive.checking import parts_of
from holdfast.errors import InvalidInputError, NotAStoreError


@pytest.fixture
def filled(archive, file):
    for number in range(6):
        archive.add_file("S1", "Prod0", file(f"f{number}", b"content %d" % number))
    archive.flush()
    return archive


def stored(archive, name="f0"):
    entry = archive.entry("S1", "Prod0", name)
    return Path(archive.root, "S1", "Prod0", entry.uuid)


def found(report):
    return [(finding.kind, finding.uri) for finding in report.findings]


def edit(path, content=b"CONTENT 0"):
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def test_good_archive_is_ok(filled):
    report = filled.check()
    assert (report.ok, report.checked) == (True, 6)
    assert filled.check(fast=True).ok


def test_changed_bytes_are_found_by_reading_only(filled):
    edit(stored(filled))
    assert filled.check(fast=True).ok
    report = filled.check()
    assert found(report) == [("changed", "S1/Prod0/f0")]
    assert report.findings[0].expected.startswith("blake3:")
    assert report.findings[0].found.startswith("blake3:")
    assert not report.ok


def test_truncation_is_found_without_reading(filled):
    edit(stored(filled), b"")
    for fast in (True, False):
        assert found(filled.check(fast=fast)) == [("changed", "S1/Prod0/f0")]


def test_missing_file_and_missing_name_are_found(filled):
    stored(filled).unlink()
    Path(filled.root, "S1", "Prod0", "f1").unlink()
    assert found(filled.check()) == [("missing", "S1/Prod0/f0"), ("missing", "S1/Prod0/f1")]


def test_name_that_leads_elsewhere_is_found(filled):
    named = Path(filled.root, "S1", "Prod0", "f0")
    named.unlink()
    named.symlink_to(stored(filled, "f1").name)
    assert found(filled.check(fast=True)) == [("changed", "S1/Prod0/f0")]
    named.unlink()
    named.write_bytes(b"a file of its own")
    assert found(filled.check(fast=True)) == [("changed", "S1/Prod0/f0")]
    assert Path(filled.fetch_file("S1", "Prod0", "f0")).read_bytes() == b"content 0"


def test_extra_files_are_found_wherever_they_are(filled):
    for name in ("stray", "S1/stray", "S1/Prod0/stray", "S1/Prod0/" + "a" * 32):
        Path(filled.root, name).write_bytes(b"")
    Path(filled.root, "S1", "Prod0", "link").symlink_to("/etc")
    kinds = found(filled.check(fast=True))
    assert {kind for kind, _ in kinds} == {"extra"}
    assert len(kinds) == 5


def test_wrong_permissions_are_found(filled):
    stored(filled).chmod(0o644)
    report = filled.check()
    assert found(report) == [("permissions", "S1/Prod0/f0")]
    assert (report.findings[0].expected, report.findings[0].found) == ("0444", "0644")


def test_file_replaced_by_something_else_is_found(filled):
    path = stored(filled)
    path.unlink()
    path.symlink_to(stored(filled, "f1").name)
    assert found(filled.check()) == [("changed", "S1/Prod0/f0")]
    assert found(filled.check(fast=True)) == [("changed", "S1/Prod0/f0")]


def test_edited_yaml_is_found(filled):
    path = Path(filled.root, ".manifest", "manifest.yaml")
    data = yaml.safe_load(path.read_text())
    data["events"]["S1"]["Prod0"]["f0"]["hash"] = "0" * 32
    path.write_text(yaml.dump(data))
    assert found(filled.check()) == [("changed", ".manifest/manifest.yaml: S1/Prod0/f0")]
    path.write_text("events: {")
    assert found(filled.check()) == [("changed", ".manifest/manifest.yaml")]
    filled.add_file("S2", "Prod0", stored(filled), new_name="more")
    filled.flush()
    assert filled.check().ok
    assert len(list(Path(filled.root, ".manifest", "aside").iterdir())) == 1


def tamper(archive, *statements):
    archive.close()
    connection = sqlite3.connect(Path(archive.root, ".manifest", "manifest.db"))
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return Archive(archive.root)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET blake3 = (SELECT blake3 FROM entries WHERE name = 'f1') WHERE name = 'f0'",
        "DELETE FROM entries WHERE name = 'f0'",
        "UPDATE entries SET name = 'renamed' WHERE name = 'f0'",
        "UPDATE log SET body = replace(body, 'f0', 'g0') WHERE seq = 2",
        "UPDATE log SET at = '2000-01-01' WHERE seq = 2",
        "DELETE FROM log WHERE seq = 7",
        "DELETE FROM log WHERE seq = 3",
        "DELETE FROM log",
    ],
)
def test_edited_database_is_found(filled, statement):
    head = filled.head()
    with tamper(filled, statement) as edited:
        report = edited.check()
        assert "log" in {finding.kind for finding in report.findings}
        if "DELETE FROM log" in statement:
            assert not edited.check(head=head).ok


def test_log_cannot_be_edited_by_accident(filled):
    filled.close()
    connection = sqlite3.connect(Path(filled.root, ".manifest", "manifest.db"))
    for statement in (
        "DELETE FROM log",
        "UPDATE log SET at = ''",
        "DELETE FROM entries",
        "UPDATE entries SET size = 0",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_older_head_passes_and_the_report_says_what_followed(filled, file):
    head = filled.head()
    assert "since then: nothing" in " ".join(filled.check(head=head).notes)
    for number in range(3):
        filled.add_file("S2", "Prod0", file("x", b"%d" % number), new_name=f"x{number}")
    report = filled.check(fast=True, head=head)
    assert report.ok
    assert "3 add" in " ".join(report.notes)
    assert filled.check(fast=True, head=head.removeprefix("sha256:").upper()).ok


def test_unknown_head_fails_and_a_malformed_one_is_refused(filled):
    report = filled.check(fast=True, head="0" * 64)
    assert found(report) == [("log", ".manifest/manifest.db")]
    for head in ("xyz", "md5:" + "0" * 32, "blake3:" + "0" * 64):
        with pytest.raises(InvalidInputError):
            filled.check(head=head)


def test_subset_reads_a_part(filled):
    edit(stored(filled))
    reports = [filled.check(subset=f"{part}/3") for part in (1, 2, 3)]
    assert [report.checked for report in reports] == [2, 2, 2]
    assert sum(not report.ok for report in reports) == 1
    assert filled.check(subset="50%").checked == 3
    assert not filled.check(subset="100%").ok


@pytest.mark.parametrize("subset", ["", "0%", "101%", "0/3", "4/3", "3", "x", "-1%", "1/0"])
def test_malformed_subset_is_refused(filled, subset):
    with pytest.raises(InvalidInputError, match="subset"):
        filled.check(subset=subset)


def test_parts_do_not_overlap_and_cover_everything():
    for count in (0, 1, 6, 7, 20):
        parts = [number for part in range(1, 8) for number in parts_of(f"{part}/7", count)]
        assert sorted(parts) == list(range(count))


def test_copy_heals_what_is_bad_and_bad_files_are_kept_aside(filled, tmp_path):
    filled.close()
    shutil.copytree(filled.root, tmp_path / "copy", symlinks=True)
    with Archive(filled.root) as hurt:
        edit(stored(hurt, "f0"))
        stored(hurt, "f1").unlink()
        stored(hurt, "f2").chmod(0o666)
        Path(hurt.root, "S1", "Prod0", "f3").unlink()
        report = hurt.check(repair_from=tmp_path / "copy")
        assert report.ok, str(report)
        assert sum("repaired" in note for note in report.notes) == 4
        assert Path(hurt.fetch_file("S1", "Prod0", "f0")).read_bytes() == b"content 0"
        aside = Path(hurt.root, ".manifest", "aside")
        assert b"CONTENT 0" in {path.read_bytes() for path in aside.iterdir()}
        assert hurt.check().ok


def test_bad_copy_heals_nothing(filled, tmp_path):
    filled.close()
    shutil.copytree(filled.root, tmp_path / "copy", symlinks=True)
    with Archive(filled.root) as hurt:
        edit(stored(hurt, "f0"))
        edit(Path(tmp_path, "copy", "S1", "Prod0", stored(hurt, "f0").name))
        report = hurt.check(repair_from=tmp_path / "copy")
        assert found(report) == [("changed", "S1/Prod0/f0")]
        assert "not repaired" in " ".join(report.notes)
        with pytest.raises(NotAStoreError):
            hurt.check(repair_from=tmp_path)


def test_every_flipped_bit_of_a_file_is_found(filled):
    path = stored(filled)
    content = path.read_bytes()
    path.chmod(0o644)
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(OSError, match="damaged"):
            filled.fetch_file("S1", "Prod0", "f0")
    assert os.path.exists(path)
