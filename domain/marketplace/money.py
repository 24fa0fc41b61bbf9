"""The ledger: what happened to money, as movements whose entries sum to zero.

An entry above zero is a debit (an asset or an expense grows, a debt falls), one below zero a credit. Balances are sums
of entries and are kept nowhere else. A movement is made of facts by the one function that its reason has in `REASONS`,
and is named by reason and reference: what happened once is in the ledger once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct


class Account(StrEnum):
    """Where money is, or whose it is. `docs/money.md` has the table of them."""

    HOLDS = "HOLDS"  # what the processor holds for us and has not taken: the counterpart of HELD
    HELD = "HELD"  # of a customer: held, and still theirs
    CLEARING = "CLEARING"  # taken by the processor from customers, less what went back to them
    BANK = "BANK"  # what went out to merchants and drivers, below zero
    MERCHANT_PAYABLE = "MERCHANT_PAYABLE"  # owed to a merchant
    DRIVER_PAYABLE = "DRIVER_PAYABLE"  # owed to a driver for work
    TIPS_PAYABLE = "TIPS_PAYABLE"  # owed to a driver, given by customers
    REFUNDS_PAYABLE = "REFUNDS_PAYABLE"  # promised back to a customer, and still on its way
    TAX_LIABILITY = "TAX_LIABILITY"  # sales tax collected for a jurisdiction
    PLATFORM_REVENUE = "PLATFORM_REVENUE"  # delivery fees and commissions
    DRIVER_COST = "DRIVER_COST"  # what the platform pays drivers
    LOSSES = "LOSSES"  # what the platform gives back of money that others keep


class Party(StrEnum):
    """What the party of an account's entries is."""

    NOBODY = "nobody"
    CUSTOMER = "customer"
    MERCHANT = "merchant"
    DRIVER = "driver"
    JURISDICTION = "jurisdiction"


PARTIES: dict[Account, Party] = {
    Account.HOLDS: Party.NOBODY,
    Account.HELD: Party.CUSTOMER,
    Account.CLEARING: Party.NOBODY,
    Account.BANK: Party.NOBODY,
    Account.MERCHANT_PAYABLE: Party.MERCHANT,
    Account.DRIVER_PAYABLE: Party.DRIVER,
    Account.TIPS_PAYABLE: Party.DRIVER,
    Account.REFUNDS_PAYABLE: Party.CUSTOMER,
    Account.TAX_LIABILITY: Party.JURISDICTION,
    Account.PLATFORM_REVENUE: Party.NOBODY,
    Account.DRIVER_COST: Party.NOBODY,
    Account.LOSSES: Party.NOBODY,
}

# What a payout to a party of this kind clears.
PAYABLES: dict[Party, tuple[Account, ...]] = {
    Party.MERCHANT: (Account.MERCHANT_PAYABLE,),
    Party.DRIVER: (Account.DRIVER_PAYABLE, Account.TIPS_PAYABLE),
}


class Reason(StrEnum):
    """Why money moved."""

    ORDER_AUTHORIZED = "ORDER_AUTHORIZED"
    ORDER_VOIDED = "ORDER_VOIDED"
    ORDER_CAPTURED = "ORDER_CAPTURED"
    DRIVER_EARNED = "DRIVER_EARNED"
    GUARANTEE_EARNED = "GUARANTEE_EARNED"
    TIP_CAPTURED = "TIP_CAPTURED"
    REFUND_REQUESTED = "REFUND_REQUESTED"
    REFUND_PAID = "REFUND_PAID"
    REFUND_FAILED = "REFUND_FAILED"
    REFUND_RETURNED = "REFUND_RETURNED"
    PAID_OUT = "PAID_OUT"


class Entry(Struct, frozen=True):
    """One line of a movement; `party_id` is empty where the account is nobody's in particular."""

    account: Account
    party_id: str
    amount_cents: int


Lines: TypeAlias = tuple[Entry, ...]


class Movement(Struct, frozen=True, kw_only=True):
    """What happened. `movement_id` follows from reason and reference, so that both are unique together."""

    movement_id: str
    reason: Reason
    reference: str
    order_id: str | None
    at_ms: int
    entries: Lines


class Amounts(Struct, frozen=True, kw_only=True):
    """What a sum is made of, in cents."""

    goods_cents: int = 0
    fee_cents: int = 0
    tax_cents: int = 0
    tip_cents: int = 0

    @property
    def total_cents(self) -> int:
        """All of it."""
        return self.goods_cents + self.fee_cents + self.tax_cents + self.tip_cents

    def less(self, other: Amounts) -> Amounts:
        """What is left without the other, part by part."""
        parts = zip(_parts(self), _parts(other), strict=True)
        return Amounts(**{name: mine - theirs for (name, mine), (_, theirs) in parts})

    def plus(self, other: Amounts) -> Amounts:
        """Both, part by part."""
        parts = zip(_parts(self), _parts(other), strict=True)
        return Amounts(**{name: mine + theirs for (name, mine), (_, theirs) in parts})


def _parts(amounts: Amounts) -> Iterator[tuple[str, int]]:
    for name in Amounts.__struct_fields__:
        yield name, getattr(amounts, name)


# -- rounding ---------------------------------------------------------------------------------------------------------


def share_of(cents: int, basis_points: int) -> int:
    """So many hundredths of a per cent, half a cent and more rounded up: a rule, and never a float. Not below zero."""
    return (cents * basis_points + 5_000) // 10_000


def split(cents: int, weights: Sequence[int]) -> list[int]:
    """`cents` in proportion to the weights by largest remainder: whole cents that add up to exactly all of it, each at
    most one from its exact share; of equal remainders the earlier weight's comes first. All zero where nothing has any
    weight and there is nothing to split; `ValueError` for something to split without a weight."""
    whole = sum(weights)
    if whole == 0:
        if cents:
            raise ValueError("there is nothing to split this by")
        return [0] * len(weights)
    shares = [cents * weight // whole for weight in weights]
    rest = cents - sum(shares)
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(cents * weights[place] % whole), place))
    for place in by_remainder[:rest]:
        shares[place] += 1
    return shares


def part_of(left: Amounts, cents: int) -> Amounts:
    """The part of what is left that `cents` are: goods, fee, tax and tip in proportion. What the last part gives back
    is what all parts before have left over, so that parts add up to exactly the whole, each line for itself."""
    names, weights = zip(*_parts(left), strict=True)
    return Amounts(**dict(zip(names, split(cents, weights), strict=True)))


# -- facts, and what they move ----------------------------------------------------------------------------------------


class Held(Struct, frozen=True, kw_only=True):
    """The processor holds the order's total. `number`: of the authorization."""

    order_id: str
    number: int
    customer_id: str
    amount_cents: int


class LetGo(Struct, frozen=True, kw_only=True):
    """A hold is let go: nothing was taken."""

    order_id: str
    number: int
    customer_id: str
    amount_cents: int


class Captured(Struct, frozen=True, kw_only=True):
    """The goods were handed over and the money is taken, at most what was held. `merchant_taxes`: the merchant, not the
    platform, owes the tax. `commission_cents`: the platform's share of the goods."""

    order_id: str
    held_cents: int
    customer_id: str
    merchant_id: str
    driver_id: str
    jurisdiction: str
    amounts: Amounts
    commission_cents: int
    merchant_taxes: bool


class Earned(Struct, frozen=True, kw_only=True):
    """A driver has brought an order, or brought it back."""

    order_id: str
    task_id: str
    driver_id: str
    amount_cents: int


class Guaranteed(Struct, frozen=True, kw_only=True):
    """A driver's pay of a period is raised to the hourly guarantee."""

    payout_id: str
    driver_id: str
    amount_cents: int


class Tipped(Struct, frozen=True, kw_only=True):
    """A tip after the order was paid, in a payment of its own."""

    order_id: str
    payment_id: str
    driver_id: str
    amount_cents: int


class RefundFacts(Struct, frozen=True, kw_only=True):
    """What a refund gives back and who bears it: the goods are the merchant's loss (less the commission on them) or
    the platform's; the fee is the platform's; tax is not owed any more; a tip stays the driver's and is the platform's
    loss."""

    refund_id: str
    order_id: str
    customer_id: str
    merchant_id: str
    jurisdiction: str
    parts: Amounts
    commission_cents: int
    merchant_bears: bool
    merchant_taxes: bool


class Promised(Struct, frozen=True):
    """A refund was asked for: the customer is owed it."""

    refund: RefundFacts


class GivenBack(Struct, frozen=True):
    """The processor has given the refund back."""

    refund: RefundFacts


class NotGivenBack(Struct, frozen=True):
    """The processor will not: the promise is taken back, and may be made again."""

    refund: RefundFacts


class CameBack(Struct, frozen=True):
    """A refund that was given back came back, such as from a card that is no more: as if it had never been."""

    refund: RefundFacts


class PaidOut(Struct, frozen=True, kw_only=True):
    """A party was paid what it is owed, by account."""

    payout_id: str
    party: Party
    party_id: str
    owed: tuple[tuple[Account, int], ...]


Facts: TypeAlias = (
    Held
    | LetGo
    | Captured
    | Earned
    | Guaranteed
    | Tipped
    | Promised
    | GivenBack
    | NotGivenBack
    | CameBack
    | PaidOut
)


def _held(facts: Held) -> Lines:
    return (
        Entry(Account.HOLDS, "", facts.amount_cents),
        Entry(Account.HELD, facts.customer_id, -facts.amount_cents),
    )


def _let_go(facts: LetGo) -> Lines:
    return (
        Entry(Account.HOLDS, "", -facts.amount_cents),
        Entry(Account.HELD, facts.customer_id, facts.amount_cents),
    )


def _captured(facts: Captured) -> Lines:
    amounts, commission = facts.amounts, facts.commission_cents
    tax = Account.MERCHANT_PAYABLE if facts.merchant_taxes else Account.TAX_LIABILITY
    whose_tax = facts.merchant_id if facts.merchant_taxes else facts.jurisdiction
    return (
        Entry(Account.HOLDS, "", -facts.held_cents),
        Entry(Account.HELD, facts.customer_id, facts.held_cents),
        Entry(Account.CLEARING, "", amounts.total_cents),
        Entry(Account.MERCHANT_PAYABLE, facts.merchant_id, -(amounts.goods_cents - commission)),
        Entry(Account.PLATFORM_REVENUE, "", -(amounts.fee_cents + commission)),
        Entry(tax, whose_tax, -amounts.tax_cents),
        Entry(Account.TIPS_PAYABLE, facts.driver_id, -amounts.tip_cents),
    )


def _earned(facts: Earned) -> Lines:
    return _worked(facts.driver_id, facts.amount_cents)


def _guaranteed(facts: Guaranteed) -> Lines:
    return _worked(facts.driver_id, facts.amount_cents)


def _worked(driver_id: str, amount_cents: int) -> Lines:
    return (
        Entry(Account.DRIVER_COST, "", amount_cents),
        Entry(Account.DRIVER_PAYABLE, driver_id, -amount_cents),
    )


def _tipped(facts: Tipped) -> Lines:
    return (
        Entry(Account.CLEARING, "", facts.amount_cents),
        Entry(Account.TIPS_PAYABLE, facts.driver_id, -facts.amount_cents),
    )


def _promised(facts: Promised) -> Lines:
    refund = facts.refund
    parts, commission = refund.parts, refund.commission_cents
    tax = Account.MERCHANT_PAYABLE if refund.merchant_taxes else Account.TAX_LIABILITY
    whose_tax = refund.merchant_id if refund.merchant_taxes else refund.jurisdiction
    if refund.merchant_bears:
        goods: Lines = (
            Entry(Account.MERCHANT_PAYABLE, refund.merchant_id, parts.goods_cents - commission),
            Entry(Account.PLATFORM_REVENUE, "", parts.fee_cents + commission),
        )
    else:
        goods = (
            Entry(Account.LOSSES, "", parts.goods_cents),
            Entry(Account.PLATFORM_REVENUE, "", parts.fee_cents),
        )
    return (
        *goods,
        Entry(tax, whose_tax, parts.tax_cents),
        Entry(Account.LOSSES, "", parts.tip_cents),
        Entry(Account.REFUNDS_PAYABLE, refund.customer_id, -parts.total_cents),
    )


def _given_back(facts: GivenBack) -> Lines:
    cents = facts.refund.parts.total_cents
    return (
        Entry(Account.REFUNDS_PAYABLE, facts.refund.customer_id, cents),
        Entry(Account.CLEARING, "", -cents),
    )


def _not_given_back(facts: NotGivenBack) -> Lines:
    return _reversed(_promised(Promised(facts.refund)))


def _came_back(facts: CameBack) -> Lines:
    return (*_reversed(_given_back(GivenBack(facts.refund))), *_reversed(_promised(Promised(facts.refund))))


def _reversed(lines: Lines) -> Lines:
    return tuple(Entry(one.account, one.party_id, -one.amount_cents) for one in lines)


def _paid_out(facts: PaidOut) -> Lines:
    owed = tuple(Entry(account, facts.party_id, cents) for account, cents in facts.owed)
    return (*owed, Entry(Account.BANK, "", -sum(cents for _, cents in facts.owed)))


class Rule(Struct, frozen=True):
    """How facts of one kind become a movement. `reference`: what names it among those of its reason; `order_id`: the
    order that it is about, None where it is about none."""

    reason: Reason
    lines: Callable[[Any], Lines]
    reference: Callable[[Any], str]
    order_id: Callable[[Any], str | None]


def _of_refund(reason: Reason, lines: Callable[[Any], Lines]) -> Rule:
    return Rule(reason, lines, lambda f: f.refund.refund_id, lambda f: f.refund.order_id)


REASONS: dict[type[Struct], Rule] = {
    Held: Rule(Reason.ORDER_AUTHORIZED, _held, lambda f: f"{f.order_id}/{f.number}", lambda f: f.order_id),
    LetGo: Rule(Reason.ORDER_VOIDED, _let_go, lambda f: f"{f.order_id}/{f.number}", lambda f: f.order_id),
    Captured: Rule(Reason.ORDER_CAPTURED, _captured, lambda f: f.order_id, lambda f: f.order_id),
    Earned: Rule(Reason.DRIVER_EARNED, _earned, lambda f: f.task_id, lambda f: f.order_id),
    Guaranteed: Rule(Reason.GUARANTEE_EARNED, _guaranteed, lambda f: f.payout_id, lambda _: None),
    Tipped: Rule(Reason.TIP_CAPTURED, _tipped, lambda f: f.payment_id, lambda f: f.order_id),
    Promised: _of_refund(Reason.REFUND_REQUESTED, _promised),
    GivenBack: _of_refund(Reason.REFUND_PAID, _given_back),
    NotGivenBack: _of_refund(Reason.REFUND_FAILED, _not_given_back),
    CameBack: _of_refund(Reason.REFUND_RETURNED, _came_back),
    PaidOut: Rule(Reason.PAID_OUT, _paid_out, lambda f: f.payout_id, lambda _: None),
}


def movement(facts: Facts, at_ms: int) -> Movement | None:
    """What these facts move; None where that is nothing at all, such as a hold of zero cents."""
    rule = REASONS[type(facts)]
    reference = rule.reference(facts)
    entries = tuple(one for one in rule.lines(facts) if one.amount_cents)
    assert sum(one.amount_cents for one in entries) == 0, "the entries of a movement sum to zero"
    if not entries:
        return None
    return Movement(
        movement_id=movement_id(rule.reason, reference),
        reason=rule.reason,
        reference=reference,
        order_id=rule.order_id(facts),
        at_ms=at_ms,
        entries=entries,
    )


def movements(facts: Sequence[Facts], at_ms: int) -> tuple[Movement, ...]:
    """What each of these facts moves."""
    found = (movement(one, at_ms) for one in facts)
    return tuple(one for one in found if one is not None)


def movement_id(reason: Reason, reference: str) -> str:
    """The id of the one movement of this name: the first half of a SHA-256, as the migration has it as well."""
    return str(UUID(bytes=hashlib.sha256(f"{reason}:{reference}".encode()).digest()[:16]))
