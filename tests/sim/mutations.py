"""The protections of the product, each with a way to take it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

import actors.persistence.relay
import domain.orders.decide
import domain.region.machine
import persistence.orders.memory
import persistence.orders.plan
import sim.world.world
from actors.persistence.payment_holds import PaymentHolds
from actors.region.pump import Batch, Pump
from actors.region.shell import RegionShell
from domain.orders.records import OfferRow, TaskRow
from domain.orders.state import Decision, refused
from domain.region import offers, silence
from domain.region.answers import Answers
from domain.region.fleet import DriverState
from domain.region.machine import Region
from domain.region.messages import Ask, OfferSeenBy
from domain.region.requests import offers as offer_requests
from domain.region.state import State
from sim.world.faults import KINDS
from sim.world.processes import Clock
from sim.world.server_config import make_limits

Patch = pytest.MonkeyPatch


def epoch_check(patch: Patch) -> None:
    """The store takes records of any life of a region."""
    for module in (persistence.orders.plan, persistence.orders.memory):
        patch.setattr(module, "is_fenced", lambda command, epochs: False)


def durable_first(patch: Patch) -> None:
    """Answers and pushes leave before the append."""
    real = RegionShell._make_durable

    async def early(self: RegionShell, pump: Pump[Any], batch: Batch[Any]) -> bool:
        self._release(batch)
        return await real(self, pump, batch)

    patch.setattr(RegionShell, "_make_durable", early)


def repeat_guard(patch: Patch) -> None:
    """A region does not remember what it answered."""
    real = Region._ask

    def forgetful(self: Region, now_ms: int, ask: Ask) -> None:
        self.answers = Answers(self.policy.answers_limit)
        real(self, now_ms, ask)

    patch.setitem(domain.region.machine._HANDLERS, Ask, forgetful)


def accept_guard(patch: Patch) -> None:
    """Anybody may take an offer."""
    real = offer_requests._live_offer

    def anybodys(state: State, now_ms: int, ask: Ask, offer_id: str | None, task_id: str | None) -> OfferRow:
        return state.offers.get(offer_id) or real(state, now_ms, ask, offer_id, task_id)

    patch.setattr(offer_requests, "_live_offer", anybodys)


def expiry(patch: Patch) -> None:
    """Offers stand for ever."""
    patch.setattr(offers, "expire", lambda region, now_ms, limit=None: 0)


def return_first(patch: Patch) -> None:
    """A driver on the way back to the store counts as free."""
    real = State.set_state

    def careless(self: State, driver_id: str) -> None:
        real(self, driver_id)
        row = self.fleet.row(driver_id)
        if self.fleet.state[row] == DriverState.RETURNING:
            self.fleet.state[row] = DriverState.FREE

    patch.setattr(State, "set_state", careless)


def busy_driver(patch: Patch) -> None:
    """A driver who brings something counts as free, now and here."""
    real = State.foresee

    def careless(self: State, driver_id: str, now_ms: int, tail_s: float = 0.0) -> None:
        real(self, driver_id, now_ms, tail_s)
        row = self.fleet.row(driver_id)
        if self.fleet.state[row] == DriverState.TO_DROPOFF:
            self.fleet.state[row], self.fleet.free_ms[row] = DriverState.FREE, now_ms

    patch.setattr(State, "foresee", careless)


def half_bundle(patch: Patch) -> None:
    """Of a bundle that comes to nothing only one task is open again."""
    real = offers.reopen

    def half(state: State, now_ms: int, offer: OfferRow) -> tuple[TaskRow, ...]:
        return real(state, now_ms, replace(offer, task_ids=offer.task_ids[:1]))

    patch.setattr(offers, "reopen", half)


def shown_once(patch: Patch) -> None:
    """Each time that an offer is shown its time begins anew."""
    real = offers.seen

    def again(state: State, now_ms: int, message: OfferSeenBy) -> None:
        if (offer := state.offers.get(message.offer_id)) is not None:
            state.offers.live[offer.offer_id] = replace(offer, seen_ms=None)
        real(state, now_ms, message)

    patch.setattr(offers, "seen", again)


def release(patch: Patch) -> None:
    """A vanished driver keeps the task."""
    patch.setattr(silence, "release", lambda region, now_ms, driver_id: None)
    patch.setattr(domain.region.machine, "release", lambda region, now_ms, driver_id: None)


def _limit(patch: Patch, **limits: float) -> None:
    """Worlds live with other limits."""
    patch.setattr(sim.world.world, "make_limits", lambda *args: replace(make_limits(*args), **limits))


def relay_deadline(patch: Patch) -> None:
    """The relay waits for whoever it tells something, however long that takes."""
    _limit(patch, outbox_deadline_s=1e6)


def store_deadline(patch: Patch) -> None:
    """A region waits for its store for ever."""
    _limit(patch, store_call_deadline_s=1e6)


def undo(patch: Patch) -> None:
    """What the vendor granted and a decision refuses stays as it is, and nobody looks after it."""

    async def look(self: PaymentHolds) -> None:
        pass

    patch.setattr(PaymentHolds, "look", look)
    patch.setattr(
        domain.orders.decide,
        "not_wanted",
        lambda command, action, order, error: Decision(answer=refused(error)),
    )


def put_right(patch: Patch) -> None:
    """Tasks that are offered to nobody stay so."""

    def look_away(region: Region, now_ms: int) -> None:
        region.state.strays, region.state.stranded = (), ()

    patch.setattr(offers, "put_right", look_away)


def bus_order(patch: Patch) -> None:
    """An event that was not taken holds up none of its order."""
    for module in (persistence.orders.memory, actors.persistence.relay):
        patch.setattr(module, "IN_ORDER", frozenset())


def even_clock(patch: Patch) -> None:
    """Sockets are numbered by the wall clock."""
    real = Clock.even_us
    patch.setattr(Clock, "even_us", lambda self: real(self) + round(self.set_by() * 1e6))


class Mutation(NamedTuple):
    """How to take a protection out, and a seed whose world, with these kinds of fault, notices."""

    take_out: Callable[[Patch], None]
    seed: int
    faults: tuple[str, ...] = tuple(KINDS)


MUTATIONS: dict[str, Mutation] = {
    "epoch check": Mutation(epoch_check, 65),
    "durable first": Mutation(durable_first, 1),
    "repeat guard": Mutation(repeat_guard, 123),
    "accept guard": Mutation(accept_guard, 84, ("lose", "delay", "repeat", "socket")),
    "expiry": Mutation(expiry, 9),
    "return first": Mutation(return_first, 18),
    "busy driver": Mutation(busy_driver, 3),
    "half bundle": Mutation(half_bundle, 11),
    "shown once": Mutation(shown_once, 148, ("socket", "freeze", "ack", "lose", "delay")),
    "release": Mutation(release, 211),
    "relay deadline": Mutation(relay_deadline, 1, ("hang",)),
    "store deadline": Mutation(store_deadline, 56, ("hang",)),
    "undo": Mutation(undo, 21, ()),
    "put right": Mutation(put_right, 26, ("hand",)),
    "bus order": Mutation(bus_order, 11, ("poison",)),
    "even clock": Mutation(even_clock, 31, ("step", "crash")),
}
