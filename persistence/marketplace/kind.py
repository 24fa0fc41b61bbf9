"""How one kind of record is kept, and which decision an action is put to. A resource's file says both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Column,
    Delete,
    Executable,
    Select,
    Table,
    Update,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Refusal
from domain.marketplace.change import Command, Decision

# (action, the record that it is about or None, command)
Decide: TypeAlias = Callable[[Any, Any, Command], Decision]


# (the transaction, the action): what is decided on
Look: TypeAlias = Callable[[AsyncConnection, Any], Awaitable[Any]]


class Kind(Struct, frozen=True, kw_only=True):
    """Records of one table, whose columns are the fields of `record`.

    `aggregate`: their name for events and the audit log. `owner`: the column that says whose they are. `market`: the
    one that says where, if they are of a market. `changes`: columns that may change, and no others: the database's role
    has the right to these. `erasable`: rows may go for good. `quota`: so many an owner may have. `refusals`: what a
    constraint that bites means, by its name. `missing`: said of a record that is not there, or not theirs.
    """

    aggregate: str
    table: Table
    record: type[Struct]
    missing: str
    owner: str | None = None
    market: str | None = None
    changes: tuple[str, ...] = ()
    erasable: bool = False
    quota: int | None = None
    refusals: Mapping[str, Callable[[], Refusal]] = {}

    @property
    def key(self) -> Column[str]:
        """The column of the id."""
        (column,) = self.table.primary_key.columns
        return column

    @property
    def rights(self) -> tuple[str, ...]:
        """The columns that an update may set."""
        return (*self.changes, "version") if "version" in self.table.c else self.changes

    def id_of(self, record: Struct) -> str:
        """A record's id."""
        return str(getattr(record, self.key.name))

    def market_of(self, record: Struct) -> str:
        """The market that a record is of; empty where it is of none."""
        return str(getattr(record, self.market)) if self.market else ""

    def whose(self, command: Command) -> str | None:
        """The id that the owner's column must have for who commands: of the merchant that they work for where it is
        one's, else their own. None: anybody's will do."""
        if command.owner_id is None or self.owner is None:
            return None
        return command.merchant_id if self.owner == "merchant_id" else command.owner_id

    def find(self, record_id: str, owner_id: str | None) -> Select[Any]:
        """The record, if it is this owner's; None: anybody's. The place where a tenant is asked for."""
        query = select(self.table).where(self.key == record_id)
        if owner_id is not None and self.owner is not None:
            query = query.where(self.table.c[self.owner] == owner_id)
        return query

    def change(self, before: Struct, after: Struct) -> Update:
        """The update that makes `after` of `before`, which is locked."""
        new = columns(after)
        changed = {name: new[name] for name, value in columns(before).items() if new[name] != value}
        return update(self.table).where(self.key == self.id_of(after)).values(changed)

    def remove(self, record: Struct) -> Delete:
        """What erases the record, which is locked."""
        return delete(self.table).where(self.key == self.id_of(record))

    def had(self, owner_id: str) -> Select[Any]:
        """How many this owner has, counted no further than matters."""
        assert self.owner is not None
        assert self.quota is not None
        some = select(literal(1)).where(self.table.c[self.owner] == owner_id).limit(self.quota)
        return select(func.count()).select_from(some.subquery())

    def of(self, row: RowMapping) -> Any:
        """A row as its record."""
        return msgspec.convert(dict(row), self.record)


class Step(Struct, frozen=True, kw_only=True):
    """What becomes of an action. `kind`: of the record that it makes or changes, None for none; `on`: of the record
    that it is about, which is locked first and whose id the action has under the name of its column; `with_it`: a
    statement that belongs to what was decided, carried out after it in the same transaction."""

    decide: Decide
    kind: Kind | None = None
    on: Kind | None = None
    with_it: Callable[[Decision, Command], Executable | None] = lambda decision, command: None
    look: Look | None = None


def columns(record: Struct) -> dict[str, Any]:
    """A record as the values of a row."""
    values: dict[str, Any] = msgspec.to_builtins(record)
    return values
