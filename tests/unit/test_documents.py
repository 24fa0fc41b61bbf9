"""What is generated is up to date, and says something of everything."""

from __future__ import annotations

import importlib
import json
from typing import Any

from domain.errors import CATALOGUE

# A script, not a package: type checkers know it by its file.
generate_docs: Any = importlib.import_module("scripts.generate_docs")


def test_the_generated_pages_are_up_to_date() -> None:
    assert generate_docs.stale() == [], "run: python scripts/generate_docs.py"


def test_every_message_is_described() -> None:
    page = generate_docs.protocol_page()
    document = json.loads(generate_docs.asyncapi())
    for frame in (*generate_docs.CLIENT, *generate_docs.SERVER):
        tag = str(frame.__struct_config__.tag)
        assert frame.__doc__, tag
        assert f"### `{tag}`" in page
        assert document["components"]["messages"][tag]["summary"]


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(generate_docs.asyncapi())

    def follow(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(ref := node.get("$ref"), str):
                target: object = document
                for part in ref.removeprefix("#/").split("/"):
                    assert isinstance(target, dict)
                    target = target[part]
            for value in node.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:
                follow(value)

    follow(document)


def test_every_error_is_explained() -> None:
    page = generate_docs.errors_page()
    for code, error in CATALOGUE.items():
        assert f"| `{code}` | {error.status} |" in page
        assert error.__doc__, code
