"""The vendors that settings name, for actors and for the gateway (which knows no integrations)."""

from __future__ import annotations

from functools import lru_cache

from actors.config import Config
from domain.ground.travel import Haversine, TravelModel, TravelTimes
from domain.ports import EventBus, IdentityVendor, PaymentVendor, RoadRouter
from integrations.registry import EVENT_BUS, IDENTITY, PAYMENT, ROUTING
from integrations.routing.breaker import Breaker, FallbackRouter
from integrations.routing.haversine import HaversineRouter
from integrations.routing.options import RoadOptions
from integrations.routing.road_travel import Roads, RoadTravel


def identity_vendor(config: Config) -> IdentityVendor:
    """`KeyError` for a name that is not in the registry."""
    return IDENTITY[config.identity_vendor](config.vendor_options.get("identity", {}))


def payment_vendor(config: Config) -> PaymentVendor:
    """`KeyError` for a name that is not in the registry."""
    return PAYMENT[config.payment_vendor](config.vendor_options.get("payment", {}))


def event_bus(config: Config) -> EventBus:
    """On the server's own Redis if it wants one and its options name no other. `KeyError` as above."""
    vendor = EVENT_BUS[config.event_bus_vendor]
    options = config.vendor_options.get("event_bus", {})
    if "redis_url" in vendor.options.__struct_fields__ and not options.get("redis_url"):
        options = options | {"redis_url": config.redis_url}
    return vendor(options)


def road_router(config: Config) -> RoadRouter:
    """The road engine of the settings, and straight lines while it fails. `KeyError` for a name not in the registry."""
    model = config.policy.travel
    straight = HaversineRouter(model if isinstance(model, Haversine) else None)
    if config.roads.router_mode == "HAVERSINE":
        return straight
    engine = ROUTING[config.roads.router_mode](config.roads)
    return FallbackRouter(engine, straight, Breaker(config.roads.router_retry_s))


def travel_times(options: RoadOptions, model: TravelModel) -> TravelTimes:
    """Travel times of a solve: the request's own model, or the road engine with that model to fall back on.

    What is known of the roads is kept for the life of the process, so calling this for each solve costs nothing.
    """
    if options.router_mode == "HAVERSINE" or not isinstance(model, Haversine):
        return model
    return RoadTravel(_roads(options), model, options)


@lru_cache(maxsize=1)
def _roads(options: RoadOptions) -> Roads:
    return Roads(ROUTING[options.router_mode](options), options)
