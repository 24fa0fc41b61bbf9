"""Payouts: what a merchant or a driver is owed, paid once for a party and a period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from domain.errors import InvalidRequest, PeriodOverlaps
from domain.marketplace.change import Command, Decision
from domain.marketplace.earnings import Earning, MoneyPolicy, guarantee_cents
from domain.marketplace.money import PAYABLES, Account, Facts, Guaranteed, PaidOut, Party, movements


class Payout(Struct, frozen=True, kw_only=True):
    """What was paid to a party for a period, from `from_ms` until before `to_ms`. `work_cents`: sales or pay, with
    `guarantee_cents` that pay was raised by; `tips_cents`: besides."""

    payout_id: str
    party: Party
    party_id: str
    from_ms: int
    to_ms: int
    work_cents: int
    guarantee_cents: int
    tips_cents: int
    created_ms: int

    @property
    def total_cents(self) -> int:
        """All of it."""
        return self.work_cents + self.tips_cents


class Owed(Struct, frozen=True, kw_only=True):
    """What the ledger owes a party of all until the period's end, less all that was ever paid; what a driver has earned
    within the period, by market; and the payouts that touch it."""

    by_account: Mapping[Account, int]
    earned: Mapping[str, Sequence[Earning]]
    touching: Sequence[Payout]


class ClosePayout(Struct, frozen=True, kw_only=True):
    """Pay a party for a period. `rules`: of each market, for the hourly guarantee."""

    payout_id: str
    party: Party
    party_id: str
    from_ms: int
    to_ms: int
    rules: Mapping[str, MoneyPolicy]


def close_payout(action: ClosePayout, before: Owed, command: Command) -> Decision:
    """Shows the payout: the first one of the period if there is one, None where nothing is owed: that is carried on to
    the next. `PeriodOverlaps` where another period of theirs was paid in part of this one."""
    if not action.from_ms < action.to_ms <= command.at_ms:
        raise InvalidRequest("A period has a beginning and an end, and is over.")
    for one in before.touching:
        if (one.from_ms, one.to_ms) == (action.from_ms, action.to_ms):
            return Decision(shown=one)
        raise PeriodOverlaps()
    raised_cents = sum(
        guarantee_cents(earned, action.rules.get(market, MoneyPolicy()))
        for market, earned in before.earned.items()
    )
    work, *tips = PAYABLES[action.party]
    owed = {account: before.by_account.get(account, 0) for account in (work, *tips)}
    owed[work] += raised_cents
    if sum(owed.values()) <= 0:
        return Decision(shown=None)
    payout = Payout(
        payout_id=action.payout_id,
        party=action.party,
        party_id=action.party_id,
        from_ms=action.from_ms,
        to_ms=action.to_ms,
        work_cents=owed[work],
        guarantee_cents=raised_cents,
        tips_cents=sum(owed[account] for account in tips),
        created_ms=command.at_ms,
    )
    facts: list[Facts] = [
        PaidOut(
            payout_id=payout.payout_id,
            party=action.party,
            party_id=action.party_id,
            owed=tuple(owed.items()),
        )
    ]
    if raised_cents:
        raised = Guaranteed(payout_id=payout.payout_id, driver_id=action.party_id, amount_cents=raised_cents)
        facts.insert(0, raised)
    return Decision(shown=payout, new=(payout,), event="closed", movements=movements(facts, command.at_ms))
