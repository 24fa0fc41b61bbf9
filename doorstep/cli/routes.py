"""`doorstep routes`: the table of routes."""

from __future__ import annotations

from gateway.http.policy import Need, Policy
from gateway.rest.kit.openapi import callers
from gateway.rest.kit.routes import Declared
from gateway.rest.table import DECLARED

HEAD = ("route", "id", "for", "owner", "key", "version", "budget", "under load")


def rows() -> list[tuple[str, ...]]:
    """What each route says of itself, as `HEAD` names it; by path."""
    return [_row(one) for one in sorted(DECLARED, key=lambda one: (one.path, one.method))]


def _row(one: Declared) -> tuple[str, ...]:
    policy = one.policy
    return (
        f"{one.method} {one.path}",
        one.name,
        ", ".join(callers(one)) + _jobs(policy),
        policy.owner,
        _need(policy.key),
        _need(policy.version),
        policy.limit,
        str(policy.kind),
    )


def _jobs(policy: Policy) -> str:
    return f" ({', '.join(policy.jobs).lower()})" if policy.jobs else ""


def _need(need: Need) -> str:
    return "" if need is Need.NO else str(need)


def routes_command() -> None:
    """Print the table, as wide as it must be, and how many operations there are."""
    table = [HEAD, *rows()]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    shown = sum(one.is_shown for one in DECLARED)
    print(f"{len(table) - 1} routes, {shown} of them operations of OpenAPI")
