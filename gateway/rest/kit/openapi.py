"""What FastAPI knows of the routes, completed by what the table says: views, headers that a policy asks for, who may
call, and an example of everything."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from gateway.http.policy import Door, Need
from gateway.http.problem import SCHEMA
from gateway.rest.kit.routes import Declared

Schema: TypeAlias = dict[str, Any]

REF = "#/components/schemas/"
# What stands for a text, a number or a time of which nothing else is known.
_TEXTS = {
    "uuid": "5f0c1d2e-3a4b-4c5d-8e9f-0a1b2c3d4e5f",
    "date-time": "2026-06-01T17:30:00Z",
    "uri": "https://example.org",
}
_NAMED = {
    "email": "ann@example.org",
    "password": "correct horse battery",
    "region_id": "tx-dfw",
    "timezone": "America/Chicago",
    "address": "1 Main Street",
    "name": "Corner",
    "vendor_token": "fake:pass",
    "lat": 32.78,
    "lng": -96.8,
    "opens_min": 600,
    "closes_min": 1320,
    "token_type": "bearer",
}


def complete(document: Schema, declared: Iterable[Declared]) -> Schema:
    """The document with the rest of it; it is changed."""
    shown = [one for one in declared if one.is_shown]
    schemas: Schema = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = SCHEMA
    viewed = [one for one in shown if one.view is not None]
    views, parts = msgspec.json.schema_components([one.view for one in viewed], ref_template=REF + "{name}")
    for schema in parts.values():
        # Compilers since 3.13 take a docstring's indentation away, those before do not.
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    schemas |= parts
    for one in shown:
        operation = document["paths"][one.path][one.method.lower()]
        _headers(operation, one)
        operation["x-callers"] = callers(one)
        if one.policy.jobs:
            operation["x-jobs"] = [str(job) for job in one.policy.jobs]
        for media in operation.get("requestBody", {}).get("content", {}).values():
            media["example"] = example(media["schema"], schemas)
    for one, view in zip(viewed, views, strict=True):
        answer = document["paths"][one.path][one.method.lower()]["responses"][str(one.status)]
        answer["content"] = {"application/json": {"schema": view, "example": example(view, schemas)}}
    return document


def callers(declared: Declared) -> list[str]:
    """Who may call, in words or by role."""
    roles = declared.policy.roles
    return [str(roles)] if isinstance(roles, Door) else [str(role) for role in roles]


def _headers(operation: Schema, declared: Declared) -> None:
    needs = {"idempotency-key": declared.policy.key, "if-match": declared.policy.version}
    parameters = []
    for parameter in operation.pop("parameters", ()):
        need = needs.get(parameter["name"].lower(), Need.MAY)
        if need is not Need.NO:
            parameters.append(parameter | {"required": True} if need is Need.MUST else parameter)
    if parameters:
        operation["parameters"] = parameters


def example(schema: Schema, schemas: Schema, name: str = "") -> Any:
    """A value that the schema allows, always the same."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example(schemas[schema["$ref"].removeprefix(REF)], schemas, name)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return example(next(one for one in options if one.get("type") != "null"), schemas, name)
    kind = schema.get("type")
    if kind == "object":
        extra = schema.get("additionalProperties")
        if extra and "properties" not in schema:
            return {"name": example(extra, schemas)} if isinstance(extra, dict) else {}
        return {key: example(part, schemas, key) for key, part in schema.get("properties", {}).items()}
    if kind == "array":
        if "prefixItems" in schema:
            return [example(part, schemas) for part in schema["prefixItems"]]
        return [example(schema["items"], schemas, name)] if isinstance(schema.get("items"), dict) else []
    if kind in ("string", "number", "integer") and name in _NAMED:
        return _NAMED[name]
    if kind == "string":
        as_id = name == "id" or name.endswith(("_id", "_ids"))
        return _TEXTS.get(schema.get("format", "uuid" if as_id else ""), "text")
    if kind in ("number", "integer"):
        least = schema.get("minimum", 1)
        return int(least) if kind == "integer" else least
    return kind == "boolean"
