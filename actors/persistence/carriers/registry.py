"""The carriers by channel. Another one is a file and a line here, beside its channel (`domain.ports.Channel`) and a
migration that lets the database take events for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from actors.clock import ServerClock
from actors.config import Limits
from actors.persistence.carriers.bus import ToBus
from actors.persistence.carriers.carrier import Carrier
from actors.persistence.carriers.options import CarrierOptions, ruled, usual
from actors.persistence.carriers.payments import Records, ToPayments, of_payments
from actors.persistence.carriers.regions import TellRegion, ToRegions, of_regions
from domain.ports import Channel, EventBus, PaymentVendor, RegionStore


class Parts(Struct, frozen=True, kw_only=True):
    """What carriers carry to."""

    store: RegionStore
    bus: EventBus
    payment: PaymentVendor
    records: Records | None
    tell_region: TellRegion
    clock: ServerClock


class Entry(Struct, frozen=True):
    """`make` a carrier with its options, which are those of `options` where no rule says else."""

    make: Callable[[Parts, CarrierOptions], Carrier]
    options: Callable[[Limits], CarrierOptions] = usual


CARRIERS: dict[Channel, Entry] = {
    Channel.BUS: Entry(lambda parts, options: ToBus(parts.bus, options)),
    Channel.TASKS: Entry(lambda parts, options: ToRegions(parts.tell_region, options), of_regions),
    Channel.PAYMENTS: Entry(
        lambda parts, options: ToPayments(parts.payment, parts.store, parts.records, parts.clock, options),
        of_payments,
    ),
}


def carriers(
    store: RegionStore,
    limits: Limits,
    *,
    bus: EventBus,
    payment: PaymentVendor,
    tell_region: TellRegion,
    clock: ServerClock,
    records: Records | None = None,
) -> Mapping[Channel, Carrier]:
    """All of them, each with its own options."""
    parts = Parts(
        store=store, bus=bus, payment=payment, records=records, tell_region=tell_region, clock=clock
    )
    return {
        channel: entry.make(parts, ruled(channel, entry.options(limits), limits))
        for channel, entry in CARRIERS.items()
    }
