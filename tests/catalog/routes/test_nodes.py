"""Answers about nodes, in Tiled's form."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from holdfast.catalog.routes import answers
from holdfast.errors import InvalidInputError, NotFoundError

ATTRIBUTES = {
    "ancestors",
    "structure_family",
    "specs",
    "metadata",
    "structure",
    "access_tags",
    "access_blob",
    "sorting",
    "data_sources",
}


EITHER = """{"op": "or", "queries": [
    {"op": "eq", "key": ["n"], "value": 5}, {"op": "eq", "key": ["n"], "value": 50}]}"""


def keys(answer):
    return [item["id"] for item in answer["data"]]


def where(name, **fields):
    return [(f"filter[{name}][condition][{field}]", value) for field, value in fields.items()]


def test_the_root_says_what_tileds_client_asks_for(connection):
    about = connection.get_json("/")
    assert {
        "api_version",
        "library_version",
        "formats",
        "aliases",
        "queries",
        "authentication",
        "links",
        "meta",
    } == set(about)
    assert about["library_version"] == "0.2.20"
    assert about["authentication"] == {"required": False, "providers": [], "links": None}
    assert about["links"]["self"] == connection.address
    assert "eq" in about["queries"]
    assert "text/csv" in about["formats"]["array"]
    assert len(about["meta"]["holdfast"]["uid"]) == 32


def test_a_container_has_every_key(connection):
    item = connection.get_json("/metadata/box")["data"]
    assert item["id"] == "box"
    assert set(item["attributes"]) == ATTRIBUTES
    assert item["attributes"]["structure"] == {"contents": None, "count": 6}
    assert item["attributes"]["sorting"] == [{"key": "", "direction": 1}]
    root = connection.address
    assert item["links"] == {
        "self": f"{root}/metadata/box",
        "search": f"{root}/search/box",
        "search_deep": f"{root}/search-deep/box",
        "full": f"{root}/container/full/box",
    }


def test_an_array_has_its_structure_and_links(connection):
    item = connection.get_json("/metadata/box/a.h5/f8")["data"]
    attributes = item["attributes"]
    assert attributes["ancestors"] == ["box", "a.h5"]
    assert attributes["metadata"]["color"] == "red"
    structure = attributes["structure"]
    assert (structure["shape"], structure["dims"], structure["resizable"]) == ([4, 6], None, False)
    assert structure["data_type"] == {"endianness": "little", "kind": "f", "itemsize": 8, "dt_units": None}
    assert item["links"]["block"] == f"{connection.address}/array/block/box/a.h5/f8?block={{0}},{{1}}"
    scalar = connection.get_json("/metadata/box/a.h5/scalar")["data"]
    assert scalar["links"]["block"].endswith("?block=")


def test_a_table_and_its_column(connection):
    item = connection.get_json("/metadata/box/t.csv")["data"]
    assert item["attributes"]["structure"]["columns"] == ["A", "B", "name"]
    assert item["links"]["partition"].endswith("/table/partition/box/t.csv?partition={index}")
    column = connection.get_json("/metadata/box/t.csv/B")["data"]
    assert column["attributes"]["structure"]["shape"] == [3]
    assert column["attributes"]["ancestors"] == ["box", "t.csv"]


def test_keys_are_quoted_in_links_and_found_by_them(connection):
    item = connection.get_json("/metadata/box/é ü.txt")["data"]
    assert item["links"]["self"].endswith("/metadata/box/%C3%A9%20%C3%BC.txt")
    assert connection.get_json(item["links"]["self"])["data"]["id"] == "é ü.txt"


def test_doubled_slashes_mean_nothing(connection):
    assert connection.get_json("//metadata//box//a.h5") == connection.get_json("/metadata/box/a.h5")


def test_data_sources_come_when_asked_for(connection):
    plain = connection.get_json("/metadata/box/small.npy")["data"]["attributes"]
    assert plain["data_sources"] is None
    (source,) = connection.get_json("/metadata/box/small.npy", {"include_data_sources": True})["data"][
        "attributes"
    ]["data_sources"]
    (asset,) = source["assets"]
    assert source["mimetype"] == "application/x-npy"
    assert source["management"] == "external"
    assert asset["data_uri"] == "file://localhost/box/small.npy"
    assert asset["location"] == "box/small.npy"
    assert asset["digest"].startswith("blake3:")
    assert (asset["is_directory"], asset["size"], asset["state"], asset["link"]) == (False, 928, "ok", None)


def test_fields_say_what_an_entry_holds(connection):
    attributes = connection.get_json("/metadata/box/a.h5/f8", {"fields": ["specs", "structure_family"]})[
        "data"
    ]["attributes"]
    assert attributes["metadata"] is None
    assert attributes["structure"] is None
    assert attributes["structure_family"] == "array"
    assert attributes["specs"] == []
    links = connection.get_json("/metadata/box", {"omit_links": True})["data"]["links"]
    assert links is None


@pytest.mark.parametrize(
    ("expression", "selected"),
    [("color", "red"), ("false", None), ("{c: color}", {"c": "red"}), ("missing.deep", None)],
)
def test_metadata_is_selected_by_jmespath(connection, expression, selected):
    answer = connection.get_json("/metadata/box/a.h5/f8", {"select_metadata": expression})
    assert answer["data"]["attributes"]["metadata"] == {"selected": selected}


@pytest.mark.parametrize("expression", ["a[", "length(n)", "sum(color)", "[" * 5000, "x" * 5000])
def test_a_malformed_selection_is_a_400(connection, expression):
    with pytest.raises(InvalidInputError, match="select_metadata"):
        connection.get_json("/search/box/a.h5", {"select_metadata": expression})


def test_children_come_page_by_page_and_each_once(connection):
    answer = connection.get_json("/search/keys", {"fields": "", "page[limit]": 100})
    found, pages = keys(answer), 1
    while answer["links"]["next"]:
        answer = connection.get_json(answer["links"]["next"])
        assert answer["meta"]["count"] == 320
        found += keys(answer)
        pages += 1
    assert sorted(found) == [f"k{number:03}.json" for number in range(320)]
    assert pages == 4


def test_without_a_limit_keys_come_300_at_a_time_and_items_100(connection):
    assert len(keys(connection.get_json("/search/keys", {"fields": ""}))) == 300
    assert len(keys(connection.get_json("/search/keys"))) == 100


def test_a_large_limit_is_served_in_parts(connection):
    answer = connection.get_json("/search/keys", {"page[limit]": 1000})
    assert len(answer["data"]) == 300
    assert len(connection.get_json(answer["links"]["next"])["data"]) == 20


def test_the_last_page_and_what_is_beyond(connection):
    answer = connection.get_json("/search/keys", {"page[offset]": 315, "fields": ""})
    assert len(keys(answer)) == 5
    assert answer["links"]["next"] is None
    assert connection.get_json("/search/keys", {"page[offset]": 9999})["data"] == []


def test_counts_come_alone(connection):
    answer = connection.get_json(
        "/search/keys", [("fields", "count"), *where("eq", key="color", value='"red"')]
    )
    assert (answer["data"], answer["meta"]) == ([], {"count": 32})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (where("fulltext", text="hello"), ["m.json"]),
        (where("lookup", key="n.json"), ["n.json"]),
        (where("keys_filter", keys='["n.json", "x"]'), ["n.json"]),
        (where("regex", key="color", pattern="^r", case_sensitive="true"), ["m.json"]),
        (where("regex", key="color", pattern="^R", case_sensitive="false"), ["m.json"]),
        (where("regex", key="color", pattern="^R", case_sensitive="true"), []),
        (where("eq", key="n", value="5"), ["n.json"]),
        (where("eq", key="n", value='"5"'), []),
        (where("noteq", key="color", value='"red"'), ["n.json"]),
        (where("comparison", operator="gt", key="n", value="6"), ["m.json"]),
        (where("contains", key="tags", value='"u"'), ["n.json"]),
        (where("in", key="color", value='["red", "green"]'), ["m.json"]),
        (where("notin", key="color", value='["red"]'), ["n.json"]),
        (where("keypresent", key="nested.t", exists="true"), ["n.json"]),
        (where("keypresent", key="nested.t", exists="false"), ["m.json"]),
        (where("like", key="color", pattern='"re%"'), ["m.json"]),
        (where("specs", include='["x"]', exclude="[]"), []),
        (where("structure_family", value="array"), []),
        (where("eq", key="color", value='"red"') + where("eq", key="n", value="50"), ["m.json"]),
        (
            where("eq", key="color", value='"red"') + where("comparison", operator="lt", key="n", value="6"),
            [],
        ),
        (where("tree", query=EITHER), ["m.json", "n.json"]),
    ],
)
def test_every_filter_is_understood(connection, filters, expected):
    assert sorted(keys(connection.get_json("/search/box/sub", [("fields", ""), *filters]))) == expected


def test_filters_and_order_go_on_in_the_next_page(connection):
    asked = [("fields", ""), ("page[limit]", 20), ("sort", "-n"), *where("eq", key="color", value='"red"')]
    first = connection.get_json("/search/keys", asked)
    second = connection.get_json(first["links"]["next"])
    assert keys(first) + keys(second) == [f"k{number:03}.json" for number in range(310, -1, -10)]
    assert second["links"]["next"] is None
    assert first["meta"] == second["meta"] == {"count": 32}


def test_a_lone_minus_reverses_the_listing(connection):
    assert keys(connection.get_json("/search/keys", {"sort": "-", "page[limit]": 2, "fields": ""})) == [
        "k319.json", "k318.json"
    ]  # fmt: skip


def test_the_subtree_is_searched_deep(connection):
    answer = connection.get_json("/search-deep/", where("eq", key="n", value="5"))
    found = {tuple(item["attributes"]["ancestors"] + [item["id"]]) for item in answer["data"]}
    assert found == {("box", "sub", "n.json"), ("keys", "k005.json")}
    assert answer["meta"]["count"] == 2


def test_distinct_values_with_counts(connection):
    answer = connection.get_json(
        "/distinct/keys", {"metadata": ["color"], "counts": True, "structure_families": True}
    )
    assert sorted(answer["metadata"]["color"], key=lambda each: each["value"]) == [
        {"value": "blue", "count": 288},
        {"value": "red", "count": 32},
    ]
    assert answer["structure_families"] == [{"value": "bytes", "count": 320}]
    assert answer["specs"] is None


def test_a_missing_node_is_named(connection):
    with pytest.raises(NotFoundError, match="nope"):
        connection.get_json("/metadata/box/nope")


@pytest.mark.parametrize(
    "path", ["/search/box/small.npy", "/search-deep/box/small.npy", "/container/full/box/small.npy"]
)
def test_what_is_no_container_has_no_children(connection, path):
    with pytest.raises(InvalidInputError, match="family 'array'"):
        connection.get_json(path)


def test_an_answer_follows_the_database(tmp_path):
    from conftest_catalog import open_site
    from holdfast.database import ROOT, NewNode

    with open_site(tmp_path) as (catalog, connection):
        assert connection.get_json("/search/", {"fields": "count"})["meta"]["count"] == 0
        with catalog.database.transaction() as change:
            change.nodes.add(ROOT, [NewNode("a", "container")])
        assert connection.get_json("/search/", {"fields": "count"})["meta"]["count"] == 1


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", answers.About),
        ("/metadata/", answers.Node),
        ("/metadata/box/a.h5/f8?include_data_sources=true", answers.Node),
        ("/metadata/box/t.csv/B", answers.Node),
        ("/search/box?include_data_sources=true", answers.NodePage),
        ("/search/keys?fields=", answers.NodePage),
        ("/search/keys?fields=count", answers.NodePage),
        ("/search/keys?select_metadata=n&omit_links=true", answers.NodePage),
        ("/search-deep/?page[limit]=5", answers.NodePage),
        ("/distinct/keys?metadata=color&counts=true&specs=true&structure_families=true", answers.Distinct),
        ("/distinct/keys?metadata=color", answers.Distinct),
    ],
)
def test_answers_are_what_the_description_says(local, path, kind):
    with local._transport.open("GET", "/api/v1" + path, []) as answer:
        msgspec.json.decode(answer.read(), type=kind)


def test_an_answer_follows_a_record_that_grows(tmp_path):
    from conftest_catalog import open_site
    from holdfast import Record
    from holdfast.catalog import index

    record = Record(tmp_path)
    record["run"] = np.zeros((3, 3))
    index(tmp_path)
    with open_site(tmp_path) as (_, connection):

        def shape():
            return connection.get_json("/metadata/run.h5/data")["data"]["attributes"]["structure"]["shape"]

        assert shape() == shape() == [3, 3]
        for rows in (4, 5):
            record.append("run", np.ones(3))
            assert shape() == shape() == [rows, 3]
