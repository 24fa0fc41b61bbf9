"""The one way in which the marketplace's records change: a transaction for each command.

    claim the key -> lock the row (its owner in the WHERE) -> the domain decides, If-Match first -> save, version + 1
    -> tell the outbox -> the audit log where an operator acts -> keep the answer -> commit

A refusal writes nothing and keeps no answer: a repeat is decided anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import Any, TypeAlias, TypeVar

import msgspec
from sqlalchemy import delete, func, insert, literal, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.errors import IdempotencyKeyReused, LimitReached, NotFound, Refusal
from domain.marketplace.audit import changes_of
from domain.marketplace.change import Carried, Claim, Command, Decision, settled
from domain.ports import Channel
from persistence import tables
from persistence.engine import reached
from persistence.marketplace.kind import Kind, Step, columns
from persistence.marketplace.ledger import ask_vendor, book
from persistence.marketplace.registry import KINDS, STEPS, kind_of
from persistence.marketplace.statements import Statements
from persistence.orders.load import is_id
from persistence.reads.queries import table_of

V = TypeVar("V")
Where: TypeAlias = Mapping[str, Collection[Any]]

ANSWERS, OUTBOX = table_of(tables.Idempotency), table_of(tables.Outbox)
AUDIT, SALTS = table_of(tables.AuditEntry), table_of(tables.AuditSalt)
_REFUSALS: dict[str, Callable[[], Refusal]] = {}
for _kind in KINDS.values():
    _REFUSALS |= _kind.refusals


class Marketplace:
    """Every change of the marketplace's records, on a pool that it shares with the reads."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.statements = Statements(engine)

    async def carry_out(self, command: Command, show: Callable[[Any], V], view: type[V]) -> Carried[V]:
        """Carry a command out, or give the first answer to its claim. `show` makes what is answered of what was
        decided. Raises the refusal that the domain or a constraint has for it; then nothing was written."""
        step = STEPS[type(command.action)]
        with reached(), _told():
            async with self._engine.begin() as connection:
                if command.claim is not None:
                    first = await _claim(connection, command.claim)
                    if first is not None:
                        return Carried(msgspec.convert(first, view), replayed=True)
                before = await _before(connection, step, command)
                decision = settled(step.decide, before, command)
                await _save(connection, before, decision)
                await book(connection, decision.movements)
                await _tell(connection, before, decision, command)
                if (statement := step.with_it(decision, command)) is not None:
                    await connection.execute(statement)
                await ask_vendor(connection, decision.asks, command.at_ms)
                shown = show(decision.shown)
                if command.claim is not None:
                    await _keep(connection, command.claim, shown, command.at_ms)
        return Carried(shown)

    async def find(self, aggregate: str, record_id: str, owner_id: str | None = None) -> Any:
        """A record, if it is there and this owner's (None: anybody's); None otherwise."""
        kind = KINDS[aggregate]
        if not is_id(record_id):
            return None
        with reached():
            async with self._engine.connect() as connection:
                row = (await connection.execute(kind.find(record_id, owner_id))).mappings().first()
        return None if row is None else kind.of(row)

    async def page(
        self,
        aggregate: str,
        owner_id: str | None,
        after: tuple[int, str] | None,
        limit: int,
        where: Where | None = None,
    ) -> list[Any]:
        """Records newest first, of this owner (None: of all), `after` the time and id of the last one before; one more
        than the `limit`, if there is one. `where`: columns and the values of which each has one."""
        kind = KINDS[aggregate]
        place = tuple_(kind.table.c.created_ms, kind.key)
        query = select(kind.table).order_by(kind.table.c.created_ms.desc(), kind.key.desc()).limit(limit + 1)
        if owner_id is not None and kind.owner is not None:
            query = query.where(kind.table.c[kind.owner] == owner_id)
        for name, values in (where or {}).items():
            query = query.where(kind.table.c[name].in_(values))
        if after is not None:
            query = query.where(place < tuple_(literal(after[0]), literal(after[1], tables.Uid)))
        with reached():
            async with self._engine.connect() as connection:
                return [kind.of(row) for row in (await connection.execute(query)).mappings()]


async def _claim(connection: AsyncConnection, claim: Claim) -> Any:
    """Have the key for this transaction, and the body of its first answer if it has one. Who comes second waits here.
    `IdempotencyKeyReused` when it was used for something else."""
    name = func.hashtextextended(
        f"{claim.scope}\n{claim.key}", 2
    )  # another than is locked for persons and orders
    await connection.execute(select(func.pg_advisory_xact_lock(name)))
    this = (ANSWERS.c.scope == claim.scope) & (ANSWERS.c.key == claim.key)
    first = (await connection.execute(select(ANSWERS).where(this))).mappings().first()
    if first is None:
        return None
    if first["fingerprint"] != claim.fingerprint:
        raise IdempotencyKeyReused()
    return first["body"]


async def _before(connection: AsyncConnection, step: Step, command: Command) -> Any:
    """What the decision is made on."""
    if step.look is not None:
        return await step.look(connection, command.action)
    return None if step.on is None else await _lock(connection, step, step.on, command)


async def _lock(connection: AsyncConnection, step: Step, on: Kind, command: Command) -> Any:
    """The record that the command is about, locked: for itself where it may change, else against its end."""
    record_id, owner_id = getattr(command.action, on.key.name), on.whose(command)
    if is_id(record_id) and (owner_id is None or is_id(owner_id)):
        query = on.find(record_id, owner_id).with_for_update(key_share=True, read=step.kind is not on)
        row = (await connection.execute(query)).mappings().first()
        if row is not None:
            return on.of(row)
    raise NotFound(on.missing)


async def _save(connection: AsyncConnection, before: Any, decision: Decision) -> None:
    for _, group in groupby(decision.new, type):
        records = list(group)
        kind, rows = kind_of(records[0]), [columns(record) for record in records]
        if kind.quota is not None:
            await _require_room(connection, kind, rows)
        await connection.execute(insert(kind.table), rows)
    if decision.changed is not None:
        await connection.execute(kind_of(decision.changed).change(before, decision.changed))
    if decision.removed is not None:
        kind = kind_of(decision.removed)
        await connection.execute(kind.remove(decision.removed))
        await connection.execute(delete(SALTS).where(SALTS.c.aggregate_id == kind.id_of(decision.removed)))


async def _require_room(connection: AsyncConnection, kind: Kind, rows: list[dict[str, Any]]) -> None:
    """`LimitReached` where an owner has as many as may be. Who adds at the same time waits here."""
    assert kind.owner is not None
    assert kind.quota is not None
    owner_id = rows[0][kind.owner]
    name = func.hashtextextended(f"{kind.aggregate}\n{owner_id}", 3)
    await connection.execute(select(func.pg_advisory_xact_lock(name)))
    if (await connection.execute(kind.had(owner_id))).scalar_one() + len(rows) > kind.quota:
        raise LimitReached()


async def _tell(connection: AsyncConnection, before: Any, decision: Decision, command: Command) -> None:
    """An event for each record that is new, has changed or is gone, and where an operator acts an entry of the audit
    log. The event's payload names no person and holds nothing that people type: who hears of it reads the record."""
    ends = [record for record in (decision.changed, decision.removed) if record is not None]
    records = [(kind_of(record), record) for record in (*decision.new, *ends)]
    if not decision.event or not records:
        return
    if command.audit:
        entries = [
            {
                "at_ms": command.at_ms,
                "actor_id": command.actor_id,
                "actor_role": str(command.role),
                "action": f"{kind.aggregate}.{decision.event}",
                "aggregate_id": kind.id_of(record),
                "changes": {}
                if record is not decision.changed
                else changes_of(before, record, await _salt(connection, kind.id_of(record))),
            }
            for kind, record in records
        ]
        await connection.execute(insert(AUDIT), entries)
    rows = [
        {
            "channel": Channel.BUS,
            "topic": f"{kind.aggregate}.{decision.event}",
            "aggregate": kind.aggregate,
            "aggregate_id": kind.id_of(record),
            "region_id": kind.market_of(record),
            "at_ms": command.at_ms,
            "payload": {
                "id": kind.id_of(record),
                "version": getattr(record, "version", None),
                "by": str(command.role),
            },
        }
        for kind, record in records
    ]
    await connection.execute(insert(OUTBOX), rows)


async def _salt(connection: AsyncConnection, record_id: str) -> bytes:
    """The salt of a record's commitments, made with the first of them."""
    made = upsert(SALTS).values(aggregate_id=record_id, salt=secrets.token_bytes(32))
    await connection.execute(made.on_conflict_do_nothing())
    salt: bytes = (
        await connection.execute(select(SALTS.c.salt).where(SALTS.c.aggregate_id == record_id))
    ).scalar_one()
    return salt


async def _keep(connection: AsyncConnection, claim: Claim, view: Any, at_ms: int) -> None:
    values = {"scope": claim.scope, "key": claim.key, "fingerprint": claim.fingerprint, "detail": ""}
    await connection.execute(insert(ANSWERS).values(**values, body=msgspec.to_builtins(view), at_ms=at_ms))


@contextmanager
def _told() -> Iterator[None]:
    """The refusal that a constraint stands for, without the driver's words: they hold what was sent."""
    try:
        yield
    except IntegrityError as error:
        name = getattr(error.orig.__cause__ if error.orig else None, "constraint_name", None)
        refusal = _REFUSALS.get(str(name))
        if refusal is None:
            raise
        raise refusal() from None
