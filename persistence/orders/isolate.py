"""Carrying commands out in one transaction, and keeping the one that cannot be from the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import asyncpg
from msgspec.structs import replace

from domain.errors import InternalConflict
from domain.orders.decide import PolicyOf, one_policy
from domain.orders.records import Done, Fenced, Held, Outcome, RecordRefused, RegionRecords
from domain.orders.state import refused
from domain.ports import Command
from domain.region.locked_records import behind, orders_of, subjects
from persistence.engine import Connection
from persistence.orders.load import load, lock_free_orders
from persistence.orders.plan import ConstraintBroken, Needs, needs, plan
from persistence.orders.write import write

log = logging.getLogger(__name__)

# A row that the schema refuses: a key, a check, a trigger, or a value that its column cannot hold.
REFUSALS = (ConstraintBroken, asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, UnicodeError)
SHORT_LOCK_MS = 20  # a wait for a row on the way round the locked ones
LOCKED_LIMIT = 20  # rows that are waited for so; once they were that many the rest is not tried


class Around(NamedTuple):
    """What became of the commands, and the orders that somebody had locked."""

    outcomes: list[Outcome]
    locked: set[str]


def orders(command: Command) -> set[str]:
    """The orders that a command is about."""
    return orders_of(command.records) if isinstance(command, RegionRecords) else {command.order_id}


async def carry_out(
    connection: Connection, commands: Sequence[Command], policy_of: PolicyOf
) -> list[Outcome]:
    rows = await load(connection, needs(commands))
    planned = plan(commands, rows, policy_of)
    await write(connection, planned)
    return planned.outcomes


async def one_by_one(
    connection: Connection, commands: Sequence[Command], policy_of: PolicyOf
) -> list[Outcome]:
    """The slow path after a refusal: each command behind a savepoint of its own, so that only the bad one is lost."""
    need = needs(commands)
    # All locks at once and in order, as in the fast path; the commands then load again what they see of each other.
    await load(connection, Needs(regions=need.regions, orders=need.orders))
    outcomes: list[Outcome] = []
    for command in commands:
        try:
            async with connection.transaction():
                outcomes += await carry_out(connection, [command], policy_of)
        except REFUSALS as error:
            constraint = constraint_of(error)
            if isinstance(command, RegionRecords):
                record_id = await _offender(connection, command)
                log.error("record %s of %s broke %s", record_id, command.region_id, constraint)
                outcomes.append(RecordRefused(record_id, constraint))
            else:
                log.error("a command on order %s broke %s", command.order_id, constraint)
                outcomes.append(Done(refused(InternalConflict())))
    return outcomes


async def _offender(connection: Connection, command: RegionRecords) -> str:
    """The first record of the command that the database refuses; what is written in search of it is rolled back."""
    search = connection.transaction()
    await search.start()
    try:
        for record in command.records:
            try:
                async with connection.transaction():
                    await carry_out(
                        connection, [RegionRecords(command.region_id, command.epoch, (record,))], one_policy
                    )
            except REFUSALS:
                return record.record_id
    finally:
        await search.rollback()
    return command.records[-1].record_id


def constraint_of(error: BaseException) -> str:
    """The stable name of what refused a row: a constraint or trigger, else the column, else the SQLSTATE."""
    if isinstance(error, ConstraintBroken):
        return error.constraint
    name = getattr(error, "constraint_name", None)
    column = getattr(error, "column_name", None)
    return str(name or column or getattr(error, "sqlstate", None) or "data")


# -- round the locked ones --------------------------------------------------------------------------------------------


async def around_the_locked(
    connection: Connection, commands: Sequence[Command], policy_of: PolicyOf
) -> Around:
    """The slow path after a wait for a lock has ended in vain: what is locked and what rests on it is left out and
    answered with `Held`, all else is carried out."""
    await connection.execute(f"SET LOCAL lock_timeout = '{SHORT_LOCK_MS}ms'")
    locked = await lock_free_orders(connection, needs(commands).orders)
    free: list[Command] = []
    held: list[tuple[str, ...] | None] = []  # of each command: None when all of it is
    for command in commands:
        if isinstance(command, RegionRecords):
            waiting = behind(command.records, (), set(locked))
            names = tuple(record.record_id for record in waiting)
            held.append(names)
            kept = tuple(record for record in command.records if record.record_id not in names)
            free.append(replace(command, records=kept))  # even without records: the fence is asked
        elif command.order_id in locked:
            held.append(None)
        else:
            held.append(())
            free.append(command)
    try:
        async with connection.transaction():
            done = await carry_out(connection, free, policy_of)
    except (asyncpg.LockNotAvailableError, *REFUSALS):
        patience = Patience()
        done = [await _alone(connection, command, policy_of, patience) for command in free]
    outcomes: list[Outcome] = []
    rest = iter(done)
    for command, left_out in zip(commands, held, strict=True):
        outcome: Outcome = Held() if left_out is None else next(rest)
        if left_out and isinstance(outcome, Done | Held):
            more = outcome.record_ids if isinstance(outcome, Held) else ()
            outcome = Held((*left_out, *more))
        outcomes.append(outcome)
        if isinstance(outcome, Held):
            locked |= _held_orders(command, outcome)
    return Around(outcomes, locked)


class Patience:
    """How many rows were waited for in vain."""

    def __init__(self) -> None:
        self.waits = 0

    @property
    def over(self) -> bool:
        """Whether the next one is not even tried."""
        return self.waits >= LOCKED_LIMIT


async def _alone(
    connection: Connection, command: Command, policy_of: PolicyOf, patience: Patience
) -> Outcome:
    if patience.over:
        return _all_held(command)
    with suppress(asyncpg.LockNotAvailableError):
        async with connection.transaction():
            [outcome] = await one_by_one(connection, [command], policy_of)
        return outcome
    patience.waits += 1
    if not isinstance(command, RegionRecords):
        return Held()
    try:
        async with connection.transaction():
            return await _record_by_record(connection, command, patience)
    except asyncpg.LockNotAvailableError:  # the fence's own row
        return _all_held(command)
    except _Refused as refused_:
        return RecordRefused(refused_.record_id, refused_.constraint)


async def _record_by_record(connection: Connection, command: RegionRecords, patience: Patience) -> Outcome:
    [outcome] = await carry_out(connection, [replace(command, records=())], one_policy)
    if isinstance(outcome, Fenced):
        return outcome
    held: list[str] = []
    among: set[str] = set()
    for record in command.records:
        if patience.over or not among.isdisjoint(subjects(record)):
            held.append(record.record_id)
            among |= subjects(record)
            continue
        try:
            async with connection.transaction():
                await carry_out(connection, [replace(command, records=(record,))], one_policy)
        except asyncpg.LockNotAvailableError:
            patience.waits += 1
            held.append(record.record_id)
            among |= subjects(record)
        except REFUSALS as error:
            raise _Refused(record.record_id, constraint_of(error)) from error
    return Held(tuple(held)) if held else outcome


class _Refused(Exception):
    def __init__(self, record_id: str, constraint: str) -> None:
        self.record_id, self.constraint = record_id, constraint
        super().__init__(constraint)


def _all_held(command: Command) -> Held:
    if isinstance(command, RegionRecords):
        return Held(tuple(record.record_id for record in command.records))
    return Held()


def _held_orders(command: Command, outcome: Held) -> set[str]:
    if not isinstance(command, RegionRecords):
        return {command.order_id}
    return orders_of(record for record in command.records if record.record_id in outcome.record_ids)
