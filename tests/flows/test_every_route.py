"""Every route of every face, as /openapi.json lists them: no input of a client is a server error."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from flows.wire import ShortBodyError, ask
from served import KEY, served

NASTY = [
    "",
    ".",
    "..",
    "%2e%2e%2f",
    "a%00",
    "%ff",
    "é",
    "-1",
    "0",
    "9" * 30,
    "1e999",
    "NaN",
    "null",
    "[]",
    "{",
    "'\";--",
]
NASTY += [
    "x" * 3000,
    "true",
    "%0d%0aSet-Cookie:x",
    ".holdfast",
    "catalog.db",
    "con",
    "image.npy",
    "~root",
    "\\\\host\\x",
]
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("site") / "lab"
    root.mkdir()
    np.save(root / "image.npy", np.arange(12.0).reshape(3, 4))
    (root / "table.csv").write_text("x,y\n1,2\n3,4\n")
    (root / "sub").mkdir()
    (root / "sub" / "one.json").write_text('{"n": 1}')
    with served(root, timeout_s=900) as server:
        yield server.url


def operations(url: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and description of every operation that answers with a body that ends."""
    paths = ask(url, "/openapi.json").json()["paths"]
    listed = [(m, path, found[m]) for path, found in paths.items() for m in METHODS if m in found]
    return [(m, path, o) for m, path, o in listed if "text/event-stream" not in json.dumps(o)]


def test_the_description_names_every_face(url):
    paths = ask(url, "/openapi.json").json()["paths"]
    for prefix in ("/api/v1/", "/healthz"):
        assert any(path.startswith(prefix) for path in paths), prefix


@pytest.mark.slow
def test_nasty_values_in_any_place_are_never_a_server_error(url):
    faults = []
    for method, path, operation in operations(url):
        for target in targets(path, operation.get("parameters", [])):
            for body in (b"",) if method == "get" else (b"", b"{", b"[]", b'{"a": [1e999]}', b"\xff\x00"):
                try:
                    answer = ask(url, target, method.upper(), body=body)
                except (ShortBodyError, ConnectionError, TimeoutError, AssertionError) as error:
                    faults.append(f"{method} {target[:150]}: {error!r}")
                    continue
                if answer.status >= 500:
                    faults.append(f"{method} {target[:150]} {body!r}: {answer.status} {answer.body[:200]!r}")
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:30])


def targets(path: str, parameters: list[dict[str, Any]]) -> Iterator[str]:
    """Fill the places of a path, then each query parameter, with every nasty value in turn."""
    names = [p["name"] for p in parameters if p.get("in") == "query"]
    yield from (fill(path, value).encode().decode("latin-1") for value in NASTY)
    usual = fill(path, "image.npy")
    for name, value in itertools.product(names, NASTY):
        yield f"{usual}?{quote(name)}={quote(value, safe='%')}"
        yield f"{usual}?{quote(name)}={quote(value, safe='%')}&{quote(name)}=1"


def fill(path: str, value: str) -> str:
    """Put one value in every place of a path."""
    return re.sub(r"\{[^}]*\}", lambda _: value, path)


@pytest.mark.slow
def test_requests_made_from_the_description_are_never_a_server_error(url):
    headers = {"Authorization": f"Apikey {KEY}"}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    faults: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if "text/event-stream" not in json.dumps(operation.definition.raw):
            faults |= faults_of(operation, headers)
    assert not faults, "\n".join(sorted(faults))


def faults_of(operation: Any, headers: dict[str, str]) -> set[str]:
    """Send requests that fit the description of an operation, and some that do not."""
    faults = set()

    @settings(
        max_examples=30,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy())
    def check(case: Any) -> None:
        answer = case.call(headers=headers, timeout=60)
        if answer.status_code >= 500:
            faults.add(f"{case.method} {case.formatted_path}: {answer.status_code} {answer.text[:200]}")

    check()
    return faults
