"""Each error of the system becomes ours, with the path and what to do."""

import errno
import os

import pytest

from holdfast.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
    StorageFullError,
)
from holdfast.files import os_errors


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EFBIG, StorageFullError),
        (errno.EROFS, ReadOnlyError),
        (errno.EACCES, ReadOnlyError),
        (errno.EPERM, ReadOnlyError),
        (errno.EIO, StorageError),
        (errno.EMFILE, StorageError),
        (errno.ENOENT, NotFoundError),
        (errno.EEXIST, AlreadyExistsError),
        (errno.ENOTEMPTY, AlreadyExistsError),
        (errno.ENOTDIR, InvalidInputError),
        (errno.EISDIR, InvalidInputError),
        (errno.ENAMETOOLONG, InvalidInputError),
        (errno.ELOOP, InvalidInputError),
    ],
)
def test_system_error_becomes_ours(number, kind):
    original = OSError(number, os.strerror(number), "/x")
    with pytest.raises(kind, match=r"cannot write /data/a: .*; ") as caught, os_errors("/data/a", "write"):
        raise original
    assert type(caught.value) is kind
    assert caught.value.__cause__ is original


def test_our_own_errors_pass_unchanged():
    own = ReadOnlyError("said already")
    with pytest.raises(ReadOnlyError) as caught, os_errors("/data/a"):
        raise own
    assert caught.value is own


def test_other_errors_pass_unchanged():
    with pytest.raises(ZeroDivisionError), os_errors("/data/a"):
        raise ZeroDivisionError
