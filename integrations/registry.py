"""The vendors by name, as settings spell them. Another vendor is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from domain.ports import IdentityVendor, PaymentVendor, RoadRouter
from integrations.identity.fake import FakeIdentity
from integrations.payment.fake import FakePayment
from integrations.routing.haversine import HaversineRouter
from integrations.routing.options import RoadOptions
from integrations.routing.valhalla import ValhallaRouter

IDENTITY: dict[str, Callable[[], IdentityVendor]] = {
    "fake": FakeIdentity,
}

PAYMENT: dict[str, Callable[[], PaymentVendor]] = {
    "fake": FakePayment,
}


def _osrm(options: RoadOptions) -> RoadRouter:
    from integrations.routing.osrm import OsrmRouter  # its HTTP client takes long to load

    return OsrmRouter(options.osrm_url, options.router_timeout_s, options.router_table_limit)


# By ROUTER_MODE.
ROUTING: dict[str, Callable[[RoadOptions], RoadRouter]] = {
    "HAVERSINE": lambda _: HaversineRouter(),
    "OSRM": _osrm,
    "VALHALLA": lambda o: ValhallaRouter(o.valhalla_tiles),
}
