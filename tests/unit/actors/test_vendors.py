"""Vendors as the configuration names them."""

from __future__ import annotations

from msgspec.structs import replace

from actors.config import Config
from actors.vendors import event_bus, identity_vendor
from integrations.event_bus.redis_streams import RedisStreams
from integrations.identity.fake import FakeIdentity
from tests.support.gateway_world import make_config


def bus_of(config: Config) -> tuple[str, int]:
    bus = event_bus(config)
    assert isinstance(bus, RedisStreams)
    return bus._redis.connection_pool.connection_kwargs["host"], bus._stream_length


def test_the_bus_is_on_the_servers_own_redis_unless_it_is_told_another() -> None:
    config = replace(make_config(), redis_url="redis://own:1/0")
    assert bus_of(config) == ("own", 100_000)
    for options, seen in (
        ({"stream_length": 5}, ("own", 5)),
        ({"redis_url": ""}, ("own", 100_000)),
        ({"redis_url": "redis://other:1/0"}, ("other", 100_000)),
    ):
        assert bus_of(replace(config, vendor_options={"event_bus": options})) == seen


def test_a_vendor_has_the_options_of_its_port() -> None:
    vendor = identity_vendor(
        replace(make_config(), vendor_options={"identity": {"silence_s": 3}, "payment": {}})
    )
    assert isinstance(vendor, FakeIdentity)
    assert vendor._options.silence_s == 3
