"""Mixed load with Locust: customers, merchants and an operator over REST, drivers over sockets and REST.

    locust -f bench/locustfile.py --headless -u 60 -r 5 -t 120s --host http://localhost:8000

A driver is the demo's bot (`sim/bot/driver_bot.py`) on a socket of its own, with a car that is everywhere in no
time; its steps on the socket are timed as requests of type `WS`. Locust has made threads greenlets. See docs/bench.md.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
from locust import FastHttpUser, between, constant_pacing, events, task
from locust.env import Environment
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from domain import protocol as wire
from sim.bot.actions import Action, Call, Resync, Send
from sim.bot.driver_bot import DriverBot
from sim.bot.motion import Point, offset
from sim.bot.personas import CustomerShares, DriverPersona, door_outcome
from sim.demo.business import PAPERS_UNTIL
from sim.demo.city import REGION_ID
from sim.demo.clock import ServerTime

CENTRE = Point(32.7767, -96.7970)
PASSWORD = secrets.token_urlsafe()  # of this run's accounts: who reads this signs in as nobody
# A token of a dispatcher, for what only operators may read; without one the operator asks for what is open to all.
METRICS_TOKEN = os.environ.get("LOCUST_METRICS_TOKEN", "")
OPS_TOKEN = os.environ.get("LOCUST_OPS_TOKEN", "")
# A token of an administrator, who approves merchants and drivers: without one nothing is sold or driven.
ADMIN_TOKEN = os.environ.get("LOCUST_ADMIN_TOKEN", "")
STORE_WAIT_S = 60.0  # for the first merchant's store, before a customer gives up
SOCKET_TIMEOUT_S = 20.0
BACK_OFF_S = 1.0
LOOK_S = 0.25  # the longest sleep on a socket: an answer by REST may have left something to do
HURRIED = DriverPersona(
    think_min_s=0.2,
    think_max_s=1.0,
    speed_mps=2_000.0,
    detour=1.0,
    store_before_s=0.5,
    store_after_s=0.2,
    door_before_s=0.5,
    door_after_s=0.2,
    nobody_home_wait_s=1.0,
    roam_after_s=float("inf"),
)


class Market:
    """What the users share: the stores that are open."""

    def __init__(self) -> None:
        self.chance = Random()
        self.stores: list[tuple[str, str, Point]] = []  # store, product, where
        self.is_open = threading.Event()

    def add(self, store_id: str, product_id: str, where: Point) -> None:
        """A store opens."""
        self.stores.append((store_id, product_id, where))
        self.is_open.set()


MARKET = Market()


class Person(FastHttpUser):
    """Somebody with an account of their own, signed in."""

    abstract = True
    role = ""

    def on_start(self) -> None:
        """Register."""
        account = {
            "email": f"{self.role}-{uuid.uuid4().hex}@locust.example.com",
            "password": PASSWORD,
            "role": self.role,
            "name": f"Locust {self.role}",
        }
        answer = self.send("POST", "/v1/auth/register", body=account, token="")
        self.user_id, self.token = str(answer.get("user_id", "")), str(answer.get("access_token", ""))
        if not self.token:
            self.stop()

    def send(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        body: Any = None,
        key: str | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One request; the answer's body, `{}` where it has none or is a list. `name`: for the statistics."""
        status, answer = self.ask(method, path, name=name, body=body, key=key, token=token, headers=headers)
        return answer if 200 <= status < 300 else {}

    def ask(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        body: Any = None,
        key: str | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """The same with the status; 0: no answer."""
        given = dict(headers or {})
        if token := self.token if token is None else token:
            given["Authorization"] = f"Bearer {token}"
        if method == "POST":
            given["Idempotency-Key"] = key or uuid.uuid4().hex
        response = self.client.request(method, path, name=name or path, json=body, headers=given)
        try:
            answer = msgspec.json.decode(response.content or b"{}")
        except msgspec.DecodeError:
            answer = {}
        return response.status_code, answer if isinstance(answer, dict) else {}


class CustomerUser(Person):
    """Orders, proves the age, pays, looks where it is, and now and then calls it off."""

    role = "customer"
    weight = 4
    wait_time = between(1, 4)

    def on_start(self) -> None:
        """See `Person`; then wait for a store, and order there."""
        super().on_start()
        self._orders: list[str] = []
        if MARKET.is_open.wait(timeout=STORE_WAIT_S):
            self.order()
        else:
            self.stop()

    @task(3)
    def order(self) -> None:
        """From the click to the paid order."""
        store_id, product_id, where = MARKET.chance.choice(MARKET.stores)
        door = offset(where, MARKET.chance.uniform(-3000, 3000), MARKET.chance.uniform(-3000, 3000))
        body = {
            "store_id": store_id,
            "items": [{"product_id": product_id, "quantity": 1}],
            "dropoff": {"lat": door.lat, "lng": door.lng, "address": "12 Elm Street"},
        }
        order_id = self.send("POST", "/v1/orders", body=body).get("id")
        if order_id is None:
            return
        self._orders = [*self._orders[-9:], str(order_id)]
        self._step(order_id, "verify_age", {"vendor_token": "fake:pass"})
        self._step(order_id, "payment/authorize", {"vendor_token": "fake:ok"})

    @task(6)
    def look(self) -> None:
        """Where is it?"""
        if self._orders:
            order_id = MARKET.chance.choice(self._orders)
            self.send("GET", f"/v1/orders/{order_id}", name="/v1/orders/{id}")

    @task(1)
    def list(self) -> None:
        """What was ordered so far."""
        self.send("GET", "/v1/orders?limit=20", name="/v1/orders (list)")

    def _step(self, order_id: Any, step: str, body: Any) -> None:
        self.send("POST", f"/v1/orders/{order_id}/{step}", name=f"/v1/orders/{{id}}/{step}", body=body)


class MerchantUser(Person):
    """One store: accepts what was paid, and has it packed at once."""

    role = "merchant"
    fixed_count = 2
    wait_time = constant_pacing(1)

    def on_start(self) -> None:
        """See `Person`; then apply, be approved and open the store."""
        super().on_start()
        about = {"name": "Locust", "legal_name": "Locust LLC", "address": "1 Main Street"}
        self._merchant_id = str(self.send("POST", "/v1/merchants", body=about).get("id", ""))
        self.send(
            "POST",
            f"/v1/admin/merchants/{self._merchant_id}/review",
            name="/v1/admin/merchants/{id}/review",
            body={"verdict": "approve"},
            token=ADMIN_TOKEN,
            headers={"If-Match": '"1"'},
        )
        where = offset(CENTRE, MARKET.chance.uniform(-4000, 4000), MARKET.chance.uniform(-4000, 4000))
        stores, named = f"/v1/merchants/{self._merchant_id}/stores", "/v1/merchants/{id}/stores"
        store = {
            "name": f"Locust {uuid.uuid4().hex[:6]}",
            "region_id": REGION_ID,
            "address": "1 Main Street",
            "lat": where.lat,
            "lng": where.lng,
        }
        self._store_id = str(self.send("POST", stores, name=named, body=store).get("id", ""))
        beer = {"name": "Beer", "category": "alcohol", "price_cents": 999}
        product = self.send(
            "POST", f"{stores}/{self._store_id}/products", name=f"{named}/{{id}}/products", body=beer
        )
        if "id" in product:
            MARKET.add(self._store_id, str(product["id"]), where)

    @task
    def work(self) -> None:
        """Accept what is paid."""
        page = self.send(
            "GET", "/v1/orders?status=PAYMENT_AUTHORIZED&limit=50", name="/v1/orders (to accept)"
        )
        for order in page.get("orders", []):
            path = f"/v1/merchants/{self._merchant_id}/stores/{self._store_id}/orders/{order['id']}/action"
            for action in ("accept", "ready"):
                self.send("POST", path, name=f"/v1/merchants/.../action {action}", body={"action": action})


class OperatorUser(Person):
    """Reads how the market is doing. With `LOCUST_OPS_TOKEN` also what only operators may see."""

    role = "customer"  # nobody can register as an operator
    fixed_count = 1
    wait_time = constant_pacing(1)

    @task(3)
    def stats(self) -> None:
        """The market's figures."""
        if OPS_TOKEN:
            path = f"/v1/regions/{REGION_ID}/stats"
            self.send("GET", path, name="/v1/regions/{id}/stats", token=OPS_TOKEN)

    @task(1)
    def metrics(self) -> None:
        """As Prometheus does."""
        if METRICS_TOKEN:
            self.client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})

    @task(1)
    def offers(self) -> None:
        """The offer log."""
        if OPS_TOKEN:
            self.send("GET", "/v1/offers?limit=50", name="/v1/offers", token=OPS_TOKEN)


class DriverUser(Person):
    """A driver on duty until the run ends: one bot, one socket after another."""

    role = "driver"
    weight = 3
    wait_time = between(0.5, BACK_OFF_S)

    def on_start(self) -> None:
        """See `Person`; then apply, and be approved."""
        super().on_start()
        papers = [
            {"kind": kind, "last_four": "0000", "expires_at": PAPERS_UNTIL}
            for kind in ("LICENSE", "INSURANCE")
        ]
        self.send("POST", "/v1/drivers", body={"region_id": REGION_ID, "documents": papers})
        self.send(
            "POST",
            f"/v1/admin/drivers/{self.user_id}/review",
            name="/v1/admin/drivers/{id}/review",
            body={"verdict": "approve"},
            token=ADMIN_TOKEN,
            headers={"If-Match": '"1"'},
        )
        self._clock = ServerTime()
        self._ws: ClientConnection | None = None
        self._asked: dict[str, tuple[str, float]] = {}  # id -> name, when it was sent
        self._free_s: float | None = time.perf_counter()  # since when free and not asked
        seed = MARKET.chance.getrandbits(32)
        self._bot = DriverBot(
            name=f"l{uuid.uuid4().hex[:8]}",
            persona=HURRIED,
            rng=Random(seed),
            start=offset(CENTRE, MARKET.chance.uniform(-4000, 4000), MARKET.chance.uniform(-4000, 4000)),
            door=lambda order_id: door_outcome(seed, order_id, CustomerShares()),
        )

    @task
    def drive(self) -> None:
        """One socket, from hello until it is lost."""
        url = "ws" + str(self.host).removeprefix("http").rstrip("/") + "/v1/drivers/ws"
        began_s = time.perf_counter()
        try:
            with connect(
                url,
                subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
                compression=None,
                open_timeout=SOCKET_TIMEOUT_S,
                proxy=None,
            ) as ws:
                self._ws = ws
                ws.send(_text(wire.Hello(self.token, self._bot.resume_from)))
                actions = self._take(ws.recv(timeout=SOCKET_TIMEOUT_S))
                self._fire("hello", began_s)
                self._carry_out(actions)
                self._serve(ws)
        except (OSError, TimeoutError, WebSocketException) as error:
            self._fire("socket", began_s, error)
        finally:
            self._ws = None
            self._asked.clear()
            self._bot.on_disconnect()

    def _serve(self, ws: ClientConnection) -> None:
        while True:
            self._carry_out(self._bot.tick(self._clock.now_s()))
            wait_s = min(LOOK_S, max(0.001, self._clock.wall_until(self._bot.next_wake_s())))
            with suppress(TimeoutError):
                self._carry_out(self._take(ws.recv(timeout=wait_s)))

    def _take(self, raw: str | bytes) -> list[Action]:
        frame = wire.decode_server(raw)
        if isinstance(frame, wire.Welcome):
            self._clock.set(frame.server_time.timestamp(), frame.speed)
        elif isinstance(frame, wire.Offer) and self._free_s is not None:
            self._fire("offer (since free)", self._free_s)
            self._free_s = None
        if frame.in_reply_to in self._asked:
            name, sent_s = self._asked.pop(frame.in_reply_to)
            refused = RuntimeError(frame.code) if isinstance(frame, wire.Error) else None
            self._fire(name, sent_s, refused)
        return self._heard(lambda now_s: self._bot.on_frame(now_s, frame))

    def _heard(self, think: Callable[[float], list[Action]]) -> list[Action]:
        """What the bot makes of something; notes when the last task was handed over."""
        was_busy = self._bot.busy
        actions = think(self._clock.now_s())
        if was_busy and not self._bot.busy:
            self._free_s = time.perf_counter()
        return actions

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(frame=frame):
                    if self._ws is not None:
                        if (request_id := getattr(frame, "id", None)) is not None:
                            name = str(frame.__struct_config__.tag)
                            self._asked.setdefault(request_id, (name, time.perf_counter()))
                        self._ws.send(_text(frame))
                case Call():
                    threading.Thread(target=self._call, args=(action,), daemon=True).start()
                case Resync():
                    if self._ws is not None:
                        self._ws.close()

    def _call(self, call: Call) -> None:
        """A step at the door; beside the socket, whose pings go on."""
        step = "/".join(part for part in call.path.split("/")[2:] if not _is_id(part))
        device = {} if call.at is None else {"Device-At": call.at.isoformat(), "Device-N": str(call.n)}
        status, answer = self.ask(
            "POST", call.path, name=f"door: {step}", body=call.body, key=call.key, headers=device
        )
        actions = self._heard(lambda now_s: self._bot.on_answer(now_s, call.key, status, answer))
        with suppress(ConnectionClosed):
            self._carry_out(actions)

    def _fire(self, name: str, since_s: float, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=(time.perf_counter() - since_s) * 1000,
            response_length=0,
            exception=error,
            context={},
        )


def _text(frame: wire.ClientFrame) -> str:
    return wire.encode(frame).decode()


def _is_id(part: str) -> bool:
    try:
        uuid.UUID(part)
    except ValueError:
        return False
    return True


def _fail_if_nobody_drove(environment: Environment, **_: Any) -> None:
    """A run in which no offer was accepted has measured nothing: exit status 1."""
    answered = environment.stats.get("offer.accept", "WS").num_requests
    if not environment.process_exit_code and not answered:
        environment.process_exit_code = 1


events.quitting.add_listener(_fail_if_nobody_drove)  # type: ignore[no-untyped-call]
