r"""Own ``manifest.yaml``: the original's form, read with care and written fast.

It does not decide when it is written; that is `holdfast.archive.manifest`'s.

>>> listed = [("S1", "Prod0", "a", "0" * 32, "f" * 32)]
>>> print(written("Test", listed).partition(b"\n")[2].decode())
events:
  S1:
    Prod0:
      a:
        hash: '00000000000000000000000000000000'
        uuid: ffffffffffffffffffffffffffffffff
name: Test
<BLANKLINE>
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import yaml

from holdfast.archive.entries import Entry, Listed, Place, check_uuid
from holdfast.errors import InvalidInputError, UnreadableError
from holdfast.hashing import Digest, hash_bytes
from holdfast.types import Json

__all__ = ["ManifestText", "is_untouched", "parsed", "written"]

_HEAD = re.compile(
    rb"# Kept by Holdfast\. archive: (?P<uid>[0-9a-f]{32}|-), entries: \d+, "
    rb"foreign: (?P<foreign>\d+), blake3: (?P<digest>[0-9a-f]{64})\n"
)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+-]*\Z")
# What YAML 1.1 reads as a boolean or as nothing.
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
# A longer text cannot be the key of a one-line "key: value".
_LONGEST_KEY = 100
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one, where libyaml is there
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class ManifestText:
    """What a manifest in YAML says.

    Parameters
    ----------
    name : str
        The archive's name.
    entries : tuple of Entry
        All that it lists and that can be an entry.
    refused : tuple of str
        What it lists and that cannot: names that lead outside, no digest.
    uid : str
        The archive's identity, if Holdfast wrote it and nobody changed it since; else empty.
    is_ours : bool
        Whether it is, byte for byte, what Holdfast wrote, with no foreign entry in it.
    """

    name: str
    entries: tuple[Entry, ...]
    refused: tuple[str, ...] = ()
    uid: str = ""
    is_ours: bool = False


def is_untouched(content: bytes) -> bool:
    """Tell whether a manifest is, byte for byte, what Holdfast wrote, with no foreign entry in it.

    Parameters
    ----------
    content : bytes
        The file.

    Returns
    -------
    bool
        True when there is nothing in it that the database does not know.
    """
    head = _HEAD.match(content)
    if head is None or int(head["foreign"]):
        return False
    return hash_bytes(content[head.end() :]).hex.encode() == head["digest"]


def parsed(content: bytes, path: str) -> ManifestText:
    """Read a manifest.

    Parameters
    ----------
    content : bytes
        The file.
    path : str
        Where it lies, for messages.

    Returns
    -------
    ManifestText
        What it says.

    Raises
    ------
    UnreadableError
        It is empty, cut off, or not a manifest.
    """
    head = _HEAD.match(content)
    data = _loaded(content, path)
    entries: list[Entry] = []
    refused: list[str] = []
    for names, facts in _resources(data["events"]):
        try:
            entries.append(_entry(names, facts))
        except InvalidInputError as error:
            refused.append(f"{'/'.join(map(str, names))}: {error}")
    is_ours = is_untouched(content)
    uid = head["uid"].decode().strip("-") if head else ""
    return ManifestText(str(data.get("name")), tuple(entries), tuple(refused), uid, is_ours)


def _loaded(content: bytes, path: str) -> dict[str, Json]:
    remedy = "restore it, or make it anew with 'holdfast archive rebuild'"
    try:
        data = _safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"the manifest {path} is cut off or is not YAML; {remedy}") from error
    if data is None:
        raise UnreadableError(f"the manifest {path} is empty; {remedy}")
    if not isinstance(data, dict) or not isinstance(data.get("events"), dict):
        raise UnreadableError(f"{path} is not the manifest of an archive: it lists no events; {remedy}")
    return data


def _safe_load(content: bytes) -> Json:
    loader = _Loader(content)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _resources(events: Mapping[Json, Json]) -> Iterator[tuple[tuple[Json, Json, Json], Json]]:
    for event, productions in events.items():
        for production, resources in _items(productions):
            for name, facts in _items(resources):
                yield (event, production, name), facts


def _items(value: Json) -> Iterable[tuple[Json, Json]]:
    return value.items() if isinstance(value, dict) else ()


def _entry(names: tuple[Json, Json, Json], facts: Json) -> Entry:
    if not isinstance(facts, dict) or not {"hash", "uuid"} <= facts.keys():
        raise InvalidInputError("it has no hash and uuid")
    # YAML reads digits as a number; the original's own dump quotes them.
    digest = Digest.parse(str(facts["hash"]), default="sha256" if len(str(facts["hash"])) == 64 else "md5")
    place = Place.of(*(str(name) for name in names))
    return Entry(place, check_uuid(str(facts["uuid"])), {digest.algorithm: digest}, is_foreign=True)


def written(name: str, entries: Sequence[Listed], uid: str = "", foreign: int = 0) -> bytes:
    """Write a manifest.

    Parameters
    ----------
    name : str
        The archive's name.
    entries : sequence of Listed
        Sorted by event, production and name.
    uid : str, optional
        The archive's identity.
    foreign : int, optional
        How many of the entries its database does not know.

    Returns
    -------
    bytes
        What the original's ``yaml.dump`` says too, behind a comment by which Holdfast knows its own.
    """
    body = "".join(_lines(name, entries)).encode()
    head = f"# Kept by Holdfast. archive: {uid or '-'}, entries: {len(entries)}, foreign: {foreign}, "
    return head.encode() + f"blake3: {hash_bytes(body).hex}\n".encode() + body


def _lines(name: str, entries: Sequence[Listed]) -> Iterator[str]:
    yield "events:\n" if entries else "events: {}\n"
    last_event, last_production = None, None
    for event, production, file, digest, uuid in entries:
        if event != last_event:
            yield _key(event, 2)
            last_event, last_production = event, None
        if production != last_production:
            yield _key(production, 4)
            last_production = production
        quoted = f"'{digest}'" if digest.isdigit() else digest
        named = f"'{uuid}'" if uuid.isdigit() else uuid
        yield f"{_key(file, 6)}        hash: {quoted}\n        uuid: {named}\n"
    yield f"name: {_scalar(name)}\n"


def _key(text: str, indent: int) -> str:
    if len(text) <= _LONGEST_KEY:
        return f"{' ' * indent}{_scalar(text)}:\n"
    return f"{' ' * indent}? {_scalar(text)}\n{' ' * indent}:\n"


@lru_cache(maxsize=4096)
def _scalar(text: str) -> str:
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    dumped: str = yaml.dump(
        [text], Dumper=_Dumper, width=2**31 - 1, default_flow_style=True, default_style='"'
    )
    return dumped.strip()[1:-1]
