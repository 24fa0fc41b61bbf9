"""Stores: their hours and holidays, where they deliver to, and when they are busy or closed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query
from msgspec import Struct
from pydantic import Field, StringConstraints, model_validator
from starlette.responses import Response

from domain.errors import NotFound
from domain.ground.markets import MARKETS
from domain.ground.times import instant, millis
from domain.ground.zones import CELLS_LIMIT, CORNERS_LIMIT, Zone
from domain.marketplace.party import RUNS_STORES, Job
from domain.marketplace.stores import (
    PREP_LIMIT_MIN,
    ChangeStore,
    CloseStore,
    OpenStore,
    PauseStore,
    SetHours,
    Store,
)
from domain.orders.hours import (
    DAY_MIN,
    HOLIDAY_OPENINGS_LIMIT,
    HOLIDAYS_LIMIT,
    OPENINGS_LIMIT,
    Holiday,
    Hours,
    Opening,
    Span,
    closes_ms,
)
from domain.orders.lifecycle import Role
from gateway.http.auth import Me
from gateway.http.idempotency import Call, Mutation
from gateway.http.policy import OPERATORS, Door, Need, Policy
from gateway.rest.kit.answers import Parts, Uid, carry_out, etag, json_response, shown
from gateway.rest.kit.routes import Routes
from gateway.rest.models import Address, Body, Clean, Instant, Lat, Lng, Name
from gateway.services import Services

routes = Routes("stores", tag="merchants")


class NewStore(Body):
    """A store in one of this server's markets."""

    name: Name
    region_id: Annotated[str, StringConstraints(min_length=1, max_length=64), Clean]
    lat: Lat
    lng: Lng
    address: Address


class SpanBody(Body):
    """Both ends in minutes from the day's midnight, on the market's clock. A `closes_min` above 1440 is on the next
    day."""

    opens_min: Annotated[int, Field(ge=0, lt=DAY_MIN)]
    closes_min: Annotated[int, Field(ge=1, lt=2 * DAY_MIN)]

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not 0 < self.closes_min - self.opens_min <= DAY_MIN:
            raise ValueError(f"closes_min must be after opens_min, by at most {DAY_MIN}")
        return self


class OpeningBody(SpanBody):
    """One opening of the week: `weekday` from 0 (Monday); both ends in minutes from that day's midnight, on the
    market's clock. A `closes_min` above 1440 is on the next day."""

    weekday: Annotated[int, Field(ge=0, le=6)]


class HoursBody(Body):
    """A store's whole week; null: always open. Openings may touch and overlap."""

    hours: Annotated[tuple[OpeningBody, ...], Field(max_length=OPENINGS_LIMIT, strict=False)] | None


class HolidayBody(Body):
    """A day with openings of its own in place of the week's; without any the store is closed."""

    day: Annotated[
        str, StringConstraints(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), Field(examples=["2026-12-25"])
    ]
    openings: Annotated[tuple[SpanBody, ...], Field(max_length=HOLIDAY_OPENINGS_LIMIT, strict=False)] = ()


class ZoneBody(Body):
    """Where the store delivers to: the corners of an outline (latitude and longitude, in order), or cells of H3."""

    outline: Annotated[
        tuple[Annotated[tuple[Lat, Lng], Field(strict=False)], ...],
        Field(
            max_length=CORNERS_LIMIT,
            strict=False,
            examples=[[[32.6, -97.0], [33.0, -97.0], [33.0, -96.6], [32.6, -96.6]]],
        ),
    ] = ()
    cells: Annotated[
        tuple[Annotated[str, StringConstraints(pattern="^[0-9a-f]{15}$")], ...],
        Field(max_length=CELLS_LIMIT, strict=False, examples=[[]]),
    ] = ()

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        self.zone()
        return self

    def zone(self) -> Zone:
        """The zone; `ValueError` for what is none."""
        return Zone(outline=self.outline, cells=self.cells)


class ChangedStore(Body):
    """What is different; what is left out stays. `prep_minutes`: until an order is packed where nobody says more, null
    for the market's; `zone`: null for the whole market."""

    name: Name | None = None
    address: Address | None = None
    prep_minutes: Annotated[int, Field(ge=0, le=PREP_LIMIT_MIN)] | None = None
    holidays: Annotated[tuple[HolidayBody, ...], Field(max_length=HOLIDAYS_LIMIT, strict=False)] | None = None
    zone: ZoneBody | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        for name in ("name", "address", "holidays"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        days = [one.day for one in self.holidays or ()]
        if len(set(days)) != len(days):
            raise ValueError("a day comes once")
        self.changes()
        return self

    def changes(self) -> dict[str, Any]:
        """By the store's own fields. `ValueError` for a day that there is not."""
        changes: dict[str, Any] = self.model_dump(include={"name", "address"}, exclude_unset=True)
        if "prep_minutes" in self.model_fields_set:
            changes["prep_min"] = self.prep_minutes
        if self.holidays is not None:
            changes["holidays"] = tuple(
                Holiday(one.day, tuple(Span(span.opens_min, span.closes_min) for span in one.openings))
                for one in sorted(self.holidays, key=lambda one: one.day)
            )
        if "zone" in self.model_fields_set:
            changes["zone"] = None if self.zone is None else self.zone.zone()
        return changes


class Pause(Body):
    """Until when the store takes no new orders: at most a week."""

    until: Instant


class HoursView(Struct, frozen=True):
    """A store's week on the clock of `timezone` (IANA); `closes_at` is the end of the present opening."""

    store_id: str
    version: int
    timezone: str
    hours: tuple[Opening, ...] | None
    open: bool
    closes_at: datetime | None


class StoreView(Struct, frozen=True, kw_only=True):
    """A store. `hours`: its week on the market's clock, null where it is always open; `holidays`: days with other
    hours. `open`: whether it takes orders now. `paused_until`: it is too busy before; `closed_at`: since when it is
    closed for good. `zone`: where it delivers to, null for the whole market."""

    id: str
    version: int
    merchant_id: str
    region_id: str
    name: str
    lat: float
    lng: float
    address: str
    hours: tuple[Opening, ...] | None
    holidays: tuple[Holiday, ...]
    open: bool
    prep_minutes: int | None
    zone: Zone | None
    paused_until: datetime | None
    closed_at: datetime | None


@routes.post(
    "/v1/merchants/{merchant_id}/stores",
    Policy(roles=(Role.MERCHANT,), owner="merchant_id", jobs=RUNS_STORES, key=Need.MAY),
    StoreView,
    status=201,
    refuses=("OUTSIDE_SERVICE_AREA",),
)
async def add_store(merchant_id: Uid, body: NewStore, _: Me, call: Mutation, services: Parts) -> Response:
    """Open a store. It must lie inside its market."""
    action = OpenStore(
        store_id=services.new_id(),
        region_id=services.region(body.region_id),
        name=body.name,
        lat=body.lat,
        lng=body.lng,
        address=body.address,
    )
    sells = await services.reads.sells(str(merchant_id))
    opened = await carry_out(
        services, call.covers(body), action, lambda store: _store(store, services, sells), StoreView
    )
    return shown(opened.view, opened.replayed, 201)


@routes.get(
    "/v1/merchants/{merchant_id}/stores", Policy(roles=(Role.MERCHANT,), owner="merchant_id"), list[StoreView]
)
async def own_stores(merchant_id: Uid, _: Me, services: Parts) -> Response:
    """Your stores, those that are closed for good among them."""
    stores = await services.reads.stores(merchant_id=str(merchant_id))
    sells = await services.reads.sells(str(merchant_id))
    return json_response([_store(store, services, sells) for store in stores])


@routes.get("/v1/stores", Policy(roles=Door.SIGNED_IN), list[StoreView], refuses=("NOT_FOUND",))
async def stores(
    _: Me, services: Parts, region_id: Annotated[str, Query(max_length=64, description="A region's id.")]
) -> Response:
    """The stores of a region whose merchants sell."""
    found = await services.reads.stores(region_id=services.region(region_id))
    return json_response([_store(store, services, True) for store in found])


@routes.get("/v1/stores/{store_id}", Policy(roles=Door.SIGNED_IN), StoreView, refuses=("NOT_FOUND",))
async def read(store_id: Uid, _: Me, services: Parts) -> Response:
    """One store. The ETag is its version, for If-Match."""
    store = await _found(services, store_id)
    sells = await services.reads.sells(store.merchant_id)
    return json_response(_store(store, services, sells), headers=etag(store.version))


@routes.patch(
    "/v1/stores/{store_id}",
    Policy(roles=(Role.MERCHANT,), owner="store_id", jobs=RUNS_STORES, key=Need.MUST, version=Need.MUST),
    StoreView,
    refuses=("WRONG_STATE",),
)
async def change(store_id: Uid, body: ChangedStore, _: Me, call: Mutation, services: Parts) -> Response:
    """Say what is different about your store. Orders that were placed keep what they were placed by."""
    action = ChangeStore(store_id=str(store_id), changes=body.changes())
    return await _changed(services, call.covers(body, as_sent=True), action)


@routes.post(
    "/v1/stores/{store_id}/pause",
    Policy(roles=(Role.MERCHANT, *OPERATORS), owner="store_id", key=Need.MUST),
    StoreView,
    refuses=("WRONG_STATE",),
)
async def pause(store_id: Uid, body: Pause, _: Me, call: Mutation, services: Parts) -> Response:
    """Take no new orders for a while, because there is too much to do. Those that were placed go on."""
    return await _changed(services, call.covers(body), PauseStore(str(store_id), millis(body.until)))


@routes.post(
    "/v1/stores/{store_id}/resume",
    Policy(roles=(Role.MERCHANT, *OPERATORS), owner="store_id", key=Need.MUST),
    StoreView,
    refuses=("WRONG_STATE",),
)
async def resume(store_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Take orders again before the pause is over."""
    return await _changed(services, call, PauseStore(str(store_id), None))


@routes.post(
    "/v1/stores/{store_id}/close",
    Policy(roles=(Role.MERCHANT,), owner="store_id", jobs=(Job.OWNER,), key=Need.MUST, version=Need.MUST),
    StoreView,
)
async def close(store_id: Uid, _: Me, call: Mutation, services: Parts) -> Response:
    """Close your store for good. Orders that were placed go on."""
    return await _changed(services, call, CloseStore(str(store_id)))


@routes.get("/v1/stores/{store_id}/hours", Policy(roles=Door.SIGNED_IN), HoursView, refuses=("NOT_FOUND",))
async def hours(store_id: Uid, _: Me, services: Parts) -> Response:
    """When a store is open. The ETag is the store's version, for If-Match."""
    store = await _found(services, store_id)
    return json_response(_hours(store, services), headers=etag(store.version))


@routes.put(
    "/v1/stores/{store_id}/hours",
    Policy(roles=(Role.MERCHANT,), owner="store_id", jobs=RUNS_STORES, key=Need.MAY, version=Need.MAY),
    HoursView,
)
async def set_hours(store_id: Uid, body: HoursBody, _: Me, call: Mutation, services: Parts) -> Response:
    """Set your store's week. Orders that you have accepted keep the closing time that they were accepted by."""
    week: Hours = None
    if body.hours is not None:
        week = tuple(Opening(one.weekday, one.opens_min, one.closes_min) for one in body.hours)
    action = SetHours(str(store_id), week)
    after = await carry_out(
        services, call.covers(body), action, lambda store: _hours(store, services), HoursView
    )
    return shown(after.view, after.replayed, version=after.view.version)


async def _found(services: Services, store_id: Uid) -> Store:
    store = await services.reads.store(str(store_id))
    if store is None:
        raise NotFound("There is no such store.")
    return store


async def _changed(services: Services, call: Call, action: ChangeStore | PauseStore | CloseStore) -> Response:
    store = await services.reads.store(action.store_id)
    sells = store is not None and await services.reads.sells(store.merchant_id)
    after = await carry_out(services, call, action, lambda store: _store(store, services, sells), StoreView)
    return shown(after.view, after.replayed, version=after.view.version)


def _closes_ms(store: Store, services: Services) -> tuple[bool, int | None]:
    """Whether the store is open now by its hours, and until when."""
    now_ms = services.config.clock.now_ms()
    by_ms = closes_ms(store.hours, MARKETS[store.region_id].timezone, now_ms, store.holidays)
    return by_ms != now_ms, by_ms


def _hours(store: Store, services: Services) -> HoursView:
    is_open, by_ms = _closes_ms(store, services)
    return HoursView(
        store_id=store.store_id,
        version=store.version,
        timezone=MARKETS[store.region_id].timezone,
        hours=store.hours,
        open=is_open,
        closes_at=instant(by_ms) if is_open and by_ms is not None else None,
    )


def _store(store: Store, services: Services, sells: bool) -> StoreView:
    paused = store.paused_until_ms is not None and services.config.clock.now_ms() < store.paused_until_ms
    return StoreView(
        id=store.store_id,
        version=store.version,
        merchant_id=store.merchant_id,
        region_id=store.region_id,
        name=store.name,
        lat=store.lat,
        lng=store.lng,
        address=store.address,
        hours=store.hours,
        holidays=store.holidays,
        open=sells and store.closed_ms is None and not paused and _closes_ms(store, services)[0],
        prep_minutes=store.prep_min,
        zone=store.zone,
        paused_until=instant(store.paused_until_ms) if paused and store.paused_until_ms is not None else None,
        closed_at=None if store.closed_ms is None else instant(store.closed_ms),
    )
