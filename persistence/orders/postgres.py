"""`PostgresStore`: the hard state in Postgres, see `domain.ports.Store`."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from domain.orders.decide import PolicyOf, one_policy
from domain.orders.records import (
    Json,
    NotTaken,
    OutboxEvent,
    Outcome,
    RegionImage,
)
from domain.ports import IN_ORDER, Channel, Command
from persistence.engine import Connection, create_engine, driver_connection
from persistence.orders.image import load_image, settle, take_epoch
from persistence.orders.isolate import (
    REFUSALS,
    around_the_locked,
    carry_out,
    constraint_of,
    one_by_one,
    orders,
)
from persistence.orders.load import Row
from persistence.orders.write import KeyTaken
from persistence.pool import CONNECT_TIMEOUT_S, IDLE_TIMEOUT_S, LOCK_TIMEOUT_S, POOL_SIZE, STATEMENT_TIMEOUT_S

log = logging.getLogger(__name__)

OUTBOX_KEEP_S = 3600.0  # wall time that an event stays after it was handed on, for people to look at
IDLE_S = 0.4  # after which a transaction that stands in a region's way is a frozen process's
ATTEMPTS = 6  # of a transaction that met another one (deadlock, serialization failure, the same new key)

_MET_ANOTHER = (KeyTaken, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
SUSPECT_S = 2.0  # that a locked order is not waited for again


class PostgresStore:
    """`domain.ports.Store` on Postgres. Several stores in several processes may append at once: the rows arbitrate.

    Appends of one region's records must be made one after the other, in the order of its decisions.
    """

    def __init__(
        self,
        database_url: str,
        *,
        pool_size: int = POOL_SIZE,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        name: str = "doorstep",
        policy_of: PolicyOf = one_policy,
    ) -> None:
        """Connections are made when first needed. `connect_timeout_s` also bounds the wait for a free one; the others
        are those of `persistence.engine.create_engine`."""
        self._policy_of = policy_of
        self._suspects: dict[str, float] = {}  # order -> until when it is not waited for
        self.engine = create_engine(
            database_url,
            pool_size=pool_size,
            statement_timeout_s=statement_timeout_s,
            connect_timeout_s=connect_timeout_s,
            lock_timeout_s=lock_timeout_s,
            idle_timeout_s=idle_timeout_s,
            name=name,
            by_key=True,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()

    # -- the append ---------------------------------------------------------------------------------------------------

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """Carry out each command for itself in one transaction; one outcome each, in order.

        Raises what the driver raises (connection lost, time-out, disk full): then nothing is known to be durable.
        """
        # What concerns an order that somebody has locked goes by itself, so that the rest waits for it but once.
        suspects = self._suspected()
        outcomes: dict[int, Outcome] = {}
        for shy in (False, True):
            places = [
                place
                for place, command in enumerate(commands)
                if (not suspects.isdisjoint(orders(command))) is shy
            ]
            if places:
                some = await self._append([commands[place] for place in places], shy)
                outcomes |= dict(zip(places, some, strict=True))
        return [outcomes[place] for place in range(len(commands))]

    async def _append(self, commands: Sequence[Command], shy: bool) -> list[Outcome]:
        for attempt in range(ATTEMPTS):
            try:
                try:
                    if shy:
                        return await self._around(commands)
                    async with self._transaction() as connection:
                        return await carry_out(connection, commands, self._policy_of)
                except asyncpg.LockNotAvailableError:
                    return await self._around(commands)
                except REFUSALS as error:
                    log.warning("a command was refused by the database: %s", constraint_of(error))
                    async with self._transaction() as connection:
                        return await one_by_one(connection, commands, self._policy_of)
            except _MET_ANOTHER:
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(random.uniform(0.5, 1.0) * 0.004 * 2**attempt)
        raise AssertionError("unreachable")

    async def _around(self, commands: Sequence[Command]) -> list[Outcome]:
        async with self._transaction() as connection:
            done = await around_the_locked(connection, commands, self._policy_of)
        for order_id in set().union(*map(orders, commands)):
            self._suspects.pop(order_id, None)
        until_s = asyncio.get_running_loop().time() + SUSPECT_S
        self._suspects |= dict.fromkeys(done.locked, until_s)
        return done.outcomes

    def _suspected(self) -> set[str]:
        """The orders that were locked a moment ago."""
        now_s = asyncio.get_running_loop().time()
        self._suspects = {
            order_id: until_s for order_id, until_s in self._suspects.items() if until_s > now_s
        }
        return set(self._suspects)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """A connection with a transaction on it."""
        async with driver_connection(self.engine) as connection, connection.transaction():
            yield connection

    # -- regions ------------------------------------------------------------------------------------------------------

    async def open_region(self, region_id: str, now_ms: int) -> RegionImage:
        """Take the region's next epoch (fencing every earlier one) and load its hard state, in one transaction.

        A transaction of ours that stands idle holds nothing up: its process is frozen or gone, and its session ended.
        """
        try:
            return await self._open(region_id, now_ms)
        except asyncpg.LockNotAvailableError:
            async with driver_connection(self.engine) as connection:
                ended = await connection.fetchval(_END_IDLE, IDLE_S)
            if not ended:
                raise
            log.warning(
                "%s transactions of frozen processes stood in the way of %s and were ended", ended, region_id
            )
            return await self._open(region_id, now_ms)

    async def _open(self, region_id: str, now_ms: int) -> RegionImage:
        async with self._transaction() as connection:
            return await load_image(connection, region_id, now_ms, await take_epoch(connection, region_id))

    async def look_at_region(self, region_id: str, now_ms: int) -> RegionImage:
        """See `domain.ports.RegionStore.look_at_region`."""
        async with self._transaction() as connection:
            return await load_image(connection, region_id, now_ms, 0)

    # -- the outbox ---------------------------------------------------------------------------------------------------

    async def outbox_batch(
        self,
        channel: Channel,
        limit: int,
        without: Collection[str] = (),
        under_way: Collection[int] = (),
    ) -> list[OutboxEvent]:
        """See `domain.ports.Store.outbox_batch`."""
        in_order = channel in IN_ORDER
        async with driver_connection(self.engine) as connection:
            rows = await connection.fetch(_DUE, channel, limit, list(without), list(under_way), in_order)
        return [_event_of(row) for row in rows]

    async def outbox_done(self, event_ids: Sequence[int]) -> None:
        """Mark events as published or worked off."""
        async with driver_connection(self.engine) as connection:
            await connection.execute(_DONE, list(event_ids))

    async def outbox_not_taken(self, events: Sequence[NotTaken]) -> None:
        """See `domain.ports.Store.outbox_not_taken`."""
        columns = [[getattr(event, name) for event in events] for name in NotTaken.__struct_fields__]
        async with driver_connection(self.engine) as connection:
            await connection.execute(_NOT_TAKEN, *columns)

    async def open_payments(self, before_ms: int, limit: int) -> list[tuple[str, int]]:
        """Order and number of authorizations that are open since before then, the oldest first."""
        async with driver_connection(self.engine) as connection:
            rows = await connection.fetch(_OPEN_PAYMENTS, before_ms, limit)
        return [(str(row["order_id"]), row["number"]) for row in rows]

    # -- sweeping -----------------------------------------------------------------------------------------------------

    async def sweep(self, before_ms: int, explained_before_ms: int, limit: int) -> int:
        """Forget at most `limit` answers older than `before_ms`, as many explanations of offers made before
        `explained_before_ms`, and as many events done with for `OUTBOX_KEEP_S`."""
        swept = 0
        for statement, cutoff in (
            (_SWEEP_ANSWERS, before_ms),
            (_SWEEP_EXPLANATIONS, explained_before_ms),
            (_SWEEP_OUTBOX, OUTBOX_KEEP_S),
        ):
            async with driver_connection(self.engine) as connection:
                swept += _count(await connection.execute(statement, cutoff, limit))
        return swept

    async def retire(self, over_before_ms: int, offers_before_ms: int | None, limit: int) -> int:
        """Add what was over before `over_before_ms` to the regions' totals, then forget at most `limit` offers made
        before `offers_before_ms` (None: none)."""
        async with driver_connection(self.engine) as connection:
            regions = [row["region_id"] for row in await connection.fetch(_REGIONS)]
        for region_id in regions:
            try:
                async with self._transaction() as connection:
                    await settle(connection, region_id, over_before_ms)
            except asyncpg.LockNotAvailableError:  # the others' turn; it comes again
                log.warning("the totals of %s are locked", region_id)
        if offers_before_ms is None:
            return 0
        async with driver_connection(self.engine) as connection:
            return int(await connection.fetchval(_FORGET_OFFERS, offers_before_ms, limit))

    # -- works that one does at a time --------------------------------------------------------------------------------

    async def lease(self, name: str, holder: str, for_s: float) -> bool:
        """Take or renew the lease for so much of the database's time; False when somebody else has it."""
        async with driver_connection(self.engine) as connection:
            return await connection.fetchval(_LEASE, name, holder, for_s) is not None

    async def release(self, holder: str) -> None:
        """See `domain.ports.Store.release`."""
        async with driver_connection(self.engine) as connection:
            await connection.execute(_RELEASE, holder)


def _event_of(row: Row) -> OutboxEvent:
    """One whose payload cannot be read has a `fault`: it must not take its neighbours along."""
    payload, fault = {}, None
    try:
        payload = msgspec.json.decode(row["payload"], type=dict[str, Json])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        fault = f"unreadable: {type(error).__name__}"
    return OutboxEvent(
        event_id=row["event_id"],
        topic=row["topic"],
        aggregate=row["aggregate"],
        aggregate_id=str(row["aggregate_id"]),
        region_id=row["region_id"],
        at_ms=row["at_ms"],
        payload=payload,
        attempts=row["attempts"],
        fault=fault,
    )


# The regions that something waits for, each by one look into the index; then the oldest of each, the new ones and those
# that were tried apart. Whether an event must wait for an earlier one is asked of each only where there is such a one.
_DUE = """
WITH RECURSIVE waiting AS (
    (SELECT region_id FROM outbox WHERE channel = $1 AND done_at IS NULL ORDER BY region_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.region_id FROM outbox o
            WHERE o.channel = $1 AND o.done_at IS NULL AND o.region_id > w.region_id ORDER BY o.region_id LIMIT 1)
    FROM waiting w WHERE w.region_id IS NOT NULL
)
SELECT due.* FROM waiting w CROSS JOIN LATERAL (
    (SELECT event_id, topic, aggregate, aggregate_id, region_id, at_ms, payload::text AS payload, attempts
     FROM outbox o
     WHERE channel = $1 AND region_id = w.region_id AND stage = 'NEW' AND done_at IS NULL
       AND event_id <> ALL ($4::bigint[])
       AND NOT ($5 AND (SELECT EXISTS (SELECT FROM outbox WHERE channel = $1 AND done_at IS NULL AND stage <> 'NEW'))
         AND EXISTS (
           SELECT FROM outbox held WHERE held.aggregate_id = o.aggregate_id AND held.aggregate = o.aggregate
             AND held.event_id < o.event_id AND held.done_at IS NULL AND held.stage <> 'NEW' AND held.channel = $1))
     ORDER BY event_id LIMIT $2)
    UNION ALL
    (SELECT event_id, topic, aggregate, aggregate_id, region_id, at_ms, payload::text AS payload, attempts
     FROM outbox o
     WHERE channel = $1 AND region_id = w.region_id AND stage = 'AGAIN' AND done_at IS NULL AND next_try_at <= now()
       AND event_id <> ALL ($4::bigint[])
       AND NOT ($5 AND EXISTS (
           SELECT FROM outbox held WHERE held.aggregate_id = o.aggregate_id AND held.aggregate = o.aggregate
             AND held.event_id < o.event_id AND held.done_at IS NULL AND held.channel = $1
             AND (held.stage = 'DEAD' OR held.next_try_at > now())))
     ORDER BY event_id LIMIT $2)
) due
WHERE w.region_id IS NOT NULL AND w.region_id <> ALL ($3::text[]) ORDER BY due.event_id
"""
_NOT_TAKEN = """
UPDATE outbox o SET attempts = o.attempts + 1, reason = n.reason,
    stage = CASE WHEN n.again_s IS NULL THEN 'DEAD' ELSE 'AGAIN' END,
    next_try_at = now() + make_interval(secs => n.again_s)
FROM unnest($1::bigint[], $2::text[], $3::float8[]) AS n(event_id, reason, again_s)
WHERE o.event_id = n.event_id AND o.done_at IS NULL
"""
_DONE = "UPDATE outbox SET done_at = now() WHERE event_id = ANY($1::bigint[]) AND done_at IS NULL"
_OPEN_PAYMENTS = """
SELECT order_id, (payments -> -1 ->> 'number')::int AS number FROM orders
WHERE payment_open_ms < $1 ORDER BY payment_open_ms LIMIT $2
"""
_SWEEP_ANSWERS = """
DELETE FROM idempotency WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency WHERE at_ms < $1 ORDER BY at_ms LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
_SWEEP_EXPLANATIONS = """
DELETE FROM offer_explanations WHERE offer_id = ANY(ARRAY(
    SELECT offer_id FROM offer_explanations WHERE made_ms < $1 ORDER BY made_ms LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
_SWEEP_OUTBOX = """
DELETE FROM outbox WHERE event_id = ANY(ARRAY(
    SELECT event_id FROM outbox WHERE done_at < now() - make_interval(secs => $1) AND stage <> 'DEAD'
    ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
# Sessions of this role's own: whoever else has the fence's row locked is a person, and is left alone.
_END_IDLE = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid, 1000)) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
WHERE a.usename = current_user AND a.application_name LIKE 'doorstep%' AND a.state LIKE 'idle in transaction%'
  AND a.state_change < now() - make_interval(secs => $1) AND a.datname = current_database()
  AND l.relation = 'regions'::regclass AND l.granted AND a.pid <> pg_backend_pid()
"""
_REGIONS = "SELECT region_id FROM regions ORDER BY region_id"
_FORGET_OFFERS = "SELECT forget_offers($1, $2)"
_RELEASE = "DELETE FROM leases WHERE holder = $1 OR starts_with(holder, $1 || '/')"
_LEASE = """
INSERT INTO leases AS l (name, holder, until) VALUES ($1, $2, now() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
WHERE l.holder = EXCLUDED.holder OR l.until < now()
   OR l.until > now() + make_interval(secs => 2 * $3) -- the machine's clock was set back meanwhile
RETURNING true
"""


def _count(status: str) -> int:
    """The number of rows in a command tag such as `DELETE 3`."""
    return int(status.rsplit(" ", 1)[1])
