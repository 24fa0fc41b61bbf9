"""A change of the marketplace's records: who asks for what, and what is decided."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from domain.errors import Refusal, VersionMismatch
from domain.marketplace.money import Movement
from domain.marketplace.party import Membership
from domain.orders.lifecycle import Role

V = TypeVar("V")


class Claim(Struct, frozen=True):
    """What tells a request from others, so that a repeat gets the first answer: `scope` is principal and route,
    `fingerprint` a digest of all that is asked."""

    scope: str
    key: str
    fingerprint: str


class Command(Struct, frozen=True, kw_only=True):
    """One change. `action`: a struct of a resource; `owner_id`: whose record it must be, None where anybody's will do;
    `member`: whom the actor works for, whose record it must be where it is a merchant's; `claim` None: it cannot come
    again; `audit`: it goes into the log of what operators did."""

    action: Any
    actor_id: str
    role: Role
    at_ms: int
    owner_id: str | None
    member: Membership | None = None
    claim: Claim | None = None
    if_match: tuple[int, ...] | None = None
    audit: bool = False

    @property
    def merchant_id(self) -> str:
        """The merchant that the actor works for; empty for none."""
        return "" if self.member is None else self.member.merchant_id


def by_operator(action: Any, at_ms: int, name: str) -> Command:
    """A change from the command line, by whoever may use it; it cannot come again."""
    return Command(action=action, actor_id=name, role=Role.ADMIN, at_ms=at_ms, owner_id=None, audit=True)


class VendorAsk(Struct, frozen=True, kw_only=True):
    """What the payment vendor is asked for about an order, once the change is committed."""

    topic: str
    order_id: str
    region_id: str
    payload: dict[str, Any]


class Decision(Struct, frozen=True, kw_only=True):
    """What is to be written: records that come into being, of whatever kinds and in this order, the one that changes
    (the kit gives it its next version), or the one that is no more. `shown`: what the answer is about. `event`: what
    happened, as others are told, such as `opened`. `movements`: of money, and `asks`: of the payment vendor."""

    shown: Any
    new: tuple[Struct, ...] = ()
    changed: Struct | None = None
    removed: Struct | None = None
    event: str = ""
    movements: tuple[Movement, ...] = ()
    asks: tuple[VendorAsk, ...] = ()


class Carried(Struct, Generic[V], frozen=True):
    """What came of a command: the view that was made of it, or the first one under its claim."""

    view: V
    replayed: bool = False


class Done(Struct, frozen=True):
    """What only the answer is left of: its effect is in no record. The answer is kept for repeats all the same."""

    view: Any


def done(action: Done, before: None, command: Command) -> Decision:
    """See `Done`."""
    return Decision(shown=action.view)


def settled(decide: Any, before: Any, command: Command) -> Decision:
    """The decision on the record as it is, `before`, at its next version if it changes. `VersionMismatch` when the
    client has seen another version, unless what it wants is so already: a repeat then finds it done."""
    stale = command.if_match is not None and before is not None and before.version not in command.if_match
    try:
        decision: Decision = decide(command.action, before, command)
    except Refusal:
        if stale:
            raise _mismatch(before) from None
        raise
    if decision.removed is not None and stale:
        raise _mismatch(before)
    if decision.changed is None or decision.changed == before:
        return replace(decision, changed=None, event="") if decision.changed is not None else decision
    if stale:
        raise _mismatch(before)
    if not hasattr(before, "version"):
        return decision
    after = replace(decision.changed, version=before.version + 1)
    return replace(decision, changed=after, shown=after)


def _mismatch(before: Any) -> VersionMismatch:
    return VersionMismatch(f"The {type(before).__name__.lower()} is at version {before.version}.")
