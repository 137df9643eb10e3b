"""Own ``select_metadata``: a JMESPath expression over the metadata of entries.

>>> from holdfast.catalog.routes.selecting import selector
>>> selector("sample.{n: name}")('{"sample": {"name": "a", "t": 1}}')
'{"selected":{"n":"a"}}'
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.errors import InvalidInputError
from holdfast.http.reply import encode_json

__all__ = ["selector"]

MAX_CHARACTERS = 4096


def selector(expression: str | None) -> Callable[[str], str] | None:
    """Return what applies an expression to metadata.

    Parameters
    ----------
    expression : str or None
        JMESPath.

    Returns
    -------
    callable or None
        Takes JSON text and gives JSON text ``{"selected": …}``; None without an expression.

    Raises
    ------
    InvalidInputError
        For a malformed expression, here or when it is applied.

    References
    ----------
    https://jmespath.org/specification.html; Tiled wraps the result in ``selected``.
    """
    if expression is None:
        return None
    if len(expression) > MAX_CHARACTERS:
        raise InvalidInputError(f"select_metadata is over {MAX_CHARACTERS} characters")
    import jmespath  # by who asks for it: a server starts without
    from jmespath.exceptions import JMESPathError

    try:
        compiled = jmespath.compile(expression)
    except (JMESPathError, RecursionError, ValueError) as error:
        raise _malformed(expression, error) from error

    def apply(text: str) -> str:
        """Select from one entry's metadata."""
        try:
            found = compiled.search(msgspec.json.decode(text))
            return '{"selected":' + encode_json(found).decode() + "}"
        except (JMESPathError, RecursionError, ValueError, TypeError, ArithmeticError) as error:
            raise _malformed(expression, error) from error

    return apply


def _malformed(expression: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(f"select_metadata={expression[:200]!r} cannot be applied: {error}")
