"""docs/routes.md and docs/openapi.json, from the table of routes."""

from __future__ import annotations

import json

from gateway.app import interface
from gateway.http.policy import Need
from gateway.rest.kit.openapi import callers
from gateway.rest.table import DECLARED

_HEAD = """# Routes

{source}

Made from the table of routes (`gateway/rest/table.py`), where each stands with its policy. The machine-readable form is
[openapi.json](openapi.json), which `GET /openapi.json` serves as well; error codes are in [errors.md](errors.md) and
budgets in [limits.md](limits.md).

* *owner*: the id in the path that says whose it is. A stranger is told that there is no such thing; operators are none.
* *key*, *version*: whether an `Idempotency-Key` and an `If-Match` may or must come with it.
* *budget*: what it is paid from. *under load*: `new` can come later, `under_way` goes on with something or is little
  work, `stream` stays open, `exempt` is never refused.

| route | id | for | owner | key | version | budget | under load |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def routes_page(source: str) -> str:
    """docs/routes.md"""
    rows = []
    for one in sorted(DECLARED, key=lambda one: (one.path, one.method)):
        policy = one.policy
        cells = (
            f"`{one.method} {one.path}`",
            f"`{one.name}`",
            ", ".join(callers(one)),
            f"`{policy.owner}`" if policy.owner else "",
            _need(policy.key),
            _need(policy.version),
            policy.limit,
            str(policy.kind),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return _HEAD.format(source=source) + "\n".join(rows) + "\n"


def openapi() -> str:
    """docs/openapi.json"""
    return json.dumps(interface(), indent=1, ensure_ascii=False, default=str) + "\n"


def _need(need: Need) -> str:
    return "" if need is Need.NO else str(need)
