"""What a driver earns with an order: rules of a market as data, and pure functions of what was driven."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from domain.ground.geo import between_m


class TaxCollector(StrEnum):
    """Who owes the sales tax of an order."""

    MARKETPLACE = "marketplace"
    MERCHANT = "merchant"


class MoneyPolicy(Struct, frozen=True, kw_only=True):
    """A market's rules of money, in cents and hundredths of a per cent. Distances are great circles.

    A marketplace that takes the payment usually owes the tax in Texas (Tax Code 151.0242): ask counsel before
    `tax_collector` says otherwise.
    """

    tax_collector: TaxCollector = TaxCollector.MARKETPLACE
    commission_bp: int = 1_500  # of the goods, the platform's
    order_cents: int = 400  # for a delivery that came to the door
    km_cents: int = 60  # for each kilometre from store to door, and back where goods go back
    wait_cents_per_min: int = 25  # at the store, after the free minutes
    free_wait_min: int = 5
    return_cents: int = 300  # for a return, besides its kilometres
    guarantee_cents_per_h: int = 1_500  # for each hour with a task, without tips

    def __post_init__(self) -> None:
        if not 0 <= self.commission_bp <= 10_000:
            raise ValueError("commission_bp is from 0 to 10000")
        if min(getattr(self, name) for name in self.__struct_fields__ if name != "tax_collector") < 0:
            raise ValueError("pay is not less than nothing")


class Drive(Struct, frozen=True, kw_only=True):
    """A task that a driver has ended: what was driven, and when. `is_return`: the goods went back. `is_done`: it came
    to the door, or back. Times are None where that did not happen."""

    task_id: str
    order_id: str
    driver_id: str
    is_return: bool
    is_done: bool
    from_lat: float
    from_lng: float
    to_lat: float
    to_lng: float
    begun_ms: int
    ended_ms: int
    arrived_ms: int | None = None  # at the store
    picked_up_ms: int | None = None
    bump_cents: int = 0  # more pay, because nobody had wanted it


class Earning(Struct, frozen=True, kw_only=True):
    """What a driver is owed for a task, by what it is for."""

    task_id: str
    order_id: str
    driver_id: str
    is_return: bool
    order_cents: int
    distance_cents: int
    wait_cents: int
    bump_cents: int
    begun_ms: int
    ended_ms: int

    @property
    def total_cents(self) -> int:
        """All of it."""
        return self.order_cents + self.distance_cents + self.wait_cents + self.bump_cents


def earning(drive: Drive, rules: MoneyPolicy) -> Earning:
    """The pay of one task. Waiting is paid whether or not the order was brought; what was not driven is not."""
    metres = between_m(drive.from_lat, drive.from_lng, drive.to_lat, drive.to_lng) if drive.is_done else 0.0
    fixed_cents = rules.return_cents if drive.is_return else rules.order_cents
    return Earning(
        task_id=drive.task_id,
        order_id=drive.order_id,
        driver_id=drive.driver_id,
        is_return=drive.is_return,
        order_cents=fixed_cents if drive.is_done else 0,
        distance_cents=round(metres) * rules.km_cents // 1000,
        wait_cents=_wait_min(drive, rules) * rules.wait_cents_per_min,
        bump_cents=drive.bump_cents if drive.is_done else 0,
        begun_ms=drive.begun_ms,
        ended_ms=drive.ended_ms,
    )


def _wait_min(drive: Drive, rules: MoneyPolicy) -> int:
    """Whole minutes at the store beyond those that are free."""
    if drive.is_return or drive.arrived_ms is None:
        return 0
    until_ms = drive.ended_ms if drive.picked_up_ms is None else drive.picked_up_ms
    return max(0, (until_ms - drive.arrived_ms) // 60_000 - rules.free_wait_min)


def engaged_ms(earned: Iterable[Earning]) -> int:
    """For how long a driver had a task: two at a time count once."""
    total_ms, until_ms = 0, 0
    for begun_ms, ended_ms in sorted((one.begun_ms, one.ended_ms) for one in earned):
        total_ms += max(0, ended_ms - max(begun_ms, until_ms))
        until_ms = max(until_ms, ended_ms)
    return total_ms


def guarantee_cents(earned: Sequence[Earning], rules: MoneyPolicy) -> int:
    """What pay is raised by so that each hour with a task comes to the guarantee; tips do not count."""
    due_cents = engaged_ms(earned) * rules.guarantee_cents_per_h // 3_600_000
    return max(0, due_cents - sum(one.total_cents for one in earned))
