"""Own the small language in which people type queries on the command line.

>>> from holdfast.queries import parse
>>> parse('color == "red" and not (n > 5 or tag contains "x")').matches({"color": "red", "n": 3})
True

Notes
-----
::

    query      = all ("or" all)*
    all        = one ("and" one)*
    one        = "not" one | "(" query ")" | condition
    condition  = field ("==" | "=" | "!=" | "<" | "<=" | ">" | ">=") value
               | field ["not"] "in" "[" value ("," value)* "]"
               | field "contains" value | field "like" text | field "ilike" text
               | field ("~" | "~*") text                    regular expression; ~* ignores case
               | field "exists" | field                     the field is there
               | "text" text                                full text
               | "key" ("==" | "in" …) | "family" "==" text | "spec" "==" text
    field      = name ("." name)*                           letters, digits, _ - / @ : or in `…`
    value      = "text" | 'text' | number | true | false | null | [ … ]

``key``, ``family`` and ``spec`` ask the node itself; a metadata field of that name is written in back quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.errors import InvalidInputError, TooLargeError
from holdfast.queries.leaves import Comparison, Contains, Eq, In, KeyPresent, Like, NotEq, NotIn, Regex
from holdfast.queries.tree import MAX_QUERY_DEPTH, And, Not, Or, Query
from holdfast.queries.whole import FullText, KeysFilter, SpecsQuery, StructureFamilyQuery
from holdfast.types import Json

__all__ = ["MAX_CHARACTERS", "parse"]

MAX_CHARACTERS = 1_000_000
"""The longest query text."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<sign>==|!=|<=|>=|~\*|=|<|>|~|\(|\)|\[|\]|,|&|\||!)
    | (?P<name>(?:`[^`]*`|[\w@:/-]+)(?:\.(?:`[^`]*`|[\w@:/-]+))*)
    )""",
    re.VERBOSE,
)
_PART = re.compile(r"`([^`]*)`|([^.`]+)")
_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_CONSTANTS: dict[str, Json] = {"true": True, "false": False, "null": None, "none": None}
_WORDS = {"and", "or", "not", "in", "contains", "like", "ilike", "exists"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Query:
    """Read a query as people type it.

    Parameters
    ----------
    text : str
        See the notes of this module; empty matches everything.

    Returns
    -------
    Query
        The query.

    Raises
    ------
    InvalidInputError
        For text that is not a query; the message says where and what was expected.
    TooLargeError
        For text over a million characters, or parentheses nested deeper than 64.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLargeError(f"the query has over {MAX_CHARACTERS} characters")
    reader = _Reader(text, _tokens(text))
    if reader.peek().kind == "end":
        return And()
    query = reader.query(MAX_QUERY_DEPTH)
    if reader.peek().kind != "end":
        raise reader.error("'and', 'or' or the end")
    return query


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise InvalidInputError(
                f"cannot read the query at {text[at : at + 30].strip()!r} (character {at + 1})"
            )
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return [*tokens, _Token("end", "", len(text))]


class _Reader:
    """Read tokens from left to right."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text, self._tokens, self._next = text, tokens, 0

    def peek(self) -> _Token:
        return self._tokens[self._next]

    def take(self) -> _Token:
        token = self.peek()
        self._next += token.kind != "end"
        return token

    def takes(self, *words: str) -> str:
        """Take the next token if it is one of these words or signs; return it, or nothing."""
        token = self.peek()
        word = token.text.lower() if token.kind in {"name", "sign"} else ""
        if word and word in words:
            self._next += 1
            return word
        return ""

    def expect(self, *words: str) -> None:
        if not self.takes(*words):
            raise self.error(" or ".join(map(repr, words)))

    def error(self, expected: str) -> InvalidInputError:
        token = self.peek()
        found = repr(token.text[:30]) if token.kind != "end" else "the end"
        return InvalidInputError(
            f"the query {self._text[:200]!r} has {found} at character {token.at + 1}; expected {expected}"
        )

    def query(self, depth: int) -> Query:
        return self._joined(Or, ("or", "|"), lambda: self._all(depth))

    def _all(self, depth: int) -> Query:
        return self._joined(And, ("and", "&"), lambda: self._one(depth))

    def _joined(self, kind: type[And | Or], words: tuple[str, ...], part: Callable[[], Query]) -> Query:
        parts = [part()]
        while self.takes(*words):
            parts.append(part())
        return parts[0] if len(parts) == 1 else kind(*parts)

    def _one(self, depth: int) -> Query:
        if depth <= 0:
            raise TooLargeError(f"the query nests deeper than {MAX_QUERY_DEPTH} levels; simplify it")
        if self.takes("not", "!"):
            return Not(self._one(depth - 1))
        if self.takes("("):
            query = self.query(depth - 1)
            self.expect(")")
            return query
        return self._condition()

    def _condition(self) -> Query:
        token = self.peek()
        if token.kind != "name" or token.text.lower() in _WORDS:
            raise self.error('a field name, as in color == "red"')
        self.take()
        own = {"key": self._of_key, "family": self._of_family, "spec": self._of_spec, "text": self._of_text}
        if token.text in own:
            return own[token.text]()
        return self._of_field([quoted or plain for quoted, plain in _PART.findall(token.text)])

    def _of_field(self, path: list[str]) -> Query:
        sign = self.takes(
            "==", "=", "!=", *_COMPARISONS, "~", "~*", "in", "not", "contains", "like", "ilike", "exists"
        )
        if sign in {"==", "="}:
            return Eq(path, self.value())
        if sign == "!=":
            return NotEq(path, self.value())
        if sign in _COMPARISONS:
            return Comparison(_COMPARISONS[sign], path, self.value())
        if sign in {"in", "not"}:
            if sign == "not":
                self.expect("in")
            return (NotIn if sign == "not" else In)(path, self.values())
        if sign == "contains":
            return Contains(path, self.value())
        if sign in {"~", "~*"}:
            return Regex(path, self.text(), sign == "~")
        if sign in {"like", "ilike"}:
            return Like(path, self.text(), sign == "like")
        return KeyPresent(path)

    def _of_key(self) -> Query:
        sign = self.takes("==", "=", "!=", "in")
        if not sign:
            raise self.error("'==', '!=' or 'in' after key")
        if sign == "in":
            return KeysFilter(self.values())
        return self._maybe_not(sign, KeysFilter([self.text()]))

    def _of_family(self) -> Query:
        return self._maybe_not(self._equals("family"), StructureFamilyQuery(self.text()))

    def _of_spec(self) -> Query:
        return self._maybe_not(self._equals("spec"), SpecsQuery([self.text()]))

    def _of_text(self) -> Query:
        self.takes("==", "=", "contains")
        return FullText(self.text())

    def _equals(self, name: str) -> str:
        sign = self.takes("==", "=", "!=")
        if not sign:
            raise self.error(f"'==' or '!=' after {name}")
        return sign

    @staticmethod
    def _maybe_not(sign: str, query: Query) -> Query:
        return Not(query) if sign == "!=" else query

    def values(self, depth: int = MAX_QUERY_DEPTH) -> list[Json]:
        if depth <= 0:
            raise TooLargeError(f"a list nests deeper than {MAX_QUERY_DEPTH} levels; simplify it")
        self.expect("[", "(")
        values: list[Json] = []
        while not self.takes("]", ")"):
            if values:
                self.expect(",")
            values.append(self.value(depth - 1))
        return values

    def text(self) -> str:
        value = self.value()
        if not isinstance(value, str):
            self._next -= 1
            raise self.error("a quoted text")
        return value

    def value(self, depth: int = MAX_QUERY_DEPTH) -> Json:
        token = self.peek()
        if token.text == "[":
            return self.values(depth)
        if token.kind == "name" and token.text.lower() in _CONSTANTS:
            return _CONSTANTS[self.take().text.lower()]
        if token.kind not in {"text", "number"}:
            raise self.error("a value: a quoted text, a number, true, false, null or [ … ]")
        self.take()
        return _number(token.text) if token.kind == "number" else _unquoted(token.text)


def _number(text: str) -> int | float:
    if len(text) > 4000:
        raise TooLargeError("a number of over 4,000 characters is too long")
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _unquoted(text: str) -> str:
    body = text[1:-1]
    if text[0] == "'":
        body = re.sub(r'(\\.)|"', lambda match: match[1] or '\\"', body, flags=re.DOTALL).replace("\\'", "'")
    try:
        return str(json.loads(f'"{body}"', strict=False))
    except ValueError as error:
        raise InvalidInputError(
            f"the text {text[:80]} has a malformed \\ escape; write \\\\ for a backslash"
        ) from error
