"""A gateway in one process on real parts: the app, region shells and the in-memory store; no Ray, no network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
from fastapi import FastAPI
from msgspec.structs import replace

from actors.clock import ServerClock
from actors.config import Config, Limits
from actors.region.shell import RegionShell
from actors.wire import APPEND, POST, Wire
from domain.marketplace.accounts import OpenAccount, User
from domain.marketplace.party import Job, Membership
from domain.marketplace.staff import AddMember
from domain.orders.commands import OrderCommand
from domain.orders.lifecycle import Role
from domain.orders.records import Answer, Done, Json
from domain.protocol import SUBPROTOCOL
from domain.region.messages import Ask, Attach, Attached, DriversSeen, Kick, Push, TaskOpened
from domain.region.ops.frames import DriverLine, DriversAsked, OpsFrame
from domain.region.policy import RegionPolicy
from domain.solve import Plan, SolveRequest
from gateway.app import build_app
from gateway.deciders.ports import Notice
from gateway.services import Services, assemble
from integrations.fake import FakeOptions
from integrations.identity.fake import FakeIdentity
from integrations.payment.fake import FakePayment
from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from persistence.reads.memory import MemoryReads
from persistence.reads.reads import Reads
from solver.registry import solve
from tests.support.marketplace import change, marketplace_of, put

REGION = "tx-dfw"
GATEWAY = "gateway:0"
INTERNAL_TOKEN = "a token between machines"
SCRAPER = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
PASSWORD = "correct horse battery"
DALLAS = {"lat": 32.78, "lng": -96.80}
DOOR = {"lat": 32.80, "lng": -96.78, "address": "1 Main Street"}


def make_config(**changes: Any) -> Config:
    config = Config(
        environment="test",
        namespace="test",
        database_url="",
        redis_url="",
        regions=(REGION,),
        clock=ServerClock(),
        jwt_secret="a secret of more than thirty-two characters",
        jwt_ttl_s=3600,
        internal_token=INTERNAL_TOKEN,
        host="127.0.0.1",
        port=0,
        policy=RegionPolicy(fast_window_s=0.01, fast_max_wait_s=0.05, offer_lead_s=3600.0, geofence=None),
        limits=Limits(
            rate_limits="off",
            status_keep_s=0.0,
            ping_flush_s=0.01,
            vendor_timeout_s=0.1,
            ops_frame_s=0.01,
            ws_hello_timeout_s=0.3,
        ),
    )
    return replace(config, **changes)


async def _solve(request: SolveRequest) -> Plan:
    return solve(request)


class InProcess:
    """`gateway.deciders.ports.Backend` on region shells and the store, without actors between."""

    def __init__(self, config: Config, store: MemoryStore) -> None:
        self.config, self.store = config, store
        self.gateways: dict[str, Services] = {}
        self.regions: dict[str, RegionShell] = {}
        self.silent: set[str] = set()  # parts that do not answer when they are asked whether they serve
        self._asking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for region_id in self.config.regions:
            await self.start_region(region_id)

    async def start_region(self, region_id: str) -> None:
        """Start the region's next life; the former one is simply gone, as after kill -9."""
        former = self.regions.pop(region_id, None)
        shell = RegionShell(
            region_id,
            store=self.store,
            policy=self.config.policy_of(region_id),
            limits=self.config.limits,
            clock=self.config.clock,
            solve=_solve,
            send=self._send,
            on_death=lambda _: None,
        )
        await shell.start()
        self.regions[region_id] = shell
        if former is not None:
            await former.stop()

    async def stop(self) -> None:
        for shell in self.regions.values():
            await shell.stop()

    async def _send(self, gateway_id: str, batch: list[Push | Kick]) -> None:
        self.gateways[gateway_id].hub.deliver(batch)

    async def decide(self, command: OrderCommand) -> Answer:
        outcome = (await _over(APPEND, self.store.append, command))[0]
        assert isinstance(outcome, Done)
        if outcome.opened is not None:
            task, brief = outcome.opened
            await _over(POST, self.regions[task.region_id].post, TaskOpened(task, brief))
        return outcome.answer

    async def ask(self, region_id: str, ask: Ask) -> Answer:
        answer = (await _over(POST, self.regions[region_id].post, ask))[0]
        assert isinstance(answer, Answer)
        return answer

    def submit(self, region_id: str, ask: Ask, done: Callable[[Answer | Exception], None]) -> None:
        async def wait() -> None:
            try:
                done(await self.ask(region_id, ask))
            except Exception as error:
                done(error)

        self._asking.add(task := asyncio.create_task(wait()))
        task.add_done_callback(self._asking.discard)

    async def attach(self, region_id: str, attach: Attach) -> Attached:
        attached = (await _over(POST, self.regions[region_id].post, attach))[0]
        assert isinstance(attached, Attached)
        return attached

    def notify(self, region_id: str, notice: Notice) -> None:
        self._notices = asyncio.create_task(_over(POST, self.regions[region_id].post, notice))

    async def seen(self, region_id: str, batch: DriversSeen) -> int:
        return self.regions[region_id].seen(batch)

    async def drivers(self, region_id: str, asked: DriversAsked) -> list[DriverLine]:
        return self.regions[region_id].drivers(asked)

    async def frame(self, region_id: str) -> OpsFrame:
        return self.regions[region_id].frame()

    async def stats(self, region_id: str) -> dict[str, Json]:
        return dict(self.regions[region_id].stats())

    async def answers(self, part: str) -> None:
        if part in self.silent:
            await asyncio.Event().wait()


async def _over(wire: Wire, method: Callable[[list[Any]], Awaitable[Sequence[Any]]], item: Any) -> list[Any]:
    """Call as between actors: what goes there and what comes back is bytes."""
    sent = wire.decode(wire.encode([item]))
    assert sent == [item]
    answers = await method(sent)
    return wire.decode_answers(wire.encode_answers(answers))


class SocketClient:
    """A driver's WebSocket client on the ASGI interface itself."""

    def __init__(self, app: FastAPI) -> None:
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None
        self.subprotocol: str | None = None
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/v1/drivers/ws",
            "raw_path": b"/v1/drivers/ws",
            "query_string": b"",
            "headers": [],
            "subprotocols": [SUBPROTOCOL],
            "server": ("test", 80),
            "client": ("test", 1),
            "state": {},
        }
        self._app = asyncio.create_task(_run(app, scope, self._to_app.get, self._from_app.put))

    async def open(self) -> SocketClient:
        await self._to_app.put({"type": "websocket.connect"})
        message = await self._from_app.get()
        assert message["type"] == "websocket.accept"
        self.subprotocol = message.get("subprotocol")
        return self

    async def send(self, frame: dict[str, Any] | str | bytes) -> None:
        if isinstance(frame, bytes):
            await self._to_app.put({"type": "websocket.receive", "bytes": frame})
        else:
            text = frame if isinstance(frame, str) else json.dumps(frame)
            await self._to_app.put({"type": "websocket.receive", "text": text})

    async def receive(self, *types: str, timeout_s: float = 5.0) -> dict[str, Any]:
        """The next frame (of these types, skipping others); `{"type": "closed"}` once the server has closed."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self._from_app.get()
                if message["type"] == "websocket.close":
                    self.closed = (message["code"], message.get("reason", ""))
                    return {"type": "closed"}
                frame: dict[str, Any] = json.loads(message["text"])
                if not types or frame["type"] in types:
                    return frame

    async def close(self) -> None:
        """Go away as a client does, and wait until the server has noticed."""
        await self._to_app.put({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait([self._app], timeout=5)


async def _run(app: FastAPI, scope: dict[str, Any], receive: Any, send: Any) -> None:
    await app(scope, receive, send)


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _user(user_id: str, role: Role) -> User:
    email = f"{role}.{user_id}@example.org"
    return User(user_id=user_id, email=email, password_hash="-", role=role, name=str(role), created_ms=0)


class World:
    """The app with its parts, and short ways to common states."""

    def __init__(
        self,
        services: Services,
        backend: InProcess,
        reads: MemoryReads,
        app: FastAPI,
        accounts_from: int = 0,
    ) -> None:
        self.services, self.backend, self.app = services, backend, app
        self.reads = reads
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")
        self._number = accounts_from

    def auth(self, user_id: str, role: Role) -> dict[str, str]:
        """Headers of an account, which is made where there is none of this id."""
        if user_id not in self.reads.users:
            self.reads.users[user_id] = _user(user_id, role)
        return {"Authorization": f"Bearer {self.services.tokens.issue(user_id, role)}"}

    async def account(self, role: Role) -> tuple[str, dict[str, str]]:
        """An account without the cost of a password: its id and its headers. One of role merchant owns an approved
        merchant of the same id."""
        self._number += 1
        user = _user(f"00000000-0000-4000-8000-{self._number:012d}", role)
        await put(self.services.marketplace, user)
        return user.user_id, self.auth(user.user_id, role)

    async def recruit(self, email: str, role: Role = Role.MERCHANT) -> dict[str, str]:
        """An account that works for no merchant yet, or has not applied to drive: its headers."""
        self._number += 1
        user = replace(_user(f"00000000-0000-4000-8000-{self._number:012d}", role), email=email)
        await change(self.services.marketplace, OpenAccount(user))
        return self.auth(user.user_id, role)

    async def colleague(self, merchant_id: str, job: Job) -> dict[str, str]:
        """The headers of somebody new who works for this merchant."""
        self._number += 1
        user = _user(f"00000000-0000-4000-8000-{self._number:012d}", Role.MERCHANT)
        await change(self.services.marketplace, OpenAccount(user))
        owner = Membership(merchant_id, Job.OWNER)
        await change(self.services.marketplace, AddMember(user_id=user.user_id, job=job), member=owner)
        return self.auth(user.user_id, Role.MERCHANT)

    async def shop(self, category: str = "alcohol") -> tuple[str, str, str, dict[str, str]]:
        """A merchant with a store and a product: their ids and the merchant's headers."""
        merchant_id, headers = await self.account(Role.MERCHANT)
        body = {"name": "Corner", "region_id": REGION, "address": "2 Elm Street", **DALLAS}
        store = (
            await self.http.post(f"/v1/merchants/{merchant_id}/stores", json=body, headers=headers)
        ).json()
        products = await self.http.post(
            f"/v1/merchants/{merchant_id}/stores/{store['id']}/products",
            json={"name": "Ale", "category": category, "price_cents": 500},
            headers=headers,
        )
        return merchant_id, store["id"], products.json()["id"], headers

    async def order(self, until: str = "DRAFT") -> Order:
        """An order, taken as far as DRAFT, AGE_VERIFIED, PAYMENT_AUTHORIZED or CONFIRMED."""
        merchant_id, store_id, product_id, merchant = await self.shop()
        customer_id, customer = await self.account(Role.CUSTOMER)
        body = {"store_id": store_id, "items": [{"product_id": product_id, "quantity": 2}], "dropoff": DOOR}
        response = await self.http.post("/v1/orders", json=body, headers=customer)
        assert response.status_code == 201, response.text
        order = Order(response.json()["id"], merchant_id, store_id, customer_id, customer, merchant)
        steps: list[tuple[str, Callable[[], Awaitable[httpx.Response]]]] = [
            ("AGE_VERIFIED", lambda: self.step(order, "verify_age", {"vendor_token": "fake:pass"})),
            (
                "PAYMENT_AUTHORIZED",
                lambda: self.step(order, "payment/authorize", {"vendor_token": "fake:ok"}),
            ),
            ("CONFIRMED", lambda: self.act(order, "accept")),
        ]
        reached = "DRAFT"
        for status, step in steps:
            if reached == until:
                break
            answer = await step()
            assert answer.status_code == 200, answer.text
            reached = answer.json()["status"]
            assert reached == status
        return order

    async def step(self, order: Order, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A customer's step of an order."""
        url = f"/v1/orders/{order.id}/{path}"
        return await self.http.post(url, json=body, headers=order.customer | headers)

    async def act(self, order: Order, action: str, **headers: str) -> httpx.Response:
        """The merchant's step of an order."""
        url = f"/v1/merchants/{order.merchant_id}/stores/{order.store_id}/orders/{order.id}/action"
        return await self.http.post(url, json={"action": action}, headers=order.merchant | headers)

    async def socket(self) -> SocketClient:
        return await SocketClient(self.app).open()

    async def driver(self, resume_from: int | None = None, on_duty: bool = True) -> tuple[str, SocketClient]:
        """A driver who is connected, welcomed and on duty in Dallas."""
        driver_id, headers = await self.account(Role.DRIVER)
        return driver_id, await self.connect(headers, resume_from, on_duty)

    async def connect(
        self, headers: dict[str, str], resume_from: int | None = None, on_duty: bool = True
    ) -> SocketClient:
        client = await self.socket()
        token = headers["Authorization"].removeprefix("Bearer ")
        await client.send({"type": "hello", "token": token, "resume_from": resume_from})
        welcome = await client.receive()
        assert welcome["type"] == "welcome", welcome
        client.welcome = welcome  # type: ignore[attr-defined]
        if on_duty:
            await client.send({"type": "duty", "on": True, **DALLAS})
        return client


class Order:
    """What a test needs to act on an order."""

    def __init__(
        self,
        id_: str,
        merchant_id: str,
        store_id: str,
        customer_id: str,
        customer: dict[str, str],
        merchant: dict[str, str],
    ) -> None:
        self.id, self.merchant_id, self.store_id = id_, merchant_id, store_id
        self.customer_id, self.customer, self.merchant = customer_id, customer, merchant


class DatabaseWorld(World):
    """A world on Postgres."""

    def auth(self, user_id: str, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.services.tokens.issue(user_id, role)}"}


@asynccontextmanager
async def running(**changes: Any) -> AsyncIterator[World]:
    """A world, started and stopped."""
    async with several(GATEWAY, **changes) as (world,):
        yield world


@asynccontextmanager
async def several(*gateway_ids: str, **changes: Any) -> AsyncIterator[list[World]]:
    """The same world seen through each of several gateways."""
    store = MemoryStore(policy_of=make_config(**changes).policy_of)
    reads = MemoryReads(store)
    async with _worlds(World, gateway_ids, store, reads, changes) as worlds:
        yield worlds


@asynccontextmanager
async def on_postgres(database_url: str, **changes: Any) -> AsyncIterator[World]:
    """A world whose rows are in this database."""
    store = PostgresStore(database_url, policy_of=make_config(**changes).policy_of)
    reads = Reads.connect(database_url)
    # Nothing of theirs is called but what both kinds have.
    as_memory, reads_as_memory = cast(MemoryStore, store), cast(MemoryReads, reads)
    try:
        async with _worlds(DatabaseWorld, (GATEWAY,), as_memory, reads_as_memory, changes) as (world,):
            yield world
    finally:
        await store.close()
        await reads.close()


@asynccontextmanager
async def _worlds(
    kind: type[World],
    gateway_ids: tuple[str, ...],
    store: MemoryStore,
    reads: MemoryReads,
    changes: dict[str, Any],
) -> AsyncIterator[list[World]]:
    config = make_config(**changes)
    backend = InProcess(config, store)
    worlds = []
    for number, gateway_id in enumerate(gateway_ids):
        services = backend.gateways[gateway_id] = assemble(
            config,
            gateway_id,
            backend=backend,
            reads=reads,
            marketplace=marketplace_of(reads),
            identity=FakeIdentity(FakeOptions()),
            payment=FakePayment(FakeOptions()),
        )
        worlds.append(kind(services, backend, reads, build_app(services), accounts_from=1000 * number))
    await backend.start()
    flushing = [asyncio.create_task(world.services.pings.run()) for world in worlds]
    try:
        yield worlds
    finally:
        for world in worlds:
            open_sockets = world.services.open_sockets
            for socket in list(open_sockets):
                socket.close(1012, "the test is over")
            await until(lambda sockets=open_sockets: not sockets)  # type: ignore[misc]
            await world.services.feeds.close()
            await world.http.aclose()
        for task in flushing:
            task.cancel()
        await asyncio.gather(*flushing, return_exceptions=True)
        await backend.stop()
