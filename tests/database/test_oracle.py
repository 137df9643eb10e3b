"""The index against the reference matcher: random trees over random documents must agree, always."""

import json
import os
import random
from functools import cmp_to_key

import pytest

import random_trees as trees
from holdfast.database import ROOT, Database, paging, search
from holdfast.database.flatten import image
from holdfast.database.leaves import LeafMaker
from holdfast.queries import And, Field, Not, Subject, from_json, to_json

NODES = 400


def filled(seed: int, *, count: int = NODES) -> Database:
    draw = random.Random(seed)
    database = Database(":memory:")
    with database.transaction() as tx:
        boxes = [ROOT]
        for box in range(6):
            boxes += tx.nodes.add(draw.choice(boxes), [trees.node(draw, 1_000_000 + box, "container")])
        for number in range(count):
            tx.nodes.add(ROOT if draw.random() < 0.7 else draw.choice(boxes), [trees.node(draw, number)])
    return database


@pytest.fixture(scope="module")
def database():
    with filled(1) as database:
        yield database


class Truth:
    """All nodes of a database, searched by the reference matcher."""

    def __init__(self, database):
        with database._file.read() as connection:
            rows = connection.execute(
                "SELECT id, parent, key, family, specs, metadata FROM nodes ORDER BY id"
            ).fetchall()
        self.parents = {row[0]: row[1] for row in rows}
        self.nodes = {
            row[0]: (
                json.loads(row[5]),
                Subject(row[2], row[3], tuple(s["name"] for s in json.loads(row[4]))),
            )
            for row in rows
        }
        self.families = {row[0]: row[3] for row in rows}

    def hits(self, query, scope, *, deep):
        return [
            node
            for node, (metadata, subject) in self.nodes.items()
            if self.is_inside(node, scope, deep=deep) and query.matches(metadata, subject, search)
        ]

    def is_inside(self, node, scope, *, deep):
        parent = self.parents[node]
        if parent == scope:
            return True
        return deep and parent != 0 and self.is_inside(parent, scope, deep=True)


def ids(page):
    return [row.id for row in page.rows]


def compare(database, seeds):
    truth, interesting = Truth(database), 0
    boxes = [node for node, family in truth.families.items() if family == "container"]
    for seed in seeds:
        draw = random.Random(seed)
        query, deep = trees.tree(draw), draw.random() < 0.4
        scope = ROOT if draw.random() < 0.8 else draw.choice(boxes)
        expected = truth.hits(query, scope, deep=deep)
        page = database.nodes.search(scope, query, deep=deep, limit=10_000)
        assert ids(page) == expected, (seed, query, deep)
        assert page.count == database.nodes.count(scope, query, deep=deep) == len(expected), (seed, query)
        assert from_json(json.loads(json.dumps(to_json(query)))) == query
        interesting += 0 < len(expected) < len(truth.nodes) / 2
    return interesting


def test_random_trees_agree_with_the_reference_matcher(database):
    assert compare(database, range(300)) > 80


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_many_random_trees_agree_with_the_reference_matcher(seed):
    with filled(seed + 10, count=1500) as database:
        assert compare(database, range(seed * 1000, seed * 1000 + 500)) > 120


@pytest.mark.slow
def test_trees_of_a_new_seed_agree_with_the_reference_matcher():
    seed = int.from_bytes(os.urandom(4))
    with filled(seed) as database:
        compare(database, range(seed, seed + 300))


# -- order -------------------------------------------------------------------------------------------------


def ordered(truth, nodes, sort):
    """Sort by the documented rule, written down independently of the code."""
    last = sort[-1][1]

    def key(node, path):
        return next((image(value) for value in Field(path).reach(truth.nodes[node][0])), None)

    def compare(left, right):
        for path, direction in sort:
            a, b = key(left, path), key(right, path)
            if a is None or b is None:
                if a is not b:
                    return 1 if a is None else -1
            elif a != b:
                return direction if a > b else -direction
        return last if left > right else -last

    return sorted(nodes, key=cmp_to_key(compare))


def pages(database, query, sort, limit, *, deep):
    found, cursor = [], None
    while True:
        page = database.nodes.search(ROOT, query, deep=deep, sort=sort, cursor=cursor, limit=limit)
        found += ids(page)
        if page.cursor is None:
            return found
        assert len(page.rows) == limit
        cursor = page.cursor


@pytest.mark.parametrize(
    "seed", [*range(16), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(16, 80))]
)
def test_sorted_pages_by_cursor_and_offset_are_complete_and_in_order(database, monkeypatch, seed):
    if seed >= 40:
        # Few hits count as many here, so that the index is walked as it is for large catalogs.
        monkeypatch.setattr(paging, "_MANY", 5)
    draw, truth = random.Random(seed), Truth(database)
    deep, query = draw.random() < 0.3, And() if seed % 3 == 0 else trees.tree(draw)
    sort = [
        (trees.field(draw, walk=False).path, draw.choice([1, -1])) for _ in range(draw.choice([1, 1, 2, 3]))
    ]
    expected = ordered(truth, truth.hits(query, ROOT, deep=deep), sort)
    limit = draw.choice([1, 7, 100, 1000])
    if limit == 1:
        expected_pages = pages(database, query, sort, 3, deep=deep)
        limit = 3
    else:
        expected_pages = pages(database, query, sort, limit, deep=deep)
    assert expected_pages == expected
    for offset in (0, 1, len(expected) // 2, len(expected), len(expected) + 5):
        page = database.nodes.search(ROOT, query, deep=deep, sort=sort, offset=offset, limit=limit)
        assert ids(page) == expected[offset : offset + limit]


@pytest.mark.parametrize("direction", [1, -1])
def test_pages_in_order_of_creation_are_complete(database, direction):
    truth = Truth(database)
    expected = sorted(truth.hits(And(), ROOT, deep=False), reverse=direction < 0)
    assert pages(database, And(), [("", direction)], 17, deep=False) == expected


def test_cursor_stays_right_when_nodes_are_added_and_removed():
    with filled(3, count=60) as database:
        sort = [("a", 1)]
        first = database.nodes.search(ROOT, sort=sort, limit=20)
        everything = ids(database.nodes.search(ROOT, sort=sort, limit=1000))
        with database.transaction() as tx:
            tx.nodes.remove(first.rows[-1].id, recursive=True)
            tx.nodes.remove(first.rows[3].id, recursive=True)
            tx.nodes.add(ROOT, [trees.NewNode("first", "array", {"a": None})])
        rest = ids(database.nodes.search(ROOT, sort=sort, limit=1000, cursor=first.cursor))
        assert rest == everything[20:]


def test_facets_agree_with_the_documents(database):
    truth = Truth(database)
    for seed in range(40):
        draw = random.Random(seed)
        query, key, deep = trees.tree(draw), trees.field(draw, walk=False).path, draw.random() < 0.3
        expected = {}
        for node in truth.hits(query, ROOT, deep=deep):
            for value in Field(key).reach(truth.nodes[node][0]):
                expected[image(value)] = expected.get(image(value), 0) + 1
        found = database.nodes.distinct(ROOT, query, keys=[list(key)], counts=True, deep=deep)
        (values,) = found["metadata"].values()
        assert {image(each["value"]): each["count"] for each in values} == expected
        assert [image(each["value"]) for each in values] == sorted(expected)


# -- upkeep ------------------------------------------------------------------------------------------------


def dump(database):
    with database._file.read() as connection:
        rows = connection.execute(
            "SELECT v.parent, p.path, v.kind, v.value, v.node "
            "FROM node_values v JOIN paths p ON p.id = v.path"
        ).fetchall()
        words = connection.execute("SELECT count(*) FROM node_text WHERE node_text MATCH 'red'").fetchone()
        used = connection.execute(
            "SELECT p.path, p.flags FROM paths p WHERE p.id IN (SELECT path FROM node_values)"
        ).fetchall()
        connection.execute("SELECT 1")
    return sorted(map(repr, rows)), words, sorted(path for path, _ in used)


def test_index_after_random_changes_is_the_one_of_a_rebuild():
    draw = random.Random(5)
    with filled(5, count=100) as database:
        for step in range(120):
            truth = Truth(database)
            alive = [node for node in truth.nodes if node != ROOT]
            with database.transaction() as tx:
                kind, node = (
                    draw.choice(["update", "update", "add", "remove", "move", "sync"]),
                    draw.choice(alive),
                )
                if kind == "update":
                    tx.nodes.update(node, metadata=trees.metadata(draw), specs=draw.sample(trees.SPECS, 1))
                elif kind == "add":
                    tx.nodes.add(node, [trees.node(draw, 10_000 + step)])
                elif kind == "remove":
                    tx.nodes.remove(node, recursive=True)
                elif kind == "move":
                    tx.nodes.move(node, ROOT, f"moved{step}")
                else:
                    tx.nodes.sync(ROOT, [trees.node(draw, draw.randint(0, 99))])
        assert compare(database, range(60)) >= 0
        before = dump(database)
        counts = [(row.id, row.children) for row in database.nodes.search(ROOT, deep=True, limit=10_000).rows]
        assert all(children == database.nodes.count(node, Not(Not(And()))) for node, children in counts)
        with database.transaction() as tx:
            tx.rebuild_index()
        assert dump(database) == before
        assert compare(database, range(60)) >= 0


# -- the test of the test ----------------------------------------------------------------------------------

FAULTS = {
    "True is 1": lambda leaf: _edited(leaf, "kind = 1", "kind IN (1, 2)"),
    "greater or equal": lambda leaf: _edited(leaf, "value > ?", "value >= ?"),
    "numbers are compared with texts": lambda leaf: _edited(leaf, "kind = 2 AND value >", "value >"),
}


def _edited(leaf, old, new):
    rows = tuple(type(row)(row.text.replace(old, new), row.values) for row in leaf.rows)
    return type(leaf)(rows, leaf.is_unique, leaf.is_probe, leaf.nodes, leaf.words)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_is_found(database, monkeypatch, fault):
    original = LeafMaker.leaf
    monkeypatch.setattr(LeafMaker, "leaf", lambda maker, query: FAULTS[fault](original(maker, query)))
    with pytest.raises(AssertionError):
        compare(database, range(600))


def test_a_planted_fault_in_not_is_found(database, monkeypatch):
    from holdfast.database.compiler import Compiler

    original = Compiler.condition

    def faulty(self, query, *, up, probe=False, row=None):
        return original(self, query, up=True, probe=probe, row=row)

    monkeypatch.setattr(Compiler, "condition", faulty)
    with pytest.raises(AssertionError):
        compare(database, range(600))
