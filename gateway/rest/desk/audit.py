"""What operators did: the log of it, and its export with the heads of dossiers."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from fastapi import Query
from msgspec import Struct
from starlette.responses import Response, StreamingResponse

from domain.errors import InvalidRequest
from domain.ground.times import in_ms, instant, millis
from domain.orders.lifecycle import Role
from gateway.http.admission import Kind
from gateway.http.auth import Me
from gateway.http.policy import Policy
from gateway.rest.kit.answers import Parts, json_response
from gateway.rest.kit.lists import PAGE_LIMIT
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Digits, Instant
from persistence.reads.audit import AuditFilter, Entry, Head
from persistence.reads.reports import Reports

routes = Routes("audit", tag="admin")

EXPORT_LIMIT_S = 92 * 24 * 3600.0  # a quarter at once
EXPORT_PAGE = 1_000  # rows that are read at a time
_COLUMNS = ("type", "id", "at", "actor_id", "actor_role", "action", "aggregate_id", "changes", "seq", "hash")
_CURSOR = "^[0-9]{1,18}-[0-9]{1,18}$"


class ExportFormat(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSONL = "jsonl"


class AuditEntryView(Struct, frozen=True):
    """A change that an operator made. `changes`: each field that differs with what it was and what it is; texts are
    commitments, `hmac-sha256:` over name and value under a salt that goes with the record."""

    id: str
    at: datetime
    actor_id: str
    actor_role: str
    action: str
    aggregate_id: str
    changes: dict[str, list[str | int | float | bool | None]]


class AuditPage(Struct, frozen=True):
    """One page; ask again with `cursor=next_cursor` for the next one, until it is null."""

    entries: list[AuditEntryView]
    next_cursor: str | None


@routes.get("/v1/admin/audit", Policy(roles=(Role.ADMIN,), limit="ops"), AuditPage)
async def entries(
    _: Me,
    services: Parts,
    actor_id: Annotated[str | None, Query(max_length=64)] = None,
    action: Annotated[
        str | None, Query(pattern="^[a-z_]{1,32}\\.[a-z_]{1,32}$", description="As in an entry.")
    ] = None,
    aggregate_id: Annotated[str | None, Query(max_length=36, description="What was changed.")] = None,
    at_from: Annotated[Instant | None, Query(description="Inclusive, RFC 3339.")] = None,
    at_to: Annotated[Instant | None, Query(description="Exclusive, RFC 3339.")] = None,
    cursor: Annotated[
        str | None, Query(pattern=_CURSOR, description="`next_cursor` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT), Digits] = 50,
) -> Response:
    """What operators did, newest first."""
    after = None
    if cursor is not None:
        at_ms, _dash, number = cursor.partition("-")
        after = int(at_ms), int(number)
    wanted = AuditFilter(
        actor_id=actor_id,
        action=action,
        aggregate_id=aggregate_id,
        from_ms=None if at_from is None else millis(at_from),
        before_ms=None if at_to is None else millis(at_to),
    )
    found = await services.reads.reports.audit(wanted, after, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    more = None if last is None else f"{last.at_ms}-{last.entry_id}"
    return json_response(AuditPage([_view(entry) for entry in found[:limit]], more))


@routes.get(
    "/v1/admin/audit/export",
    Policy(roles=(Role.ADMIN,), limit="ops", admission=Kind.STREAM),
    responses={
        200: {
            "content": {"application/x-ndjson": {}, "text/csv": {}},
            "description": "A line an entry, oldest first, then the head of each dossier that grew.",
        }
    },
)
async def export(
    _: Me,
    services: Parts,
    since: Annotated[
        Instant | None, Query(alias="from", description="Inclusive; a day ago if left out.")
    ] = None,
    to: Annotated[Instant | None, Query(description="Exclusive; now if left out.")] = None,
    format: Annotated[ExportFormat, Query(description="How it is written.")] = ExportFormat.JSONL,
) -> Response:
    """Everything that operators did in a time, streamed, with the heads of the dossiers that grew in it: whoever keeps
    the export can prove later that no dossier was cut or changed."""
    to_ms = services.config.clock.now_ms() if to is None else millis(to)
    from_ms = to_ms - in_ms(24 * 3600) if since is None else millis(since)
    if not from_ms < to_ms <= from_ms + in_ms(EXPORT_LIMIT_S):
        raise InvalidRequest(f"from must lie before to, by at most {EXPORT_LIMIT_S / 86_400:g} days.")
    lines = _lines(services.reads.reports, from_ms, to_ms)
    as_csv = format is ExportFormat.CSV
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="audit-{from_ms}-{to_ms}.{format}"',
    }
    media_type = "text/csv; charset=utf-8" if as_csv else "application/x-ndjson"
    return StreamingResponse(_csv(lines) if as_csv else _jsonl(lines), headers=headers, media_type=media_type)


async def _lines(reports: Reports, from_ms: int, to_ms: int) -> AsyncIterator[dict[str, Any]]:
    """Entries, then heads, page by page: a reader that is slow holds no transaction open."""
    entries_after: tuple[int, int] = (from_ms, 0)
    while entries := await reports.audit_since(entries_after, to_ms, EXPORT_PAGE):
        for entry in entries:
            yield _entry_line(entry)
        entries_after = entries[-1].at_ms, entries[-1].entry_id
    after = ""
    while heads := await reports.dossier_heads(from_ms, to_ms, after, EXPORT_PAGE):
        for head in heads:
            yield _head_line(head)
        after = heads[-1].order_id


def _entry_line(entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(_view(entry))
    return {"type": "entry"} | told


def _head_line(head: Head) -> dict[str, Any]:
    return {
        "type": "dossier_head",
        "at": msgspec.to_builtins(instant(head.at_ms)),
        "aggregate_id": head.order_id,
        "seq": head.seq,
        "hash": head.hash.hex(),
    }


async def _jsonl(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield msgspec.json.encode(line) + b"\n"


async def _csv(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    yield _row(_COLUMNS)
    async for line in lines:
        changes = line.get("changes")
        told = line | ({"changes": msgspec.json.encode(changes).decode()} if changes else {"changes": ""})
        yield _row([told.get(name, "") for name in _COLUMNS])


def _row(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _view(entry: Entry) -> AuditEntryView:
    return AuditEntryView(
        id=str(entry.entry_id),
        at=instant(entry.at_ms),
        actor_id=entry.actor_id,
        actor_role=entry.actor_role,
        action=entry.action,
        aggregate_id=entry.aggregate_id,
        changes=entry.changes,
    )
