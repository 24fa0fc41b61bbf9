"""docs/routes.md and docs/openapi.json, from the table of routes."""

from __future__ import annotations

import json

from doorstep.cli.routes import rows
from gateway.app import interface

_HEAD = """# Routes

{source}

Made from the table of routes (`gateway/rest/table.py`), where each stands with its policy. The machine-readable form is
[openapi.json](openapi.json), which `GET /openapi.json` serves as well; error codes are in [errors.md](errors.md) and
budgets in [limits.md](limits.md).

* *for*: roles; of those who work for a merchant those with the jobs in brackets, all where none are named.
* *owner*: the id in the path that says whose it is. A stranger is told that there is no such thing; operators are none.
* *key*, *version*: whether an `Idempotency-Key` and an `If-Match` may or must come with it.
* *budget*: what it is paid from. *under load*: `new` can come later, `under_way` goes on with something or is little
  work, `stream` stays open, `exempt` is never refused.

| route | id | for | owner | key | version | budget | under load |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def routes_page(source: str) -> str:
    """docs/routes.md"""
    lines = []
    for route, name, roles, owner, *rest in rows():
        cells = (f"`{route}`", f"`{name}`", roles, f"`{owner}`" if owner else "", *rest)
        lines.append(f"| {' | '.join(cells)} |")
    return _HEAD.format(source=source) + "\n".join(lines) + "\n"


def openapi() -> str:
    """docs/openapi.json"""
    return json.dumps(interface(), indent=1, ensure_ascii=False, default=str) + "\n"
