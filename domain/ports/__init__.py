"""What the core asks of the outside, as Protocols, implemented in `integrations/`, `persistence/` and `actors/`."""

from __future__ import annotations

from domain.ports.event_bus import EventBus, EventsRefused
from domain.ports.identity import AgeResult, IdentityVendor, IdResult, Verdict
from domain.ports.payment import PaymentResult, PaymentVendor, RefundState
from domain.ports.routing import RoadMatrix, RoadRoute, RoadRouter
from domain.ports.store import IN_ORDER, Channel, Command, RegionStore, Store
from domain.ports.vendor import VendorError

__all__ = [
    "IN_ORDER",
    "AgeResult",
    "Channel",
    "Command",
    "EventBus",
    "EventsRefused",
    "IdResult",
    "IdentityVendor",
    "PaymentResult",
    "PaymentVendor",
    "RefundState",
    "RegionStore",
    "RoadMatrix",
    "RoadRoute",
    "RoadRouter",
    "Store",
    "VendorError",
    "Verdict",
]
