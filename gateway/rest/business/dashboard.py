"""What a merchant looks at all day: what waits, what is late, what today has come to."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

from msgspec import Struct
from starlette.responses import Response

from domain.ground.markets import MARKETS
from domain.ground.times import instant, millis
from domain.orders.lifecycle import OrderStatus, Role
from gateway.http.auth import Me
from gateway.http.policy import OPERATORS, Policy
from gateway.rest.kit.answers import Parts, Uid, json_response
from gateway.rest.kit.routes import Routes
from persistence.reads.reports import OVER

routes = Routes("merchant_dashboard", tag="merchants")


class TodayView(Struct, frozen=True):
    """Since midnight on the clock of each store's market: orders that were placed, those of them that were delivered,
    and what the goods of these came to."""

    orders: int
    delivered: int
    goods_cents: int


class DashboardView(Struct, frozen=True):
    """Orders under way by state (`orders`), of those placed within the last days; of these the ones that wait for you
    to accept them, and those whose promised time is over (`late`). `complete`: false where there were so many that the
    oldest were left out."""

    merchant_id: str
    at: datetime
    orders: dict[str, int]
    waiting: int
    late: int
    today: TodayView
    complete: bool


@routes.get(
    "/v1/merchants/{merchant_id}/dashboard",
    Policy(roles=(Role.MERCHANT, *OPERATORS), owner="merchant_id"),
    DashboardView,
)
async def dashboard(merchant_id: Uid, _: Me, services: Parts) -> Response:
    """How your stores are doing now. As quick with a million orders as with ten: it looks at the last days."""
    now_ms = services.config.clock.now_ms()
    midnights = {region_id: _midnight_ms(region_id, now_ms) for region_id in services.config.regions}
    rows = await services.reads.reports.merchant_days(str(merchant_id), now_ms, midnights)
    under_way = [row for row in rows.by_status if row.status not in OVER]
    sold = [row for row in rows.by_status if row.status in (OrderStatus.DELIVERED, OrderStatus.CLOSED)]
    view = DashboardView(
        merchant_id=str(merchant_id),
        at=instant(now_ms),
        orders={str(row.status): row.orders for row in under_way},
        waiting=sum(row.orders for row in under_way if row.status is OrderStatus.PAYMENT_AUTHORIZED),
        late=sum(row.late for row in under_way),
        today=TodayView(
            orders=sum(row.today for row in rows.by_status),
            delivered=sum(row.today for row in sold),
            goods_cents=sum(row.today_cents for row in sold),
        ),
        complete=rows.complete,
    )
    return json_response(view)


def _midnight_ms(region_id: str, now_ms: int) -> int:
    zone = ZoneInfo(MARKETS[region_id].timezone)
    today = instant(now_ms).astimezone(zone).date()
    return millis(datetime.combine(today, time(), zone))
