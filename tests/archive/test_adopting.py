"""Lost and damaged manifests are made anew from the files; what only the YAML knows is adopted."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from holdfast.archive import Archive, HashError, NotAStoreError
from holdfast.archive.archive import LocalArchive
from holdfast.errors import AlreadyExistsError, NotFoundError, UnreadableError

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "format" / "archive.md"


@pytest.fixture
def filled(archive, file):
    for name in ("a", "b", "sub/c"):
        archive.add_file("S1", "Prod0", file(name, name.encode()), new_name=name)
    archive.close()
    return Path(archive.root)


def findings(report):
    return [(finding.kind, finding.found) for finding in report.findings]


def test_archive_without_its_database_is_served_from_the_yaml(filled):
    with Archive(filled) as archive:
        head = archive.head()
    (filled / ".manifest" / "manifest.db").unlink()
    with Archive(filled) as archive:
        assert Path(archive.fetch_file("S1", "Prod0", "sub/c")).read_bytes() == b"sub/c"
        assert archive.name == "Test Store"
        assert len(archive.entries()) == 3
        assert findings(archive.check()) == [("log", "log lost")]
        assert findings(archive.check(head=head)) == [("log", "log lost"), ("log", "log lost")]
        with pytest.raises(NotFoundError, match="no log"):
            archive.head()
    assert not (filled / ".manifest" / "manifest.db").exists()


def test_lost_database_is_made_anew_by_the_next_add(filled, file):
    with Archive(filled) as archive:
        head = archive.head()
        before = [entry.digests for entry in archive.entries()]
    (filled / ".manifest" / "manifest.db").unlink()
    with Archive(filled) as archive:
        archive.add_file("S2", "Prod0", file("more", b"more"))
        assert archive.check().ok
        assert [entry.digests for entry in archive.entries("S1")] == before
        assert archive.log()[0].action == "rebuild"
        report = archive.check(head=head)
        assert not report.ok
        assert findings(report) == [("log", "log lost")]


def test_lost_yaml_and_database_are_made_anew_from_the_files(filled):
    before = yaml.safe_load((filled / ".manifest" / "manifest.yaml").read_text())["events"]
    for name in ("manifest.db", "manifest.yaml"):
        (filled / ".manifest" / name).unlink()
    with pytest.raises(UnreadableError, match=r"lost its manifests.*rebuild"):
        Archive(filled)
    assert LocalArchive.rebuild(filled).checked == 3
    with Archive(filled) as archive:
        assert archive.manifest.data["events"] == before
        assert archive.check().ok


def test_damaged_database_is_named_and_kept_aside(filled):
    path = filled / ".manifest" / "manifest.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UnreadableError, match=r"manifest\.db"):
        Archive(filled)
    assert LocalArchive.rebuild(filled).ok
    with Archive(filled) as archive:
        assert archive.check().ok
    assert any(each.name.startswith("manifest.db") for each in (filled / ".manifest" / "aside").iterdir())


def test_rebuild_does_not_bless_what_was_changed(filled):
    target = (filled / "S1" / "Prod0" / "a").resolve()
    target.chmod(0o644)
    target.write_bytes(b"A")
    (filled / ".manifest" / "manifest.db").unlink()
    report = LocalArchive.rebuild(filled)
    assert [finding.kind for finding in report.findings] == ["changed"]
    with Archive(filled) as archive, pytest.raises(HashError):
        archive.fetch_file("S1", "Prod0", "a")


def test_rebuild_refuses_what_is_whole_and_what_is_no_archive(filled, tmp_path):
    with pytest.raises(AlreadyExistsError, match="whole"):
        LocalArchive.rebuild(filled)
    with pytest.raises(NotAStoreError):
        LocalArchive.rebuild(tmp_path)


def as_the_original_does(root, event, production, name, content):
    """Add a file as asimov 0.8.0 does: under its name, the manifest rewritten as a whole."""
    directory = root / event / production
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)
    (directory / name).chmod(0o444)
    path = root / ".manifest" / "manifest.yaml"
    data = yaml.safe_load(path.read_text())
    facts = {"hash": hashlib.md5(content).hexdigest(), "uuid": hashlib.md5(name.encode()).hexdigest()}
    data["events"].setdefault(event, {}).setdefault(production, {})[name] = facts
    path.write_text(yaml.dump(data))


def test_foreign_entry_is_served_reported_and_adopted(filled, file):
    with Archive(filled) as archive:
        head = archive.head()
    as_the_original_does(filled, "S2", "Prod0", "theirs", b"theirs")
    with Archive(filled) as archive:
        assert Path(archive.fetch_file("S2", "Prod0", "theirs")).read_bytes() == b"theirs"
        [finding] = archive.check().findings
        assert (finding.kind, finding.uri) == ("foreign", "S2/Prod0/theirs")
        assert not archive.check(head=head).ok
        with pytest.raises(FileExistsError):
            archive.add_file("S2", "Prod0", file("x"), new_name="theirs")
        archive.add_file("S2", "Prod0", file("ours", b"ours"))
        archive.flush()
        assert archive.check(fast=True).counts() == {"foreign": 1}
        report = archive.adopt()
        assert (report.ok, report.checked) == (True, 1)
        assert archive.check(head=head).ok
        assert archive.log()[-1].facts["name"] == "theirs"
        assert archive.adopt().checked == 0
    with Archive(filled) as archive:
        assert not archive.entry("S2", "Prod0", "theirs").is_foreign


def test_foreign_entry_that_is_gone_is_reported(filled):
    as_the_original_does(filled, "S2", "Prod0", "theirs", b"theirs")
    (filled / "S2" / "Prod0" / "theirs").unlink()
    with Archive(filled) as archive:
        assert archive.check().counts() == {"foreign": 1, "missing": 1}
        assert [each.kind for each in archive.adopt().findings] == ["missing"]


def test_foreign_entry_that_leads_outside_is_reported_and_never_served(filled, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    as_the_original_does(filled, "S2", "Prod0", "theirs", b"theirs")
    path = filled / ".manifest" / "manifest.yaml"
    path.write_text(path.read_text().replace("theirs:", "../../../secret:"))
    with Archive(filled) as archive:
        assert len(archive.entries()) == 3
        kinds = archive.check().counts()
        assert kinds["foreign"] == 1
        assert kinds["extra"] == 1


def test_documented_script_checks_a_log(filled):
    [script] = re.findall(r"```python\n(import hashlib.*?)```", DOCUMENT.read_text(), re.DOTALL)
    command = [sys.executable, "-I", "-c", script, str(filled / ".manifest" / "manifest.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    with Archive(filled) as archive:
        assert done.stdout.strip() == archive.head(), done.stderr


def test_content_of_an_adopted_file_is_stored_once_too(filled, file):
    as_the_original_does(filled, "S2", "Prod0", "theirs", b"theirs")
    with Archive(filled) as archive:
        archive.adopt()
        added = archive.add_file("S3", "Prod0", file("same", b"theirs"))
        assert (filled / "S3" / "Prod0" / added["uuid"]).samefile(filled / "S2" / "Prod0" / "theirs")
        assert archive.check().ok
