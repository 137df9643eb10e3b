"""Searches among documents against a small MongoDB of its own, written down independently of the code."""

import json
import random
import re
import sqlite3

import pytest

from holdfast.database import Database, DocumentWindow, NewDocument
from holdfast.database.sorting import order_of
from holdfast.errors import AlreadyExistsError, InvalidInputError
from holdfast.queries import And, Key, from_mongo

COLUMNS = {"header": ("parent",), "seq_num": ("seq_num",)}
KEYS = ["a", "b", "c", "0", "1"]
SCALARS = [
    0,
    1,
    1.0,
    2,
    -1,
    1.5,
    True,
    False,
    None,
    "",
    "1",
    "red",
    "Red",
    "x" * 250,
    2**63,
    2**64 - 1,
    -(2**63),
    "é",
]


def value(draw, depth=0):
    kind = draw.random()
    if depth < 3 and kind < 0.25:
        return [value(draw, depth + 1) for _ in range(draw.choice([0, 1, 2, 3]))]
    if depth < 3 and kind < 0.5:
        return {draw.choice(KEYS): value(draw, depth + 1) for _ in range(draw.choice([0, 1, 2]))}
    return draw.choice(SCALARS)


def document(draw, number):
    found = {
        "uid": f"u{number}",
        "time": draw.choice([1, 2, 3, 1.5]),
        "parent": f"p{number % 7}",
        "seq_num": number,
    }
    return {**found, **{key: value(draw) for key in draw.sample(KEYS, draw.randint(0, 4))}}


def dotted(draw):
    if draw.random() < 0.15:
        return draw.choice(["uid", "time", "parent", "seq_num"])
    return ".".join(draw.choice(KEYS) for _ in range(draw.choice([1, 1, 2, 2, 3])))


def operand(draw, operator):
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        return draw.choice([each for each in SCALARS if each is not None and not isinstance(each, bool)])
    if operator in ("$in", "$nin", "$all"):
        return [draw.choice([*SCALARS, "u3", "p1"]) for _ in range(draw.choice([0, 1, 2]))]
    if operator == "$exists":
        return draw.random() < 0.5
    if operator == "$regex":
        return draw.choice(["^r", "x{240}", "e", "^$"])
    if operator == "$size":
        return draw.choice([0, 1, 2])
    if operator == "$type":
        return draw.choice(
            ["null", "bool", "number", "int", "double", "string", "array", "object", ["int", "string"]]
        )
    return value(draw, 1)


OPERATORS = "$eq $ne $gt $gte $lt $lte $in $nin $exists $regex $size $type $all".split()


def condition(draw, depth=0):
    if draw.random() < 0.3:
        return draw.choice([*SCALARS, value(draw, 1)])
    if depth < 2 and draw.random() < 0.15:
        return {"$not": {"$eq": 1, **condition_of_operators(draw, depth + 1)}}
    if depth < 2 and draw.random() < 0.15:
        inner = condition_of_operators(draw, depth + 1) if draw.random() < 0.5 else query(draw, depth + 2)
        return {"$elemMatch": inner}
    return condition_of_operators(draw, depth)


def condition_of_operators(draw, depth):
    return {operator: operand(draw, operator) for operator in draw.sample(OPERATORS, draw.choice([1, 1, 2]))}


def query(draw, depth=0):
    if depth < 2 and draw.random() < 0.35:
        parts = [query(draw, depth + 1) for _ in range(draw.choice([1, 2, 3]))]
        return {draw.choice(["$and", "$or", "$nor"]): parts}
    return {dotted(draw): condition(draw, depth) for _ in range(draw.choice([1, 1, 2]))}


# -- the small MongoDB -------------------------------------------------------------------------------------


def reach(node, path):
    if not path:
        yield node
    elif isinstance(node, dict):
        if path[0] in node:
            yield from reach(node[path[0]], path[1:])
    elif isinstance(node, list):
        if path[0].isdigit() and int(path[0]) < len(node):
            yield from reach(node[int(path[0])], path[1:])
        for element in node:
            if isinstance(element, dict):
                yield from reach(element, path)


def same(left, right):
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def bracket(node):
    return (
        "b"
        if isinstance(node, bool)
        else "n"
        if isinstance(node, int | float)
        else "s"
        if isinstance(node, str)
        else None
    )


def of_type(node, name):
    whole = isinstance(node, int) and not isinstance(node, bool)
    return {
        "null": node is None,
        "bool": isinstance(node, bool),
        "number": whole or isinstance(node, float),
        "int": whole and -(2**31) <= node < 2**31,
        "double": isinstance(node, float),
        "string": isinstance(node, str),
        "array": isinstance(node, list),
        "object": isinstance(node, dict),
    }[name]


def holds(reached, operator, operand):
    spread = [each for node in reached for each in [node, *(node if isinstance(node, list) else [])]]
    if operator == "$eq":
        return any(same(each, operand) for each in spread) or (operand is None and not reached)
    if operator == "$ne":
        return not holds(reached, "$eq", operand)
    if operator == "$in":
        return any(holds(reached, "$eq", each) for each in operand)
    if operator == "$nin":
        return not holds(reached, "$in", operand)
    if operator == "$all":
        return bool(operand) and all(holds(reached, "$eq", each) for each in operand)
    if operator == "$exists":
        return bool(reached) is operand
    if operator == "$size":
        return any(isinstance(node, list) and len(node) == operand for node in reached)
    if operator == "$type":
        return any(
            of_type(each, name)
            for each in spread
            for name in ([operand] if isinstance(operand, str) else operand)
        )
    if operator == "$regex":
        return any(isinstance(each, str) and re.search(operand, each) for each in spread)
    if operator == "$not":
        return not all(holds(reached, *each) for each in operand.items())
    if operator == "$elemMatch":
        elements = [each for node in reached if isinstance(node, list) for each in node]
        if operand and all(key.startswith("$") and key not in ("$and", "$or", "$nor") for key in operand):
            return any(all(holds([each], *pair) for pair in operand.items()) for each in elements)
        return any(isinstance(each, dict) and matches(each, operand) for each in elements)
    compare = {"$gt": "__gt__", "$gte": "__ge__", "$lt": "__lt__", "$lte": "__le__"}[operator]
    return any(
        bracket(each) == bracket(operand)
        and (getattr(each, compare)(operand) is True or reversed_holds(each, operator, operand))
        for each in spread
        if bracket(each)
    )


def reversed_holds(left, operator, right):
    # int.__gt__(float) says NotImplemented; Python then asks the other side.
    return {
        "$gt": lambda: left > right,
        "$gte": lambda: left >= right,
        "$lt": lambda: left < right,
        "$lte": lambda: left <= right,
    }[operator]()


def matches(node, wanted):
    for name, each in wanted.items():
        if name == "$and":
            found = all(matches(node, part) for part in each)
        elif name == "$or":
            found = any(matches(node, part) for part in each)
        elif name == "$nor":
            found = not any(matches(node, part) for part in each)
        else:
            is_operators = isinstance(each, dict) and each and all(key.startswith("$") for key in each)
            pairs = each if is_operators else {"$eq": each}
            reached = list(reach(node, name.split(".")))
            found = all(holds(reached, *pair) for pair in pairs.items())
        if not found:
            return False
    return True


# -- tests -------------------------------------------------------------------------------------------------


def filled(seed, count):
    draw = random.Random(seed)
    documents = [document(draw, number) for number in range(count)]
    database = Database(":memory:")
    with database.transaction() as tx:
        tx.documents.add(-1, [new(each) for each in documents])
        tx.documents.add(-2, [new({**each, "uid": "other"}) for each in documents[:1]])
    return database, documents


def new(each):
    return NewDocument(each["uid"], each["time"], json.dumps(each), each.get("parent"), each.get("seq_num"))


def newest_first(documents):
    return sorted(documents, key=lambda each: (each["time"], each["uid"]), reverse=True)


def compare(database, documents, seeds):
    interesting = 0
    for seed in seeds:
        wanted = query(random.Random(seed))
        expected = newest_first(each for each in documents if matches(each, wanted))
        found = database.documents.search(-1, from_mongo(wanted), **COLUMNS)
        assert [json.loads(body)["uid"] for body in found] == [each["uid"] for each in expected], (
            seed,
            wanted,
        )
        assert database.documents.count(-1, from_mongo(wanted), **COLUMNS) == len(expected)
        interesting += 0 < len(expected) < len(documents) / 2
    return interesting


def test_random_filters_agree_with_a_mongo_of_the_test_itself():
    database, documents = filled(1, 300)
    assert compare(database, documents, range(400)) > 80


@pytest.mark.slow
def test_filters_stay_exact_while_documents_come_and_the_index_lags():
    database, documents = filled(2, 250)
    draw = random.Random(7)
    for step in range(12):
        compare(database, documents, range(step * 25, step * 25 + 25))
        more = [document(draw, 10_000 + step * 100 + number) for number in range(draw.choice([1, 50]))]
        documents += more
        with database.transaction() as tx:
            tx.documents.add(-1, [new(each) for each in more])


def test_documents_of_other_kinds_are_passed_by_once(tmp_path):
    with Database(tmp_path / "catalog.db") as database:
        for start in (0, 300):
            with database.transaction() as tx:
                tx.documents.add(-1, [new({"uid": f"u{start + n}", "time": n, "a": n}) for n in range(150)])
                others = range(start * 300, start * 300 + 45_000)
                tx.documents.add(-4, [NewDocument(f"o{n}", n, "{}") for n in others])
            assert database.documents.count(-1, Key("a") >= 100) == (50 if start == 0 else 100)
            upto = database._file.one("SELECT upto, (SELECT max(id) FROM documents) FROM document_fields")
            assert upto[0] == upto[1]
        with database.transaction() as tx:
            tx.documents.add(-4, [NewDocument(f"p{n}", n, "{}") for n in range(1000)])
            tx.documents.add(-1, [new({"uid": "last", "time": 1, "a": 1000})])
        assert database.documents.count(-1, Key("a") >= 1000) == 1
        # A thousand of other kinds are not worth a step.
        assert database._file.one("SELECT upto FROM document_fields") == (upto[0],)


OLD_LAYOUT = """
CREATE INDEX documents_parent ON documents (parent);
DROP TABLE log;
CREATE TABLE log (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  object TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '{}');
"""


def test_a_database_with_the_indexes_of_earlier_ones_works_as_well(tmp_path):
    with Database(tmp_path / "catalog.db"):
        pass
    connection = sqlite3.connect(tmp_path / "catalog.db")
    connection.executescript(OLD_LAYOUT)
    connection.close()
    draw = random.Random(3)
    documents = [document(draw, number) for number in range(300)]
    with Database(tmp_path / "catalog.db") as database:
        with database.transaction() as tx:
            tx.documents.add(-1, [new(each) for each in documents])
            tx.log.add("insert", "analysis_header")
        assert compare(database, documents, range(100)) > 10
        assert [line.id for line in database.log.tail()] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_random_filters_agree(seed):
    database, documents = filled(seed + 20, 700)
    assert compare(database, documents, range(seed * 10_000, seed * 10_000 + 1000)) > 200


def test_read_only_database_finds_the_same_without_index(tmp_path):
    with Database(tmp_path / "catalog.db") as database, database.transaction() as tx:
        tx.documents.add(-1, [new({"uid": f"u{n}", "time": n, "a": {"b": n}}) for n in range(500)])
    with Database(tmp_path / "catalog.db", read_only=True) as database:
        assert database.documents.count(-1, Key("a.b") >= 490) == 10


def test_documents_come_in_any_order_and_in_parts():
    database, documents = filled(4, 60)
    for sort in ([("a", 1)], [("a", -1), ("b", 1)], [("seq_num", -1)]):
        whole = database.documents.search(-1, And(), DocumentWindow(order_of(sort)), **COLUMNS)
        assert len(whole) == 60
        part = database.documents.search(-1, And(), DocumentWindow(order_of(sort), 7, 5), **COLUMNS)
        assert part == whole[5:12]
        has = [sort[0][0] in json.loads(body) for body in whole]
        assert has == sorted(has, reverse=True)
    assert database.documents.search(-1, window=DocumentWindow(limit=3, offset=2)) == [
        json.dumps(each) for each in newest_first(documents)[2:5]
    ]


def test_uid_is_unique_in_its_collection():
    database, _ = filled(5, 3)
    with database.transaction() as tx:
        with pytest.raises(AlreadyExistsError):
            tx.documents.add(-1, [NewDocument("u1", 1, "{}")])
        tx.documents.add(-3, [NewDocument("u1", 1, "{}")])
        assert tx.documents.known(-1, ["u1", "nope"]).keys() == {"u1"}
        assert tx.documents.last_number(-1, "p1") == 1
        assert tx.documents.last_number(-1, "nope") == 0


@pytest.mark.parametrize(
    "wanted",
    [
        {"$where": "1"}, {"a": {"$where": "1"}}, {"a": {"$near": 1}}, {"$text": {}}, {"$or": []},
        {"$and": {}}, {"a": {"$gt": None}}, {"a": {"$gt": [1]}}, {"a": {"$in": 5}}, {"": 1}, 5, [],
        {"a": {"$exists": "x"}}, {"a": {"$type": "date"}}, {"a": {"$regex": 5}}, {"$nor": [5]},
        {"a": {"$regex": "a", "$options": "q"}}, {"a": {"$options": "i"}}, {"a": {"$not": 5}},
        {"a": {"$all": 5}}, {"a": {"$size": -1}}, {"a": {"$elemMatch": 5}}, {"a": {"$gt": 1, "b": 2}},
        {"a": float("nan")}, {"a": {"$size": True}}, {"a": {"$not": {"$expr": 1}}},
    ],
    ids=str,
)  # fmt: skip
def test_unknown_operator_or_operand_is_refused_by_name(wanted):
    with pytest.raises(InvalidInputError) as caught:
        from_mongo(wanted)
    text = json.dumps(wanted)
    for operator in ("$where", "$near", "$text", "$options", "$expr"):
        if operator in text and "$regex" not in text:
            assert operator in str(caught.value)


def test_deep_filters_are_refused():
    wanted = {"a": 1}
    for _ in range(200):
        wanted = {"$and": [wanted]}
    with pytest.raises(InvalidInputError):
        from_mongo(wanted)
