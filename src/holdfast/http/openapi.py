"""Own the OpenAPI description of a site, made from the declarations of its routes.

It does not describe by hand: what is not declared at a route is not here.

>>> from holdfast.http.openapi import describe
>>> from holdfast.http.reply import text_reply
>>> from holdfast.http.routing import Mount, Route
>>> site = [Mount("/v1", [Route("GET", "/{path:path}", lambda request: text_reply(""), summary="Read")])]
>>> sorted(describe(site, "1.0")["paths"])
['/v1/{path}']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.errors import AuthenticationError, ForbiddenError, HoldfastError, InvalidInputError
from holdfast.http.routing import Mount, Route, Upload, by_path
from holdfast.types import Json

__all__ = ["describe"]

_VARIABLE = re.compile(r"{(\w+)(?::(\w+))?}")
_KINDS = {"int": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "float": {"type": "number"}}
_REF = "#/components/schemas/{name}"
_ERROR = {"$ref": "#/components/schemas/Error"}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "object"},
        "errors": {"type": "array", "items": _ERROR},
    },
}
_KEYS = {
    "apikey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
    "query": {"type": "apiKey", "in": "query", "name": "api_key"},
}


def describe(mounts: Sequence[Mount], version: str, title: str = "Holdfast") -> Json:
    """Return the OpenAPI document of a site.

    Parameters
    ----------
    mounts : sequence of Mount
        The routes.
    version : str
        The version of the server.
    title : str, default "Holdfast"
        The title.

    Returns
    -------
    dict
        OpenAPI 3.1.

    References
    ----------
    OpenAPI 3.1.0.
    """
    routes = [(mount, path, methods) for mount in mounts for path, methods in by_path(mount.routes).items()]
    schemas = _Schemas([route for _, _, methods in routes for route in methods.values()])
    paths: dict[str, Json] = {}
    for mount, path, methods in routes:
        item = paths.setdefault(mount.prefix + _VARIABLE.sub(r"{\1}", path), {})
        for method, route in methods.items():
            if method != "HEAD":
                item.setdefault(method.lower(), _operation(route, mount, schemas))
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": {**schemas.components, "Error": _ERROR_SCHEMA}, "securitySchemes": _KEYS},
    }


class _Schemas:
    """Hold the JSON schemas of all types that routes name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        kinds = [
            kind for route in routes for kind in (route.query, route.body, route.answer) if _has_schema(kind)
        ]
        found, self.components = msgspec.json.schema_components(kinds, ref_template=_REF)
        self._by_kind = [(kind, schema) for kind, schema in zip(kinds, found, strict=True)]

    def of(self, kind: Any) -> Json:
        """Return the schema of a type, or a reference to it."""
        return next((schema for known, schema in self._by_kind if known is kind), {})

    def properties_of(self, kind: Any) -> tuple[Mapping[str, Json], frozenset[str]]:
        """Return the fields of a struct with their schemas, and the names of those that are required."""
        schema = self.of(kind)
        if "$ref" in schema:
            schema = self.components[schema["$ref"].rpartition("/")[2]]
        return schema.get("properties", {}), frozenset(schema.get("required", ()))


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind is not bytes and kind is not Upload


def _operation(route: Route, mount: Mount, schemas: _Schemas) -> Json:
    operation: dict[str, Json] = {
        "summary": route.summary,
        "tags": [mount.tag or mount.prefix.strip("/") or "server"],
        "parameters": [*_path_parameters(route.path), *_query_parameters(route, schemas)],
        "responses": _responses(route, schemas),
    }
    if route.scope != "open":
        operation["security"] = [{name: []} for name in _KEYS]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _body_content(route.body, schemas)}
    return operation


def _path_parameters(path: str) -> Iterable[Json]:
    for name, kind in _VARIABLE.findall(path):
        schema = _KINDS.get(kind, {"type": "string"})
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route, schemas: _Schemas) -> Iterable[Json]:
    if route.query is None:
        return
    properties, required = schemas.properties_of(route.query)
    for name, schema in properties.items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": schema}
        if schema.get("description"):
            parameter["description"] = schema["description"]
        yield parameter


def _body_content(body: Any, schemas: _Schemas) -> Json:
    if body is bytes or body is Upload:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {"application/json": {"schema": schemas.of(body)}}


def _responses(route: Route, schemas: _Schemas) -> Json:
    content: dict[str, Json] = {media_type: {} for media_type in route.media}
    if route.answer is not None or not content:
        content["application/json"] = {"schema": schemas.of(route.answer) if route.answer is not None else {}}
    responses: dict[str, Json] = {"200": {"description": "The answer.", "content": content}}
    for error in _errors_of(route):
        summary = (error.__doc__ or "").partition("\n")[0]
        entry = responses.setdefault(str(error.status), {"description": summary})
        if route.shape is None:
            entry["content"] = {"application/json": {"schema": _ERROR}}
    return responses


def _errors_of(route: Route) -> Iterable[type[HoldfastError]]:
    found: list[type[HoldfastError]] = [InvalidInputError, *route.errors]
    if route.scope != "open":
        found.append(AuthenticationError)
    if route.scope == "write":
        found.append(ForbiddenError)
    return sorted(dict.fromkeys(found), key=lambda error: error.status)
