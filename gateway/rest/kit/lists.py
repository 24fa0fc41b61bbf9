"""Pages of orders, and the cursors of every list, by keyset: a page is as quick on the thousandth as on the first."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from msgspec import Struct

from domain.errors import Forbidden, InvalidRequest
from domain.ground.times import instant, millis
from domain.orders.lifecycle import OrderStatus, Role
from domain.orders.state import OrderState
from gateway.http.auth import Principal
from gateway.http.policy import DESK
from gateway.rest.models import Digits, Instant
from gateway.rest.views import DropoffView, ItemView, OrderPage, OrderView
from gateway.services import Services
from persistence.reads.views import Cursor


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


V = TypeVar("V", bound=_HasId)

PAGE_LIMIT = 200
CursorText = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
_CURSOR = re.compile(r"([0-9]{1,16}):([0-9a-f-]{36})")
_BASE_64 = re.compile(r"[A-Za-z0-9_-]+")

# Whose orders each role sees.
_OWN = {Role.CUSTOMER: "customer_id", Role.MERCHANT: "merchant_id", Role.DRIVER: "driver_id"}


class Asked(Struct, frozen=True):
    """Which orders, and from where on; times in server ms."""

    limit: int
    cursor: Cursor | None
    status: tuple[OrderStatus, ...]
    from_ms: int | None
    to_ms: int | None


async def _page(
    limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT), Digits] = 50,
    cursor: CursorText = None,
    status: Annotated[list[OrderStatus] | None, Query(description="Any of these.")] = None,
    created_from: Annotated[Instant | None, Query(description="Inclusive, RFC 3339.")] = None,
    created_to: Annotated[Instant | None, Query(description="Exclusive, RFC 3339.")] = None,
) -> Asked:
    return Asked(
        limit,
        Cursor(*read_cursor(cursor)) if cursor else None,
        tuple(status or ()),
        _ms(created_from),
        _ms(created_to),
    )


Page = Annotated[Asked, Depends(_page)]


async def order_page(services: Services, principal: Principal, page: Asked) -> OrderPage:
    """One page of the orders that the principal may see, newest first."""
    if principal.role not in DESK and principal.role not in _OWN:
        raise Forbidden()
    owner = {_OWN[principal.role]: principal.party_id} if principal.role in _OWN else {}
    found = await services.reads.orders(
        **owner,
        status=page.status,
        from_ms=page.from_ms,
        before_ms=page.to_ms,
        cursor=page.cursor,
        limit=page.limit,
    )
    return OrderPage(
        [order_view(order) for order in found.orders],
        write_cursor(found.next.created_ms, found.next.order_id) if found.next else None,
    )


def order_view(order: OrderState) -> OrderView:
    """An order as clients see it."""
    return OrderView(
        id=order.order_id,
        status=OrderStatus(order.status),
        version=order.version,
        region_id=order.region_id,
        customer_id=order.customer_id,
        merchant_id=order.merchant_id,
        store_id=order.store_id,
        items=tuple(
            ItemView(item.product_id, item.quantity, item.price_cents, item.tax_cents) for item in order.items
        ),
        dropoff=DropoffView(order.dropoff_lat, order.dropoff_lng, order.dropoff_address),
        min_age=order.min_age,
        goods_cents=order.goods_cents,
        fee_cents=order.fee_cents,
        tax_cents=order.tax_cents,
        tip_cents=order.tip_cents,
        total_cents=order.total_cents,
        created_at=instant(order.created_ms),
        ready_at=None if order.ready_ms is None else instant(order.ready_ms),
        due_at=None if order.due_ms is None else instant(order.due_ms),
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else millis(at)


class Window(Struct, frozen=True):
    """Which rows of a list: so many at most, after the time and id of the one before."""

    limit: int
    after: tuple[int, str] | None


async def _window(
    cursor: CursorText = None, limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT), Digits] = 50
) -> Window:
    return Window(limit, read_cursor(cursor) if cursor else None)


Rows = Annotated[Window, Depends(_window)]


async def listed(
    services: Services,
    aggregate: str,
    owner_id: str | None,
    rows: Window,
    view: Callable[[Any], V],
    **where: Collection[Any],
) -> tuple[list[V], str | None]:
    """One page of the marketplace's records of one name, newest first, as views with an `id`, and the cursor of the
    next page. `where`: columns with the values that will do, any where there are none."""
    wanted = {name: values for name, values in where.items() if values}
    found = await services.marketplace.page(aggregate, owner_id, rows.after, rows.limit, wanted)
    views = [view(record) for record in found]
    places = [(record.created_ms, one.id) for record, one in zip(found, views, strict=True)]
    return views[: rows.limit], next_cursor(places, rows.limit)


def next_cursor(places: Sequence[tuple[int, str]], limit: int) -> str | None:
    """The cursor of the next page, by time and id of the rows that were found, one more than the limit where there is
    a next one."""
    return write_cursor(*places[limit - 1]) if len(places) > limit else None


def write_cursor(at_ms: int, row_id: str) -> str:
    """The place of a row in a list by time and id, as clients see it."""
    return base64.urlsafe_b64encode(f"{at_ms}:{row_id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[int, str]:
    """What `write_cursor` was given; `InvalidRequest` for anything else."""
    try:
        if _BASE_64.fullmatch(text) is None:
            raise ValueError
        match = _CURSOR.fullmatch(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
        if match is None:
            raise ValueError
        return int(match[1]), str(UUID(match[2]))
    except (ValueError, binascii.Error):
        raise InvalidRequest("The cursor is not one of ours.") from None
