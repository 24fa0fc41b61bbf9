"""Gets a server ready for a run: accounts, stores and products, found if an earlier run made them, else created."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from msgspec import Struct

from sim.bot.motion import Point, metres
from sim.concurrency import Progress, each
from sim.demo.api import Account, Api, ServerRefused
from sim.demo.business import enter_business, enter_service
from sim.demo.city import REGION_ID
from sim.demo.clock import ServerTime
from sim.demo.customers import Shop

AT_ONCE = (
    6  # sign-ins and creations under way: password hashing is made to be slow, and other clients want in too
)
MAIL_DOMAIN = "demo.example.com"
STOCK = (
    ("Lager, 12 cans", "alcohol", 1599),
    ("Pinot Noir, 750 ml", "alcohol", 1899),
    ("Straight bourbon, 750 ml", "alcohol", 3499),
    ("Cigarillos, 5 pack", "tobacco", 799),
    ("Sparkling water, 6 bottles", "general", 649),
)


class Site(Struct, frozen=True):
    """A store as a run wants it."""

    name: str
    point: Point
    address: str


async def find_region(api: Api, clock: ServerTime) -> float:
    """Set the clock to the server's; the quickest answer in wall seconds. `ServerRefused` if the market is missing."""
    best_s = float("inf")
    for _ in range(4):  # the answer that took least tells the time best
        best_s = min(best_s, await set_clock(api, clock, better_than_s=best_s))
    return best_s


async def set_clock(api: Api, clock: ServerTime, *, better_than_s: float = float("inf")) -> float:
    """Ask the server for the time and set the clock if the answer came fast enough; how long it took, wall seconds."""
    loop = asyncio.get_running_loop()
    asked_s = loop.time()
    reply = await api.request("GET", "/v1/regions")
    took_s = loop.time() - asked_s
    regions: list[dict[str, Any]] = reply.body if reply.ok else []
    found = next((region for region in regions if region.get("id") == REGION_ID), None)
    if found is None:
        raise ServerRefused(f"{api.server} does not serve {REGION_ID} ({reply.code}).")
    if took_s < better_than_s:
        speed = float(found["speed"])
        clock.set(found["now_ms"] / 1000 + took_s / 2 * speed, speed)
    return took_s


class Cast:
    """Who plays: makes accounts by role and number, the same ones in every run with the same password, which nobody
    else knows."""

    def __init__(self, api: Api, password: str, progress: Progress) -> None:
        self._api, self._password, self._progress = api, password, progress
        self._prefix = f"demo-{hashlib.sha256(password.encode()).hexdigest()[:8]}"

    def account(self, role: str, number: int | str, name: str) -> Account:
        """An account that is not signed in yet."""
        email = f"{self._prefix}-{role}-{number}@{MAIL_DOMAIN}"
        return Account(email=email, password=self._password, role=role, name=name)

    async def sign_in(self, accounts: list[Account], what: str) -> list[Account]:
        """Sign all in, telling how far it is. Drivers are approved, or get to be."""
        done = 0

        async def one(account: Account) -> Account:
            nonlocal done
            await self._api.sign_in(account)
            if account.role == "driver":
                await enter_service(self._api, account)
            done += 1
            if what and (done % 50 == 0 or done == len(accounts)):
                self._progress(f"{what}: {done} of {len(accounts)} signed in")
            return account

        return await each(AT_ONCE, accounts, one)

    async def open_shops(self, merchant: Account, sites: list[Site]) -> list[Shop]:
        """The merchant's stores at these sites, in order. It is approved, or gets to be."""
        await enter_business(self._api, merchant)
        reply = await self._api.request(
            "GET", "/v1/stores", account=merchant, params={"region_id": REGION_ID}
        )
        listed: list[dict[str, Any]] = (
            reply.body if isinstance(reply.body, list) else reply.body.get("stores", [])
        )
        ours = {store["name"]: store for store in listed if store.get("merchant_id") == merchant.merchant_id}

        async def one(site: Site) -> Shop:
            found = ours.get(site.name)
            if found is not None and metres(Point(found["lat"], found["lng"]), site.point) < 20:
                store_id = str(found["id"])
            else:
                store_id = await self._create_store(merchant, site)
            products = await self._stock(merchant, store_id)
            return Shop(
                store_id=store_id,
                name=site.name,
                merchant=merchant,
                point=site.point,
                product_ids=tuple(products),
            )

        shops = await each(AT_ONCE, sites, one)
        self._progress(f"stores: {len(shops)} open")
        return shops

    async def _create_store(self, merchant: Account, site: Site) -> str:
        body = {
            "name": site.name, "region_id": REGION_ID, "lat": site.point.lat, "lng": site.point.lng,
            "address": site.address,
        }  # fmt: skip
        reply = await self._api.request(
            "POST",
            f"/v1/merchants/{merchant.merchant_id}/stores",
            account=merchant,
            body=body,
            key=_place_key(site),
        )
        return str(reply.field("id"))

    async def _stock(self, merchant: Account, store_id: str) -> list[str]:
        """Ids of the store's products in the order of `STOCK`."""
        reply = await self._api.request("GET", f"/v1/stores/{store_id}/products", account=merchant)
        have = {product["name"]: str(product["id"]) for product in reply.body} if reply.ok else {}
        if missing := [item for item in STOCK if item[0] not in have]:
            body = [{"name": name, "category": kind, "price_cents": cents} for name, kind, cents in missing]
            path = f"/v1/merchants/{merchant.merchant_id}/stores/{store_id}/products"
            made = await self._api.request("POST", path, account=merchant, body=body)
            if not made.ok:
                raise ServerRefused(f"products: {made.code}")
            have |= {product["name"]: str(product["id"]) for product in made.body}
        return [have[name] for name, _, _ in STOCK]


def _place_key(site: Site) -> str:
    return f"store-{site.name}-{site.point.lat:.5f}-{site.point.lng:.5f}".encode("ascii", "replace").decode()[
        :255
    ]
