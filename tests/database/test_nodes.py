import json
import pickle
import time

import pytest

from holdfast.database import ROOT, Database, NewAsset, NewLink, NewNode, NewSource, backup
from holdfast.database.sorting import order_of, write_cursor
from holdfast.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ReadOnlyError,
    TimeLimitError,
)
from holdfast.hashing import hash_bytes
from holdfast.queries import FullText, In, Key, Like, NotIn, Regex

DIGEST = str(hash_bytes(b"x"))


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "catalog.db") as database:
        yield database


def add(database, *nodes, parent=ROOT):
    with database.transaction() as tx:
        return tx.nodes.add(parent, nodes)


def table(key, metadata=None, **asset):
    asset = NewAsset(f"data/{key}", **{"size": 3, "mtime_ns": 5, **asset})
    source = NewSource("table", "text/csv", {"columns": ["a"]}, {"header": True}, assets=[asset])
    return NewNode(key, "table", metadata or {}, structure={"columns": ["a"]}, sources=[source])


def test_tree_of_nodes_is_added_and_found_by_path(database):
    leaf = NewNode(
        "b.h5", "container", {"n": 1}, children=[NewNode("entry", "array", structure={"shape": [3]})]
    )
    (box,) = add(database, NewNode("box", "container", children=[leaf, table("t.csv")]))
    node = database.nodes.lookup(("box", "b.h5", "entry"))
    assert (node.family, node.structure, node.metadata) == ("array", '{"shape":[3]}', "{}")
    assert database.nodes.path(node.id) == ("box", "b.h5", "entry")
    assert database.nodes.get(box).children == 2
    with pytest.raises(NotFoundError, match=r"no 'nope' in 'box/b\.h5'"):
        database.nodes.lookup(("box", "b.h5", "nope"))


def test_metadata_goes_out_as_it_came_in(database):
    metadata = {"z": 1.0, "a": [1e20, True, None, "é\n\"'"], "big": 10**300, "": {"a.b": {}}}
    add(database, NewNode("a", "bytes", metadata))
    text = database.nodes.lookup(("a",)).metadata
    assert json.loads(text) == metadata
    assert list(json.loads(text)) == list(metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": "\ud800"},
        {"a\x00": 1},
        {"a": b"x"},
        {1: 2},
        {"a": 10**5000},
    ],
    ids=["nan", "inf", "surrogate", "nul", "bytes", "number as key", "huge"],
)
def test_metadata_that_cannot_be_kept_is_refused_with_its_key(database, metadata):
    with pytest.raises(InvalidInputError, match="metadata of 'bad'"):
        add(database, NewNode("good", "bytes"), NewNode("bad", "bytes", metadata))
    assert database.nodes.count(ROOT) == 0


def test_taken_key_is_refused_by_name(database):
    add(database, NewNode("a", "bytes"))
    with pytest.raises(AlreadyExistsError, match="'a'"):
        add(database, NewNode("b", "bytes"), NewNode("a", "bytes"))
    with pytest.raises(AlreadyExistsError, match="'c'"):
        add(database, NewNode("c", "bytes"), NewNode("c", "bytes"))
    with pytest.raises(NotFoundError):
        add(database, NewNode("d", "bytes"), parent=77)
    assert database.nodes.count(ROOT) == 1


def test_update_keeps_what_was_as_a_revision(database):
    (node,) = add(database, NewNode("a", "bytes", {"n": 1}, ["s"]))
    with database.transaction() as tx:
        tx.nodes.update(node, metadata={"n": 2})
        tx.nodes.update(node, metadata={"n": 2})
        tx.nodes.update(node, specs=["t"], revision=False)
    (revision,) = database.nodes.revisions(node)
    assert (revision.number, revision.metadata) == (1, '{"n":1}')
    assert database.nodes.count(ROOT, Key("n") == 2) == 1
    assert database.nodes.count(ROOT, Key("n") == 1) == 0


def test_remove_asks_before_taking_a_subtree(database):
    (box,) = add(database, NewNode("box", "container", children=[NewNode("a", "bytes", {"t": "word"})]))
    with database.transaction() as tx, pytest.raises(ConflictError, match="1 nodes"):
        tx.nodes.remove(box)
    with database.transaction() as tx:
        assert tx.nodes.remove(box, recursive=True) == 2
    assert database.nodes.count(ROOT, FullText("word"), deep=True) == 0
    assert database.nodes.get(ROOT).children == 0


def test_node_cannot_be_moved_below_itself(database):
    (box,) = add(database, NewNode("box", "container", children=[NewNode("in", "container")]))
    inside = database.nodes.lookup(("box", "in")).id
    with database.transaction() as tx, pytest.raises(ConflictError):
        tx.nodes.move(box, inside, "box")
    with database.transaction() as tx:
        tx.nodes.move(inside, ROOT, "out")
    assert database.nodes.path(inside) == ("out",)


# -- indexing again ----------------------------------------------------------------------------------------


def sync(database, *nodes):
    with database.transaction() as tx:
        return [outcome.what for outcome in tx.nodes.sync(ROOT, nodes)]


def test_sync_keeps_what_was_added_and_takes_what_the_file_changed(database):
    assert sync(database, table("a", {"n": 1, "m": 1, "deep": {"x": 1}})) == ["added"]
    assert sync(database, table("a", {"n": 1, "m": 1, "deep": {"x": 1}})) == ["same"]
    node = database.nodes.lookup(("a",)).id
    with database.transaction() as tx:
        tx.nodes.update(node, metadata={"n": 1, "m": 5, "note": "mine", "deep": {"x": 1, "y": 2}})
    assert sync(database, table("a", {"n": 2, "m": 1, "new": 3, "deep": {"x": 9}})) == ["updated"]
    merged = json.loads(database.nodes.get(node).metadata)
    assert merged == {"n": 2, "m": 5, "new": 3, "note": "mine", "deep": {"x": 9, "y": 2}}
    assert sync(database, table("a", {"n": 2, "m": 1, "new": 3, "deep": {"x": 9}})) == ["same"]
    assert sync(database, table("a", {"m": 1})) == ["updated"]
    assert json.loads(database.nodes.get(node).metadata) == {"m": 5, "note": "mine", "deep": {"y": 2}}


def test_sync_removes_children_that_vanished_inside_a_file(database):
    tree = NewNode("f.h5", "container", children=[NewNode("a", "array"), NewNode("b", "array")])
    sync(database, tree)
    assert sync(
        database, NewNode("f.h5", "container", children=[NewNode("b", "array"), NewNode("c", "array")])
    ) == ["updated"]
    box = database.nodes.lookup(("f.h5",))
    assert [row.key for row in database.nodes.search(box.id).rows] == ["b", "c"]


def test_known_digest_is_kept_until_size_or_time_differ(database):
    sync(database, table("a"))
    asset = database.assets.by_location("data/a")
    with database.transaction() as tx:
        tx.assets.settle(
            asset.id, size=3, mtime_ns=5, digest=DIGEST, digests={"sha256": "0" * 64}, blocks=b"x" * 32
        )
    sync(database, table("a"))
    assert database.assets.get(asset.id).digest == DIGEST
    assert database.assets.blocks(asset.id) == b"x" * 32
    sync(database, table("a", mtime_ns=6))
    again = database.assets.get(asset.id)
    assert (again.digest, again.state, again.mtime_ns) == (None, "pending", 6)
    assert [row.id for row in database.assets.pending()] == [asset.id]


def test_missing_file_comes_back_when_it_is_there_again(database):
    sync(database, table("a", state="verified", digest=DIGEST))
    asset = database.assets.by_location("data/a")
    with database.transaction() as tx:
        tx.assets.mark([asset.id], "missing")
    assert database.assets.counts() == {"missing": 1}
    sync(database, table("a"))
    assert database.assets.get(asset.id).state == "pending"
    with database.transaction() as tx, pytest.raises(InvalidInputError):
        tx.assets.mark([asset.id], "lost")


# -- assets ------------------------------------------------------------------------------------------------


def test_file_of_many_nodes_is_one_asset(database):
    shared = NewAsset("data/shared.h5", digest=DIGEST, state="verified")
    nodes = [
        NewNode(key, "array", sources=[NewSource("array", "application/x-hdf5", assets=[shared])])
        for key in "ab"
    ]
    ids = add(database, *nodes)
    asset = database.assets.by_location("data/shared.h5")
    assert database.assets.nodes(asset.id) == ids
    assert [each.id for each in database.assets.of_node(ids[1])] == [asset.id]
    with database.transaction() as tx:
        tx.nodes.remove(ids[0])
        assert tx.assets.remove_unused() == 0
        tx.nodes.remove(ids[1])
        assert tx.assets.remove_unused() == 1


def test_sources_come_with_assets_in_order(database):
    assets = [NewAsset(f"data/{n}.tif", parameter="data_uris", num=n) for n in (2, 0, 1)]
    (node,) = add(
        database,
        NewNode(
            "seq", "array", sources=[NewSource("array", "multipart/tiff", {"shape": [3]}, assets=assets)]
        ),
    )
    (source,) = database.nodes.sources([node])[node]
    assert [(each.location, each.num) for each in source.assets] == [(f"data/{n}.tif", n) for n in range(3)]
    assert (source.structure, source.mimetype, source.management) == (
        '{"shape":[3]}',
        "multipart/tiff",
        "external",
    )


def test_assets_are_listed_below_a_location(database):
    locations = ["a", "a/b", "a/b/c", "a.b", "a0", "b"]
    with database.transaction() as tx:
        tx.assets.record([NewAsset(location) for location in locations])
    assert [each.location for each in database.assets.each(under="a")] == ["a", "a/b", "a/b/c"]
    assert [each.location for each in database.assets.each()] == sorted(locations)
    assert set(database.assets.facts()) == set(locations)


def test_root_gets_a_data_source_of_its_own(database):
    source = NewSource("container", "inode/directory", assets=[NewAsset(".", is_directory=True)])
    with database.transaction() as tx:
        assert tx.nodes.set_sources(ROOT, [source])
        assert not tx.nodes.set_sources(ROOT, [source])
        tx.nodes.update(ROOT, metadata={"title": "runs"})
    assert [each.location for each in database.assets.of_node(ROOT)] == ["."]
    assert database.nodes.get(ROOT).metadata == '{"title":"runs"}'


# -- search ------------------------------------------------------------------------------------------------


def test_search_refuses_what_it_cannot_do(database):
    add(database, *(NewNode(f"n{n}", "bytes", {"s": "a" * 40 + "b"}) for n in range(3)))
    for arguments in (
        {"limit": -1},
        {"limit": 10**9},
        {"offset": -1},
        {"offset": 2**70},
        {"cursor": "x"},
        {"sort": [("a", 2)]},
    ):
        with pytest.raises(InvalidInputError):
            database.nodes.search(ROOT, **arguments)
    cursor = database.nodes.search(ROOT, limit=1).cursor
    with pytest.raises(InvalidInputError):
        database.nodes.search(ROOT, limit=1, cursor=cursor, sort=[("s", 1)])
    with pytest.raises(InvalidInputError, match="malformed"):
        database.nodes.count(ROOT, Regex("s", "("))


def test_hostile_pattern_runs_out_of_time(database):
    add(database, NewNode("n", "bytes", {"s": "a" * 60}))
    started = time.monotonic()
    with pytest.raises(TimeLimitError):
        database.nodes.count(ROOT, Regex("s", "(a|a)*b|(a*)*c$"))
    assert time.monotonic() - started < 60
    assert database.nodes.count(ROOT, Like("s", "%a" * 50 + "%b")) == 0


def test_full_text_takes_any_text(database):
    add(database, NewNode("n", "bytes", {"s": 'half-cell "AND" NOT * a:b ^ NEAR(x)'}))
    for text in ('"', "half-cell", "AND", "a:b", "NEAR(x)", "* ^", "{}", "-", "OR", "' OR 1=1 --"):
        query = FullText(text)
        assert database.nodes.count(ROOT, query) == query.matches(
            {"s": 'half-cell "AND" NOT * a:b ^ NEAR(x)'}
        )


def test_count_and_page_agree_while_others_write(database):
    add(database, *(NewNode(f"n{n}", "bytes", {"k": 1}) for n in range(10)))
    page = database.nodes.search(ROOT, Key("k") == 1, limit=3)
    assert (page.count, len(page.rows)) == (10, 3)
    assert page.rows[0].metadata == '{"k":1}'
    keys = database.nodes.search(ROOT, Key("k") == 1, keys_only=True, count=False)
    assert (keys.count, keys.rows[0].metadata) == (-1, "")


# -- the database as a whole -------------------------------------------------------------------------------


def test_uid_is_random_and_kept(tmp_path):
    with Database(tmp_path / "a.db") as one, Database(tmp_path / "b.db") as other:
        assert one.uid != other.uid
        with Database(one.path, read_only=True) as again:
            assert again.uid == one.uid
        with Database(tmp_path / "c.db", uid=one.uid) as copy:
            assert copy.uid == one.uid


def test_database_pickles_and_is_backed_up_alive(database, tmp_path):
    add(database, NewNode("a", "bytes"))
    with pickle.loads(pickle.dumps(database)) as again:
        assert again.nodes.count(ROOT) == 1
    with Database(backup(database.path, tmp_path / "copy.db"), read_only=True) as copy:
        assert (copy.uid, copy.nodes.count(ROOT)) == (database.uid, 1)
        with pytest.raises(ReadOnlyError):
            add(copy, NewNode("b", "bytes"))


def test_paths_of_an_undone_transaction_are_forgotten(database):
    def fail():
        with database.transaction() as tx:
            tx.nodes.add(ROOT, [NewNode("a", "bytes", {"first": 1})])
            tx.nodes.add(77, [NewNode("b", "bytes")])

    with pytest.raises(NotFoundError):
        fail()
    add(database, NewNode("c", "bytes", {"second": 1}))
    add(database, NewNode("d", "bytes", {"first": 1}))
    assert database.nodes.count(ROOT, Key("second") == 1) == 1
    assert database.nodes.count(ROOT, Key("first") == 1) == 1


def test_keys_are_kept_by_their_hash_and_end(database):
    with database.transaction() as tx:
        number = tx.keys.add("a" * 64, "read", "for tests")
        tx.keys.add("b" * 64, "write", expires=time.time() - 1)
    assert database.keys.check("a" * 64).scope == "read"
    assert database.keys.check("b" * 64) is None
    assert database.keys.check("c" * 64) is None
    assert [key.note for key in database.keys.list()] == ["for tests", ""]
    with database.transaction() as tx:
        tx.keys.revoke(number)
    assert database.keys.check("a" * 64) is None
    with database.transaction() as tx:
        for arguments in (("A" * 64, "read"), ("a", "read"), ("d" * 64, "admin")):
            with pytest.raises(InvalidInputError):
                tx.keys.add(*arguments)
        with pytest.raises(NotFoundError):
            tx.keys.revoke(number)


def test_links_are_found_from_both_ends(database):
    with database.transaction() as tx:
        tx.links.add([NewLink("a", "used", "b", DIGEST, [0, 5]), NewLink("a", "generated", "c")])
    assert [(link.target, link.rows) for link in database.links.of("a")] == [("b", "[0,5]"), ("c", None)]
    assert [link.source for link in database.links.to("b")] == ["a"]


def test_log_cannot_be_changed(database):
    with database.transaction() as tx:
        tx.log.add("insert", "x", "me", {"n": 1})
    assert [line.action for line in database.log.tail()] == ["insert"]
    for statement in ("DELETE FROM log", "UPDATE log SET action = 'y'"):
        with pytest.raises(ConflictError, match="append-only"):
            database._file.write(lambda connection, text=statement: connection.execute(text))


def test_free_facts_are_kept(database):
    with database.transaction() as tx:
        tx.note("origin", "holdfast")
    assert database.fact("origin") == "holdfast"
    assert database.fact("other") is None


def test_counts_are_remembered_only_while_nothing_is_committed(database):
    add(database, *(NewNode(f"n{n}", "bytes", {"k": 1}) for n in range(5)))
    with Database(database.path) as other:
        for size in (5, 6, 7):
            assert [database.nodes.search(ROOT, Key("k") == 1, limit=1).count for _ in range(3)] == [size] * 3
            add(other, NewNode(f"more{size}", "bytes", {"k": 1}))


def test_strange_ids_are_not_found(database):
    for number in (2**70, -(2**70), 77):
        for call in (database.nodes.get, database.assets.get):
            with pytest.raises(NotFoundError):
                call(number)


PLACES = [
    5, [], [None], [2**70], ["x"], [True], [[2, "x"], 1], [[3, 5], 1], [[9, 1], 1], [[2, [1]], 1],
    [[2, 2**70], 1], [[1], 1], [[[2], 1], 1], [{}, 1], [[2, None], 1],
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_forged_cursor_is_refused(database, place):
    add(database, *(NewNode(f"n{n}", "bytes", {"a": n}) for n in range(3)))
    order = order_of([("a", 1)])
    with pytest.raises(InvalidInputError):
        database.nodes.search(ROOT, sort=[("a", 1)], cursor=write_cursor(order, place))


@pytest.mark.slow
def test_ten_thousands_of_values_are_looked_for(database):
    add(database, *(NewNode(f"n{n}", "bytes", {"a": n + 0.5, "b": [n]}) for n in range(3)))
    for values in ([n + 0.5 for n in range(1, 40_000)], [[n] for n in range(1, 40_000)]):
        key = "a" if isinstance(values[0], float) else "b"
        assert database.nodes.count(ROOT, In(key, values)) == 2
        assert database.nodes.count(ROOT, NotIn(key, values)) == 1
