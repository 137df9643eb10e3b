"""Modes, owners and access lists are what the user set up."""

import os
import stat
import struct

import pytest

from holdfast import files
from holdfast.files import is_sealed, seal, write_atomic

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


@pytest.fixture(params=["nameless", "named"], autouse=True)
def kind(request, monkeypatch):
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")


@pytest.fixture
def umask():
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def acl(*entries):
    """Pack (tag, permissions, id) in the form of the kernel."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY_READS = acl(
    (1, 6, 2**32 - 1), (2, 4, 65534), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)
)


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_new_file_has_the_mode_of_the_umask(tmp_path, umask, mask, expected):
    umask(mask)
    write_atomic(tmp_path / "a", b"")
    assert mode(tmp_path / "a") == expected


def test_replaced_file_keeps_its_mode(tmp_path, umask):
    write_atomic(tmp_path / "a", b"")
    (tmp_path / "a").chmod(0o600)
    write_atomic(tmp_path / "a", b"new")
    assert mode(tmp_path / "a") == 0o600


def test_sealed_new_file_keeps_what_the_umask_lets_be_read(tmp_path, umask):
    umask(0o027)
    write_atomic(tmp_path / "a", b"", read_only=True)
    assert mode(tmp_path / "a") == 0o440


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another group")
def test_setgid_directory_gives_its_group(tmp_path, umask):
    os.chown(tmp_path, -1, 65534)
    tmp_path.chmod(0o2775)
    write_atomic(tmp_path / "a", b"")
    files.make_directories(tmp_path / "d" / "e")
    assert (tmp_path / "a").stat().st_gid == 65534
    assert (tmp_path / "d" / "e").stat().st_gid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another owner")
def test_replaced_file_keeps_its_owner(tmp_path):
    write_atomic(tmp_path / "a", b"")
    os.chown(tmp_path / "a", 65534, 65534)
    write_atomic(tmp_path / "a", b"new")
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (65534, 65534)


def test_default_access_list_of_the_directory_is_inherited(tmp_path, umask):
    try:
        os.setxattr(tmp_path, DEFAULT, NOBODY_READS)
    except OSError:
        pytest.skip("this file system has no access lists")
    write_atomic(tmp_path / "a", b"")
    assert struct.pack("<HHI", 2, 4, 65534) in os.getxattr(tmp_path / "a", ACCESS)


def test_access_list_of_the_replaced_file_is_kept(tmp_path):
    write_atomic(tmp_path / "a", b"")
    try:
        os.setxattr(tmp_path / "a", ACCESS, NOBODY_READS)
    except OSError:
        pytest.skip("this file system has no access lists")
    write_atomic(tmp_path / "a", b"new")
    assert os.getxattr(tmp_path / "a", ACCESS) == NOBODY_READS


def test_seal_takes_all_rights_to_write(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "a").chmod(0o766)
    assert not is_sealed(tmp_path / "a")
    seal(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o544
    assert is_sealed(tmp_path / "a")
