"""Own the whole error tree: every class, its stable code, its HTTP status and its exit code.

It does not turn errors into answers: that is done by ``http`` (JSON) and ``cli`` (exit codes).

>>> from holdfast.errors import NotFoundError, from_code
>>> error = NotFoundError("no entry 'x' in record runs; list them with record.keys()")
>>> error.code, error.status, error.exit_code, isinstance(error, KeyError)
('not-found', 404, 3, True)
>>> from_code("not-found") is NotFoundError
True
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

__all__ = [
    "AlreadyExistsError",
    "AlreadyPresentException",
    "AuthenticationError",
    "BulkError",
    "BusyError",
    "ChangedError",
    "ConflictError",
    "ForbiddenError",
    "HashError",
    "HoldfastError",
    "ImmutableDocumentError",
    "ImmutableError",
    "InvalidInputError",
    "InvalidTypeError",
    "MalformedHashError",
    "MethodNotAllowedError",
    "MissingDependencyError",
    "MissingFileError",
    "NegativeOffsetError",
    "NewerFormatError",
    "NotAStoreError",
    "NotAcceptableError",
    "NotFoundError",
    "OldFormatError",
    "OutOfRangeError",
    "PreconditionFailedError",
    "RangeNotSatisfiableError",
    "ReadOnlyError",
    "ServerError",
    "SharedFileSystemError",
    "StorageError",
    "StorageFullError",
    "TimeLimitError",
    "TooLargeError",
    "TransportError",
    "UnexpectedHashError",
    "UnreadableError",
    "UnsupportedMediaError",
    "classes",
    "from_code",
]


class HoldfastError(Exception):
    """Be the base of every error that Holdfast raises.

    Parameters
    ----------
    message : str
        What failed, which key or path, and what to do next.
    **details : object
        Facts for programs, JSON values; they travel in the HTTP error body under ``details``.

    Attributes
    ----------
    code : str
        A stable name of the kind of error; codes are only ever added.
    status : int
        The HTTP status a server answers with.
    exit_code : int
        The exit code of the command line.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __str__(self) -> str:
        # KeyError would print its repr, and OSError its errno.
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(cls: type[HoldfastError], message: str, details: dict[str, Any]) -> HoldfastError:
    return cls(message, **details)


class NotFoundError(HoldfastError, KeyError, FileNotFoundError):
    """Say that a key, node, entry, file or document does not exist."""

    code = "not-found"
    status = 404
    exit_code = 3


class MissingFileError(NotFoundError):
    """Say that a file which a node, link or manifest names is not there (never read as zeros)."""

    code = "missing-file"
    status = 410


class AlreadyExistsError(HoldfastError, FileExistsError):
    """Say that a name is taken and that nothing was replaced."""

    code = "already-exists"
    status = 409
    exit_code = 4


class AlreadyPresentException(AlreadyExistsError):
    """Say that an archive has a file of that name already; it is unchanged."""

    code = "already-present"


class ConflictError(HoldfastError, ValueError):
    """Say that a request contradicts what is stored (other content under the same identity)."""

    code = "conflict"
    status = 409
    exit_code = 4


class ChangedError(ConflictError):
    """Say that a file changed since it was indexed, or while it was read."""

    code = "changed"


class InvalidInputError(HoldfastError, ValueError):
    """Say that a name, value, query or parameter is not acceptable; nothing was changed."""

    code = "invalid-input"
    status = 400
    exit_code = 2


class InvalidTypeError(InvalidInputError, TypeError):
    """Say that a value has a type that cannot be kept or compared."""

    code = "invalid-type"


class TimeLimitError(InvalidInputError, TimeoutError):
    """Say that an operation (a user's regular expression, a probe) ran out of its time."""

    code = "time-limit"


class OutOfRangeError(InvalidInputError, IndexError):
    """Say that an index lies outside an array or a listing."""

    code = "out-of-range"


class TooLargeError(InvalidInputError):
    """Say that a request or an answer is over its limit of size."""

    code = "too-large"
    status = 413


class RangeNotSatisfiableError(InvalidInputError):
    """Say that a byte range lies outside the body."""

    code = "range-not-satisfiable"
    status = 416


class NegativeOffsetError(RangeNotSatisfiableError, OSError):
    """Say that an offset lies before the start, as the system's own ``seek`` does."""

    code = "negative-offset"


class UnsupportedMediaError(InvalidInputError):
    """Say that a request's body has a media type that this route does not take."""

    code = "unsupported-media"
    status = 415


class NotAcceptableError(InvalidInputError):
    """Say that an answer cannot be given in the requested format, and which ones can."""

    code = "not-acceptable"
    status = 406


class MethodNotAllowedError(InvalidInputError):
    """Say that this address does not know the request's method."""

    code = "method-not-allowed"
    status = 405


class PreconditionFailedError(HoldfastError, ValueError):
    """Say that an ``If-Match`` or ``If-Unmodified-Since`` condition does not hold."""

    code = "precondition-failed"
    status = 412


class ImmutableError(HoldfastError, NotImplementedError):
    """Say that this kind of thing is never changed in place, and what to do instead."""

    code = "immutable"
    status = 405


class ImmutableDocumentError(ImmutableError):
    """Say that analysis documents are never changed, and that a new one can supersede an old one."""

    code = "immutable-document"


class AuthenticationError(HoldfastError, PermissionError):
    """Say that a key is missing, unknown or expired."""

    code = "authentication"
    status = 401


class ForbiddenError(HoldfastError, PermissionError):
    """Say that a key lacks the scope, or that a name leads outside what is served."""

    code = "forbidden"
    status = 403


class ReadOnlyError(HoldfastError, PermissionError):
    """Say that a directory, file or handle cannot be written."""

    code = "read-only"
    status = 403


class BusyError(HoldfastError, BlockingIOError):
    """Say that somebody else holds what is needed; a later retry may succeed."""

    code = "busy"
    status = 503


class SharedFileSystemError(ReadOnlyError):
    """Say that an operation needs locks that a shared file system does not give."""

    code = "shared-file-system"


class StorageError(HoldfastError, OSError):
    """Say that the operating system failed to read or write (an I/O error)."""

    code = "storage"


class StorageFullError(StorageError):
    """Say that the disk or the quota is full; old contents are intact."""

    code = "storage-full"
    status = 507


class HashError(HoldfastError, OSError):
    """Say that bytes do not have the digest that was recorded for them."""

    code = "hash"


class UnexpectedHashError(HashError):
    """Say that bytes are sound, and not those that the caller expects."""

    code = "unexpected-hash"
    status = 412


class MalformedHashError(InvalidInputError, HashError):
    """Say that an expected digest is no digest, so that nothing can have it."""

    code = "malformed-hash"
    status = 400
    exit_code = 2


class UnreadableError(HoldfastError, ValueError):
    """Say that a file is not what its format says: truncated, damaged or of another kind."""

    code = "unreadable"
    status = 422


class NewerFormatError(HoldfastError, ValueError):
    """Say that a file was written by a newer release, and which one can read it."""

    code = "newer-format"
    status = 409


class OldFormatError(HoldfastError, ValueError):
    """Say that a file was written by an older release and must be upgraded first."""

    code = "old-format"
    status = 409


class NotAStoreError(HoldfastError, NotADirectoryError):
    """Say that a directory is not the store, archive or repository that was asked for."""

    code = "not-a-store"
    status = 404
    exit_code = 5


class MissingDependencyError(HoldfastError, ImportError):
    """Say that an optional library is not installed, and the command that installs it."""

    code = "missing-dependency"
    status = 501


class TransportError(HoldfastError, ConnectionError):
    """Say that a server could not be reached or that a connection broke."""

    code = "transport"
    status = 502


class ServerError(HoldfastError):
    """Say that a server answered with a failure that it did not explain."""

    code = "server"
    status = 502


class BulkError(HoldfastError, ExceptionGroup[Exception]):
    """Carry every failure of an operation on many things."""

    code = "bulk"

    def __new__(cls, message: str, errors: Iterable[Exception], /) -> BulkError:
        """Make the group; ``errors`` must not be empty."""
        return ExceptionGroup.__new__(cls, message, tuple(errors))

    def __init__(self, message: str, errors: Iterable[Exception], /) -> None:
        Exception.__init__(self, message, tuple(errors))
        self.details = {}

    def __str__(self) -> str:
        return "; ".join([self.message, *(str(error) for error in self.exceptions)])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exceptions)

    def derive(self, errors: Iterable[Exception], /) -> BulkError:  # type: ignore[override]  # narrower on purpose
        """Return a group of the same message around a part of the errors."""
        return BulkError(self.message, errors)


def classes() -> dict[str, type[HoldfastError]]:
    """Return every class by its code.

    Returns
    -------
    dict of str to type
        All subclasses that define a code of their own, those of third parties too.
    """
    found: dict[str, type[HoldfastError]] = {}
    waiting: list[type[HoldfastError]] = [HoldfastError]
    while waiting:
        cls = waiting.pop()
        if "code" in vars(cls):
            found.setdefault(cls.code, cls)
        waiting.extend(cls.__subclasses__())
    return found


def from_code(code: str) -> type[HoldfastError]:
    """Return the class that carries a code, so that a client raises what the server raised.

    Parameters
    ----------
    code : str
        The value of ``error.code``.

    Returns
    -------
    type
        The class; `ServerError` for a code that this release does not know.
    """
    return classes().get(code, ServerError)
