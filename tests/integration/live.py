"""A real server as a process of its own, and the people who use it: customer, merchant, drivers with phones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket as sockets
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from domain import protocol as wire
from doorstep.cli.operators import employ_operator
from doorstep.embedded.services import running_services
from sim.demo.api import Account, Api, Reply
from sim.demo.business import enter_business, enter_service
from tests.support.database import server_url

T = TypeVar("T")

START_TIMEOUT_S = 90.0
# Worker processes of Ray carry their actor's class in their title.
TITLES = {
    "region": "ray::RegionActor",
    "persistence": "ray::PersistenceActor",
    "gateway": "ray::GatewayActor",
}
METRICS_TOKEN = "a token for the metrics page of the tests"
SCRAPER = {"Authorization": f"Bearer {METRICS_TOKEN}"}
OPERATOR_PASSWORD = "approves all the merchants of the tests"
STORE_LAT, STORE_LNG = 32.7767, -96.7970  # downtown Dallas


SERVERS: dict[str, LiveServer] = {}  # by URL


def free_port() -> int:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[T | None]], deadline_s: float = 20.0) -> T:
    """The first result of `condition` that is neither None nor False, looked for until the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        result = await condition()
        if result is not None and result is not False:
            return result
        assert time.monotonic() < end, f"not within {deadline_s} s"
        await asyncio.sleep(0.02)


class LiveServer:
    """`doorstep up`, started and stopped as a user would. DATABASE_URL, if given, is the owner's."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if owner_url := environment.get("DATABASE_URL"):
            environment |= {"DATABASE_URL": server_url(owner_url), "DATABASE_OWNER_URL": owner_url}
        self._environment = {
            **os.environ,
            "DASHBOARD_PORT": str(free_port()),
            "OFFER_LEAD_S": "3600",  # offers come at once, as the stories expect
            "GEOFENCED": "false",  # drivers here are at once where they are needed
            "RATE_LIMITS": "off",  # all of them have one address
            "STATUS_KEEP_S": "0",  # whoever asks again wants to know what is now
            "METRICS_TOKEN": METRICS_TOKEN,
            **environment,
        }
        SERVERS[self.url] = self
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0  # bytes of the log

    def start(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "doorstep",
            "up",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.folder),
        ]
        with open(self.folder / "server.log", "ab") as log:
            self._said_before = log.tell()
            self._process = subprocess.Popen(
                [*command, *arguments], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, f"not ready:\n{self.log()}"
            time.sleep(0.1)  # a process that starts can only be looked at

    def _is_ready(self) -> bool:
        # The server is ready a moment before its process takes a Ctrl-C for the wish to stop it, of which it tells.
        with open(self.folder / "server.log", "rb") as log:
            log.seek(self._said_before)
            if b"Ctrl-C" not in log.read():
                return False
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    async def employ_operator(self) -> Account:
        """An administrator, who is there from the first call on and approves merchants."""
        beside = running_services(self.folder)
        database_url = self._environment.get("DATABASE_URL") or (beside.database_url if beside else "")
        return await employ_operator(self.url, database_url, OPERATOR_PASSWORD)

    def stop(self) -> int:
        """Ctrl-C; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=60)

    def ended(self, timeout_s: float = 60.0) -> int:
        """The exit status of a server that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def command(self, *arguments: str) -> int:
        """Another `doorstep` command in the server's environment; returns the exit status, its words go to the log."""
        with open(self.folder / "server.log", "ab") as log:
            line = [sys.executable, "-m", "doorstep", *arguments]
            return subprocess.run(line, env=self._environment, stdout=log, stderr=log, timeout=120).returncode

    async def operator(self, api: Api) -> Account:
        """A dispatcher, whose account only this machine can make, signed in."""
        account = new_account("dispatcher")
        line = [
            sys.executable,
            "-m",
            "doorstep",
            "create-user",
            account.email,
            "--data-dir",
            str(self.folder),
        ]
        made = await asyncio.to_thread(
            subprocess.run,
            line,
            input=account.password.encode(),
            env=self._environment,
            capture_output=True,
            timeout=120,
        )
        assert made.returncode == 0, made.stderr
        await api.renew(account)
        return account

    def log(self) -> str:
        return (self.folder / "server.log").read_text()[-4000:]

    def pids(self, part: str) -> set[int]:
        """The processes of all such actors."""
        assert self._process is not None
        found = set()
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "".join(process.cmdline()).startswith(TITLES[part]):
                    found.add(process.pid)
        return found

    def pid(self, part: str) -> int | None:
        """The process of the one region, persistence or gateway actor; None while there is none."""
        return next(iter(self.pids(part)), None)

    def kill(self, part: str) -> float:
        """kill -9 the actor's process; returns the monotonic time of it."""
        pid = self.pid(part)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return time.monotonic()


class Phone:
    """A driver's client: everything it gets is kept, and can be waited for."""

    def __init__(self, town: Town, account: Account, lat: float, lng: float) -> None:
        self.town, self.account, self.lat, self.lng = town, account, lat, lng
        self.frames: list[wire.ServerFrame] = []
        self.closes: list[int] = []
        self.last_seq = 0
        self.resumes: list[bool] = []
        self._news = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._loop: asyncio.Task[None] | None = None
        self._pings = 0

    async def open(self, *, reconnect: bool = False, deadline_s: float = 20.0) -> Phone:
        """Connect, say hello and go on duty; with `reconnect`, do so again whenever the socket is lost."""
        before = len(self.resumes)
        self._loop = asyncio.create_task(self._run(reconnect))
        await self.wait_for(lambda: len(self.resumes) > before, deadline_s)
        await self.ping()
        return self

    async def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self.ping(on=False)
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self, reconnect: bool) -> None:
        while True:
            socket: ClientConnection | None = None
            try:
                async with connect(
                    self.town.api.socket_url,
                    subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
                    proxy=None,
                ) as socket:
                    self._socket = socket
                    self._news.set()
                    hello = wire.Hello(self.account.token, self.last_seq or None)
                    await socket.send(wire.encode(hello).decode())
                    async for text in socket:
                        frame = wire.decode_server(text)
                        self._take(frame)
                        if isinstance(frame, wire.Welcome) and len(self.resumes) > 1 and reconnect:
                            await self.ping()
            except ConnectionClosed:
                pass
            except OSError:
                if not reconnect:
                    raise
            if socket is not None and socket.close_code is not None:
                self.closes.append(socket.close_code)
                self._news.set()
            if self._socket is socket:  # and not of a second one that took over
                self._socket = None
            if not reconnect:
                return
            await asyncio.sleep(0.1)  # a client's back-off

    def _take(self, frame: wire.ServerFrame) -> None:
        self.frames.append(frame)
        if isinstance(frame, wire.Welcome):
            self.resumes.append(frame.resumed)
            self.last_seq = max(self.last_seq, frame.snapshot.last_seq if not frame.resumed else 0)
            if not frame.resumed:  # then what was offered meanwhile stands in the snapshot alone
                self.frames += [
                    wire.Offer(**msgspec.structs.asdict(offer)) for offer in frame.snapshot.offers
                ]
        self.last_seq = max(self.last_seq, frame.seq)
        self._news.set()

    async def wait_for(self, condition: Callable[[], object], deadline_s: float = 20.0) -> None:
        async with asyncio.timeout(deadline_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def expect(self, kind: type[T], deadline_s: float = 20.0, **fields: object) -> T:
        """The first frame of this type, received at any time, whose fields have these values."""

        def found() -> T | None:
            for frame in self.frames:
                if isinstance(frame, kind) and all(
                    getattr(frame, name) == value for name, value in fields.items()
                ):
                    return frame
            return None

        await self.wait_for(found, deadline_s)
        frame = found()
        assert frame is not None
        return frame

    async def send(self, frame: wire.ClientFrame) -> None:
        assert self._socket is not None
        await self._socket.send(wire.encode(frame).decode())

    async def send_text(self, text: str | bytes) -> None:
        assert self._socket is not None
        await self._socket.send(text)

    async def ping(self, *, on: bool = True) -> None:
        self._pings += 1
        await self.send(wire.Duty(on, self.lat, self.lng))

    async def ask(self, frame: Any, deadline_s: float = 20.0) -> wire.ServerFrame:
        """Send a message with an id and wait for its answer, over as many sockets as it takes."""

        def answered() -> bool:
            return any(each.in_reply_to == frame.id for each in self.frames)

        async with asyncio.timeout(deadline_s):
            while not answered():
                await self.wait_for(lambda: self._socket is not None, deadline_s)
                welcomes = len(self.resumes)
                with contextlib.suppress(ConnectionClosed):
                    await self.send(frame)
                await self.wait_for(lambda: answered() or len(self.resumes) > welcomes, deadline_s)  # noqa: B023
        return await self.answer(frame.id, deadline_s)

    async def answer(self, message_id: str, deadline_s: float = 20.0) -> wire.ServerFrame:
        await self.wait_for(lambda: any(frame.in_reply_to == message_id for frame in self.frames), deadline_s)
        return next(frame for frame in self.frames if frame.in_reply_to == message_id)

    # -- the driver's round -------------------------------------------------------------------------------------------

    async def offer(self, deadline_s: float = 20.0) -> wire.Offer:
        """The newest offer that came in since the last one asked for."""
        await self.wait_for(lambda: any(isinstance(frame, wire.Offer) for frame in self.frames), deadline_s)
        offer = next(frame for frame in reversed(self.frames) if isinstance(frame, wire.Offer))
        self.frames = [frame for frame in self.frames if not isinstance(frame, wire.Offer)]
        return offer

    async def accept(self, offer: wire.Offer) -> wire.TaskView:
        answer = await self.ask(wire.OfferAccept(new_key(), offer.offer_id))
        assert isinstance(answer, wire.OfferAccepted), answer
        return answer.tasks[0]

    async def step(self, what: type[wire.TaskArrive] | type[wire.TaskPickup], task_id: str) -> wire.TaskView:
        answer = await self.ask(what(new_key(), task_id))
        assert isinstance(answer, wire.TaskUpdated), answer
        return answer.task

    async def to_the_door(self, task: wire.TaskView) -> None:
        """Arrive at the store, take the goods, arrive at the door."""
        await self.step(wire.TaskArrive, task.task_id)
        await self.step(wire.TaskPickup, task.task_id)
        await self.step(wire.TaskArrive, task.task_id)

    async def check_id(self, order_id: str, token: str = "fake:pass", *, sober: bool = True) -> Reply:
        body = {"method": "scan", "vendor_token": token, "sober": sober}
        return await self.town.post(f"/v1/orders/{order_id}/doorstep_id_check/submit", self.account, body)

    async def deliver(self, order_id: str) -> Reply:
        return await self.town.post(f"/v1/orders/{order_id}/deliver/confirm", self.account)


class Town:
    """A store with a bottle to sell, a customer, and drivers, all made through the public interface."""

    def __init__(
        self, api: Api, region_id: str = "tx-dfw", lat: float = STORE_LAT, lng: float = STORE_LNG
    ) -> None:
        self.api, self.region_id, self.lat, self.lng = api, region_id, lat, lng
        self.merchant, self.customer = new_account("merchant"), new_account("customer")
        self.store_id = self.product_id = ""
        self.phones: list[Phone] = []
        self.orders: list[str] = []

    @classmethod
    async def found(cls, url: str, *where: Any) -> Town:
        """`where`: its market and the store's place, if not in Dallas."""
        town = cls(Api(url), *where)
        await asyncio.gather(town.api.sign_in(town.merchant), town.api.sign_in(town.customer))
        await SERVERS[url].employ_operator()
        await enter_business(town.api, town.merchant)
        merchant = f"/v1/merchants/{town.merchant.merchant_id}"
        store = {
            "name": "Corner",
            "region_id": town.region_id,
            "lat": town.lat,
            "lng": town.lng,
            "address": "1 Main St",
        }
        town.store_id = (await town.post(f"{merchant}/stores", town.merchant, store)).field("id")
        product = {"name": "Wine", "category": "alcohol", "price_cents": 1999}
        reply = await town.post(f"{merchant}/stores/{town.store_id}/products", town.merchant, product)
        town.product_id = reply.field("id")
        return town

    async def leave(self) -> None:
        """Leave nothing behind that would be offered to the drivers of the next test."""
        for order_id in self.orders:
            await self.post(f"/v1/orders/{order_id}/cancel", self.customer)
        for phone in self.phones:
            path = f"/v1/drivers/{phone.account.user_id}/duty"
            await self.post(path, phone.account, {"on": False, "lat": phone.lat, "lng": phone.lng})
            await phone.close()
        await self.api.close()

    async def post(self, path: str, account: Account, body: Any = None, key: str | None = None) -> Reply:
        return await self.api.request("POST", path, account=account, body=body or {}, key=key or new_key())

    async def get(self, path: str, account: Account) -> Any:
        reply = await self.api.request("GET", path, account=account)
        assert reply.ok, reply
        return reply.body

    async def hire(self) -> Account:
        """An approved driver."""
        account = await self.api.sign_in(new_account("driver"))
        await enter_service(self.api, account)
        return account

    async def driver(self, *, reconnect: bool = False, away: float = 0.01) -> Phone:
        """A driver on duty, `away` degrees north of the store."""
        account = await self.hire()
        phone = Phone(self, account, self.lat + away, self.lng)
        self.phones.append(phone)
        return await phone.open(reconnect=reconnect)

    def basket(self) -> dict[str, Any]:
        """What the customer wants, and where."""
        return {
            "store_id": self.store_id,
            "items": [{"product_id": self.product_id, "quantity": 1}],
            "dropoff": {"lat": self.lat + 0.03, "lng": self.lng + 0.02, "address": "12 Elm St"},
        }

    async def draft(self) -> str:
        """An order that was only placed."""
        self.orders.append(str((await self.post("/v1/orders", self.customer, self.basket())).field("id")))
        return self.orders[-1]

    async def order(self) -> str:
        """An order up to the merchant's acceptance: from here a driver is sought."""
        order_id = await self.draft()
        for path, body in (
            ("verify_age", {"vendor_token": "fake:pass"}),
            ("payment/authorize", {"vendor_token": "fake:ok"}),
        ):
            reply = await self.post(f"/v1/orders/{order_id}/{path}", self.customer, body)
            assert reply.ok, reply
        reply = await self.merchant_does(order_id, "accept")
        assert reply.ok, reply
        return order_id

    async def merchant_does(self, order_id: str, action: str) -> Reply:
        path = f"/v1/merchants/{self.merchant.merchant_id}/stores/{self.store_id}/orders/{order_id}/action"
        return await self.post(path, self.merchant, {"action": action})

    async def status(self, order_id: str) -> str:
        return str((await self.get(f"/v1/orders/{order_id}", self.customer))["status"])

    async def wait_status(self, order_id: str, *wanted: str, deadline_s: float = 20.0) -> None:
        async def reached() -> bool:
            return await self.status(order_id) in wanted

        await until(reached, deadline_s)

    async def dossier_types(self, order_id: str) -> list[str]:
        """The types of the dossier's events, after checking that the chain verifies."""
        verdict = await self.get(f"/v1/orders/{order_id}/dossier/verify", self.customer)
        assert verdict["ok"] is True, verdict
        dossier = await self.get(f"/v1/orders/{order_id}/dossier", self.customer)
        events = dossier["events"] if isinstance(dossier, dict) else dossier
        return [event["type"] for event in events]


def new_key() -> str:
    return uuid.uuid4().hex


def new_account(role: str) -> Account:
    return Account(
        email=f"{role}-{new_key()}@example.org", password="correct horse battery", role=role, name=role
    )
