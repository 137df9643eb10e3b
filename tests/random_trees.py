"""Random documents and query trees over nasty values, for the comparison with the reference matcher."""

import random

from holdfast.database import NewNode
from holdfast.queries import (
    And,
    Comparison,
    Contains,
    Eq,
    FullText,
    In,
    KeyPresent,
    KeysFilter,
    Like,
    Not,
    NotEq,
    NotIn,
    Or,
    Regex,
    SpecsQuery,
    StructureFamilyQuery,
)
from holdfast.queries.fields import Field

LONG = "x" * 199
SCALARS = [
    0, 1, -1, 2, 5, 10, 1.0, 1.5, -0.0, 0.5, 2**53 - 1, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**63,
    2**63 + 1, -(2**63), -(2**63) - 1, 10**20, 10**20 + 1, 1e20, 10**400, -(10**400), 1e308, True, False,
    None, "", "1", "1.0", "true",
    "red", "Red", "green", "a b", "A-b", "it's", '"', "`", "%", "_", "*", "[a]", "?", "\\", "a%b_c", "😀",
    "\uffff", "é", "É",
    LONG, LONG + "a", LONG + "ab", LONG + "abc", LONG + "abd", LONG + "b", "x" * 250, "null", "half-cell",
]  # fmt: skip
KEYS = ["a", "b", "c", "d", "a.b", "", 'k"q', "n[0]", "0", "é"]
WORDS = ["red", "half-cell", "a b", "A", "é", "1", '"', "x" * 199, "cell half", "it's", "- red"]
SPECS = ["s", "t", "u"]
KINDS = [
    *("eq", "eq", "noteq", "comparison", "comparison", "in", "notin", "contains", "like", "regex"),
    *("present", "absent", "text", "specs", "family", "keys"),
]


def value(draw: random.Random, depth: int = 0):
    kind = draw.random()
    if depth < 3 and kind < 0.12:
        return [value(draw, depth + 1) for _ in range(draw.choice([0, 1, 2, 3]))]
    if depth < 3 and kind < 0.27:
        return {draw.choice(KEYS): value(draw, depth + 1) for _ in range(draw.choice([0, 1, 2]))}
    return draw.choice(SCALARS)


def metadata(draw: random.Random) -> dict:
    document = {key: value(draw) for key in draw.sample(KEYS, draw.randint(0, 5))}
    if draw.random() < 0.02:
        document["a"] = [draw.choice(SCALARS) for _ in range(300)]
    if draw.random() < 0.02:
        deep = draw.choice(SCALARS)
        for _ in range(20):
            deep = {"a": deep}
        document["a"] = deep
    return document


def node(draw: random.Random, number: int, family: str = "") -> NewNode:
    return NewNode(
        f"k{number}",
        family or draw.choice(["array", "table", "container", "bytes"]),
        metadata(draw),
        draw.sample(SPECS, draw.randint(0, 2)),
    )


def field(draw: random.Random, *, walk: bool) -> Field:
    path = tuple(draw.choice(KEYS) for _ in range(draw.choice([1, 1, 1, 2, 2, 3])))
    if draw.random() < 0.05:
        path = ("a",) * draw.choice([15, 16, 17, 20])
    return Field(path, walk=walk and draw.random() < 0.5)


def leaf(draw: random.Random, *, walk: bool):
    kind = draw.choice(KINDS)
    key = field(draw, walk=walk)
    if kind == "text":
        return FullText(" ".join(draw.sample(WORDS, draw.choice([1, 1, 2]))))
    if kind == "specs":
        return SpecsQuery(draw.sample(SPECS, draw.randint(0, 2)), draw.sample(SPECS, draw.randint(0, 1)))
    if kind == "family":
        return StructureFamilyQuery(draw.choice(["array", "table", "container"]))
    if kind == "keys":
        return KeysFilter([f"k{draw.randint(0, 200)}" for _ in range(draw.randint(0, 40))])
    return _of_field(draw, kind, key)


def _of_field(draw, kind, key):
    if kind in ("eq", "noteq"):
        return (Eq if kind == "eq" else NotEq)(key, value(draw))
    if kind in ("in", "notin"):
        return (In if kind == "in" else NotIn)(key, [value(draw) for _ in range(draw.choice([0, 1, 2, 5]))])
    if kind == "contains":
        return Contains(Field(key.path), value(draw, 2))
    if kind == "like":
        pattern = draw.choice(
            ["%", "r%", "%e%", "_", "", "x%", "%a", "\\%", "[a]", "R__", "a\\%b\\_c", "%x%x%x%b", "%\\\\"]
        )
        return Like(key, pattern, draw.random() < 0.7)
    if kind == "regex":
        return Regex(
            key, draw.choice(["^r", "e", "x{199}a", "^$", "[0-9]", "(?:a|b)c$", "É"]), draw.random() < 0.7
        )
    if kind in ("present", "absent"):
        return KeyPresent(key, kind == "present")
    bound = draw.choice([each for each in SCALARS if each is not None and not isinstance(each, bool)])
    return Comparison(draw.choice(["lt", "le", "gt", "ge"]), key, bound)


def tree(draw: random.Random, depth: int = 0, *, walk: bool = True):
    kind = draw.random()
    if depth < 3 and kind < 0.25:
        return And(*(tree(draw, depth + 1, walk=walk) for _ in range(draw.choice([0, 1, 2, 2, 3]))))
    if depth < 3 and kind < 0.45:
        return Or(*(tree(draw, depth + 1, walk=walk) for _ in range(draw.choice([0, 1, 2, 2, 3]))))
    if depth < 3 and kind < 0.6:
        return Not(tree(draw, depth + 1, walk=walk))
    return leaf(draw, walk=walk)
