"""The vendors of each port by name, as settings spell them. Another vendor is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from domain.ports import EventBus, IdentityVendor, PaymentVendor, RoadRouter
from integrations.event_bus.redis_streams import RedisStreams, RedisStreamsOptions
from integrations.fake import FakeOptions
from integrations.identity.fake import FakeIdentity
from integrations.payment.fake import FakePayment
from integrations.routing.haversine import HaversineRouter
from integrations.routing.options import RoadOptions
from integrations.routing.valhalla import ValhallaRouter
from integrations.vendor import Vendor

IDENTITY: dict[str, Vendor[IdentityVendor]] = {
    "fake": Vendor(FakeOptions, FakeIdentity),
}

PAYMENT: dict[str, Vendor[PaymentVendor]] = {
    "fake": Vendor(FakeOptions, FakePayment),
}

EVENT_BUS: dict[str, Vendor[EventBus]] = {
    "redis_streams": Vendor(RedisStreamsOptions, RedisStreams),
}

# Settings `<PORT>_VENDOR` and `<PORT>_OPTIONS` of each.
PORTS: dict[str, Mapping[str, Vendor[Any]]] = {
    "identity": IDENTITY,
    "payment": PAYMENT,
    "event_bus": EVENT_BUS,
}


def _osrm(options: RoadOptions) -> RoadRouter:
    from integrations.routing.osrm import OsrmRouter  # its HTTP client takes long to load

    return OsrmRouter(options.osrm_url, options.router_timeout_s, options.router_table_limit)


# By ROUTER_MODE; their options are settings of their own (docs/roads.md).
ROUTING: dict[str, Callable[[RoadOptions], RoadRouter]] = {
    "HAVERSINE": lambda _: HaversineRouter(),
    "OSRM": _osrm,
    "VALHALLA": lambda o: ValhallaRouter(o.valhalla_tiles),
}
