import pickle

import pytest

from holdfast import errors
from holdfast.errors import BulkError, HashError, HoldfastError, NotFoundError, ServerError

SINGLE = sorted((cls for cls in errors.classes().values() if cls is not BulkError), key=lambda cls: cls.code)


@pytest.mark.parametrize("cls", SINGLE, ids=lambda cls: cls.code)
def test_error_says_its_message_and_survives_a_pickle(cls):
    error = cls("no entry 'x'", key="x")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error) == "no entry 'x'"
    assert again.details == {"key": "x"}


@pytest.mark.parametrize("cls", SINGLE, ids=lambda cls: cls.code)
def test_error_is_a_builtin_that_python_users_would_catch(cls):
    builtin = [
        base
        for base in cls.__mro__
        if base.__module__ == "builtins" and base not in (Exception, BaseException, object)
    ]
    assert builtin or cls in {HoldfastError, ServerError}


def test_codes_are_unique_and_lead_back_to_their_class():
    for code, cls in errors.classes().items():
        assert errors.from_code(code) is cls


def test_unknown_code_is_a_server_error():
    assert errors.from_code("from-the-future") is ServerError


def test_not_found_is_caught_as_key_and_as_file():
    for builtin in (KeyError, FileNotFoundError):
        with pytest.raises(builtin):
            raise NotFoundError("x")


def test_every_class_stands_in_all():
    own = {cls.__name__ for cls in errors.classes().values() if cls.__module__ == errors.__name__}
    assert own <= set(errors.__all__)


def test_bulk_error_carries_every_failure():
    error = BulkError("2 files failed", [NotFoundError("a"), HashError("b")])
    assert str(error) == "2 files failed; a; b"
    with pytest.raises(ExceptionGroup) as caught:
        raise error
    matching, rest = caught.value.split(HashError)
    assert [str(each) for each in matching.exceptions] == ["b"]
    assert [str(each) for each in rest.exceptions] == ["a"]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("cls", "status", "exit_code"),
    [
        (errors.NotFoundError, 404, 3),
        (errors.AlreadyExistsError, 409, 4),
        (errors.InvalidInputError, 400, 2),
        (errors.NotAStoreError, 404, 5),
        (errors.HashError, 500, 1),
        (errors.AuthenticationError, 401, 1),
        (errors.StorageFullError, 507, 1),
    ],
)
def test_status_and_exit_code_are_stable(cls, status, exit_code):
    assert (cls.status, cls.exit_code) == (status, exit_code)
