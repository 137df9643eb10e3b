"""Exports validate with independent programs, and come back losslessly."""

import hashlib
import json
from pathlib import Path

import pytest

from holdfast.archive import AlreadyPresentException, Archive, HashError
from holdfast.archive.exporting import export_bag, export_ocfl, object_path
from holdfast.archive.importing import import_from
from holdfast.errors import AlreadyExistsError, InvalidInputError, MissingFileError, UnreadableError

bagit = pytest.importorskip("bagit", reason="the independent validator is not installed: pip install bagit")
ocfl = pytest.importorskip("ocfl", reason="the independent validator is not installed: pip install ocfl-py")


@pytest.fixture
def filled(archive, file):
    archive.add_file("S1", "Prod0", file("a.txt", b"aaa"))
    archive.add_file("S1", "Prod0", file("b", b"aaa"), new_name="sub/same as a.txt")
    archive.add_file("S1", "Prod1", file("c", b"ccc"), md5=False)
    archive.add_file("S 2/ü".replace("/", "-"), "shared", file("d", b""), new_name="ümlaut 100%.txt")
    return archive


@pytest.fixture
def other(tmp_path):
    with Archive.create(tmp_path / "other", "Other") as made:
        yield made


def ocfl_faults(path):
    """Return what the independent validator has to say, warnings too."""
    root = ocfl.StorageRoot(str(path))
    assert root.validate(log_warnings=True)
    assert root.good_objects == root.num_objects or root.errors
    lines = [line for _, text in root.errors for line in text.splitlines()]
    return [line for line in lines if "W004" not in line]  # sha512 is only what should be


def facts(archive):
    return [entry.to_dict() for entry in archive.entries()]


def without_md5(listed):
    return [{**each, "digests": {**each["digests"], "md5": None}} for each in listed]


def test_bag_validates_and_comes_back(filled, other, tmp_path):
    assert export_bag(filled, tmp_path / "bag").checked == 4
    assert bagit.Bag(str(tmp_path / "bag")).is_valid()
    assert (tmp_path / "bag" / "data" / "S1" / "Prod0" / "a.txt").read_bytes() == b"aaa"
    import_from(other, tmp_path / "bag")
    assert without_md5(facts(other)) == without_md5(facts(filled))
    assert other.check().ok


@pytest.mark.parametrize("digest", ["sha512", "sha256"])
def test_storage_root_validates_and_comes_back(filled, other, tmp_path, digest):
    assert export_ocfl(filled, tmp_path / "root", digest).checked == 4
    assert ocfl_faults(tmp_path / "root") == []
    import_from(other, tmp_path / "root")
    assert without_md5(facts(other)) == without_md5(facts(filled))
    assert other.check().ok


def test_tampered_exports_are_refused_by_validators_and_by_us(filled, other, tmp_path):
    export_bag(filled, tmp_path / "bag")
    export_ocfl(filled, tmp_path / "root", "sha256")
    (tmp_path / "bag" / "data" / "S1" / "Prod0" / "a.txt").write_bytes(b"bad")
    [content] = (tmp_path / "root").rglob("c")
    content.write_bytes(b"bad")
    assert not bagit.Bag(str(tmp_path / "bag")).is_valid()
    assert ocfl_faults(tmp_path / "root")
    for source in ("bag", "root"):
        with pytest.raises(HashError):
            import_from(other, tmp_path / source)
    assert other.entries() == []


def test_incomplete_collections_are_refused(filled, other, tmp_path):
    export_bag(filled, tmp_path / "bag")
    path = tmp_path / "bag" / "data" / "S1" / "Prod0" / "a.txt"
    path.unlink()
    with pytest.raises(MissingFileError):
        import_from(other, tmp_path / "bag")
    path.write_bytes(b"aaa")
    (path.parent / "extra").write_bytes(b"x")
    with pytest.raises(HashError, match="extra"):
        import_from(other, tmp_path / "bag")
    export_ocfl(filled, tmp_path / "root")
    [inventory, *_] = (tmp_path / "root").rglob("inventory.json")
    inventory.write_bytes(inventory.read_bytes().replace(b"Holdfast", b"Somebody"))
    with pytest.raises(HashError):
        import_from(other, tmp_path / "root")
    inventory.write_bytes(b"{")
    with pytest.raises(UnreadableError):
        import_from(other, tmp_path / "root")
    with pytest.raises(InvalidInputError, match="no bag"):
        import_from(other, tmp_path)
    assert other.entries() == []


def test_bag_of_somebody_else_comes_in(other, tmp_path):
    for name, content in (("E1/P1/deep/x", b"x"), ("E2/y", b"y"), ("z", b"z")):
        path = tmp_path / "theirs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    bagit.make_bag(str(tmp_path / "theirs"), checksums=["sha512", "sha256"])
    import_from(other, tmp_path / "theirs")
    assert [entry.place.path for entry in other.entries()] == [
        "E1/P1/deep/x",
        "E2/shared/y",
        "theirs/shared/z",
    ]


def test_hostile_bag_leads_nowhere(other, tmp_path):
    (tmp_path / "bag" / "data").mkdir(parents=True)
    (tmp_path / "bag" / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    (tmp_path / "secret").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    for name in ("data/../../secret", "/etc/passwd", "../secret"):
        (tmp_path / "bag" / "manifest-sha256.txt").write_text(f"{digest}  {name}\n")
        with pytest.raises((InvalidInputError, UnreadableError)):
            import_from(other, tmp_path / "bag")
    (tmp_path / "bag" / "manifest-sha256.txt").write_text("")
    (tmp_path / "bag" / "holdfast-archive.json").write_text(json.dumps({"entries": [{"event": ".."}]}))
    with pytest.raises((InvalidInputError, UnreadableError)):
        import_from(other, tmp_path / "bag")


def test_archive_comes_in_with_its_uuids(filled, other):
    filled.flush()
    import_from(other, filled.root)
    assert without_md5(facts(other)) == without_md5(facts(filled))
    with pytest.raises(AlreadyPresentException):
        import_from(other, filled.root)


def test_damaged_file_is_not_exported(filled, tmp_path):
    [path] = [path for path in Path(filled.root, "S1", "Prod1").iterdir() if not path.is_symlink()]
    path.chmod(0o644)
    path.write_bytes(b"bad")
    for export in (export_bag, export_ocfl):
        with pytest.raises(HashError, match="S1/Prod1/c"):
            export(filled, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_destination_must_be_new_and_digest_one_of_two(filled, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(AlreadyExistsError):
        export_bag(filled, tmp_path / "there")
    with pytest.raises(InvalidInputError, match="sha512 or sha256"):
        export_ocfl(filled, tmp_path / "x", "md5")


def test_empty_archive_is_exported_too(archive, tmp_path):
    export_bag(archive, tmp_path / "bag")
    assert bagit.Bag(str(tmp_path / "bag")).is_valid()
    assert export_ocfl(archive, tmp_path / "root").checked == 0
    assert ocfl_faults(tmp_path / "root") == []


def test_object_path_is_that_of_the_layout_extension():
    digest = hashlib.sha256(b"object-01").hexdigest()
    assert object_path("object-01") == f"{digest[:3]}/{digest[3:6]}/{digest[6:9]}/object-01"
    digest = hashlib.sha256(b"..hor/rib:le-$id").hexdigest()
    assert (
        object_path("..hor/rib:le-$id")
        == f"{digest[:3]}/{digest[3:6]}/{digest[6:9]}/%2e%2ehor%2frib%3ale-%24id"
    )
    long = "abcdefghij" * 26
    assert object_path(long).endswith(f"{long[:100]}-{hashlib.sha256(long.encode()).hexdigest()}")
