"""The YAML manifest says to any YAML 1.1 reader what the original's dump would say."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.archive.entries import Entry, Place
from holdfast.archive.yamlform import is_untouched, parsed, written
from holdfast.errors import InvalidInputError, UnreadableError
from holdfast.hashing import Digest

ODD = [
    "1.0",
    "true",
    "null",
    "~",
    "1e3",
    "0x1f",
    "012",
    "1:30",
    "2026-01-01",
    "<<",
    "=",
    "- a",
    "a: b",
    "#x",
    "'",
    '"',
]
ODD += [
    "ä",
    "日本",
    "😀",
    "a" * 200,
    " a ",
    "a\tb",
    "a\nb",
    "\\",
    "%",
    "@",
    "`",
    "*",
    "&",
    "!",
    "?",
    "yes",
    "No",
    "y",
    "\x7f",
    "\x85",
]


def entry(event="S1", production="Prod0", name="a", digest="0" * 31 + "a", uuid="f" * 32):
    return Entry(Place.of(event, production, name), uuid, {"md5": Digest("md5", digest)}, is_foreign=True)


def text_of(title, entries):
    return written(title, [each.listed for each in entries], foreign=len(entries))


def nested(entries):
    data = {}
    for each in entries:
        place = each.place
        names = data.setdefault(place.event, {}).setdefault(place.production, {})
        names[place.name] = {"hash": each.main_digest.hex, "uuid": each.uuid}
    return data


@pytest.mark.parametrize("text", ODD)
def test_odd_names_survive_every_reader(text):
    entries = [
        entry(event=text),
        entry(event=f"{text}2", production=text),
        entry(event=f"{text}3", name=text),
    ]
    entries.sort(key=lambda each: each.place.event)
    content = text_of(text, entries)
    assert yaml.safe_load(content) == {"name": text, "events": nested(entries)}
    assert [each.place for each in parsed(content, "m").entries] == [each.place for each in entries]


NAMES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=8, unique=True), NAMES)
def test_any_names_survive(names, title):
    try:
        entries = sorted(
            (entry(*each) for each in names),
            key=lambda each: (each.place.event, each.place.production, each.place.name),
        )
    except InvalidInputError:
        return
    content = text_of(title, entries)
    assert yaml.safe_load(content) == {"name": title, "events": nested(entries)}
    text = parsed(content, "m")
    assert (text.name, [each.place for each in text.entries]) == (title, [each.place for each in entries])


@pytest.mark.parametrize("digest", ["0" * 32, "1" * 32, "1e" + "3" * 30, "0" * 31 + "e"])
def test_hashes_and_uuids_stay_text(digest):
    content = text_of("T", [entry(digest=digest, uuid=digest)])
    [facts] = yaml.safe_load(content)["events"]["S1"]["Prod0"].values()
    assert facts == {"hash": digest, "uuid": digest}
    assert parsed(content, "m").entries[0].uuid == digest


def test_body_is_what_the_original_would_dump():
    entries = [entry(name=name) for name in ("a.txt", "b", "sub/c.h5")]
    content = text_of("Test Store", entries)
    body = content.partition(b"\n")[2].decode()
    assert body.replace('"Test Store"', "Test Store") == yaml.dump(
        {"name": "Test Store", "events": nested(entries)}
    )


def test_untouched_file_is_known_and_a_touched_one_too():
    content = text_of("T", [])
    assert is_untouched(content)
    assert not is_untouched(content + b"x")
    assert not is_untouched(content.replace(b"name: T", b"name: U"))
    assert not is_untouched(yaml.dump(yaml.safe_load(content)).encode())
    assert not is_untouched(text_of("T", [entry()]))


@pytest.mark.parametrize(
    "content", [b"", b"# only a comment\n", b"\xff\xfe\0", b"events: {S1: {Prod0: {a: {hash", b"[1]"]
)
def test_empty_cut_or_alien_file_is_named_with_the_remedy(content):
    with pytest.raises(UnreadableError, match=r"store/manifest\.yaml.*rebuild"):
        parsed(content, "store/manifest.yaml")


@pytest.mark.parametrize("content", [b"name: x\n", b"events: 5\n", b"events: []\n", b"plain text"])
def test_yaml_of_something_else_is_refused(content):
    with pytest.raises(UnreadableError, match="not the manifest"):
        parsed(content, "m")


def test_names_that_lead_outside_are_refused_one_by_one():
    good = {"hash": "a" * 32, "uuid": "b" * 32}
    resources = {
        "../../escaped": good,
        "good": good,
        "half": {"hash": "a" * 32},
        "bad": {"hash": "x", "uuid": "b" * 32},
        "none": None,
    }
    content = yaml.dump(
        {"name": "x", "events": {"S1": {"Prod0": resources}, "..": {"P": {"a": good}}, "S2": None}}
    )
    text = parsed(content.encode(), "m")
    assert [each.place.path for each in text.entries] == ["S1/Prod0/good"]
    assert len(text.refused) == 5


def test_digest_without_md5_is_a_sha256():
    content = yaml.dump({"name": "x", "events": {"S1": {"P": {"a": {"hash": "a" * 64, "uuid": "b" * 32}}}}})
    assert parsed(content.encode(), "m").entries[0].digests.keys() == {"sha256"}
