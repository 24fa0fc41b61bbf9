"""The parts of `bench live`, `soak` and `storm` that need no server of ours."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from bench.live.http import Rest
from bench.live.record import Accepted, Note, Record, entry_of, judge
from bench.live.run import GOALS, faults, goal_lines, growth_lines, parse_sizes, usage_figures
from bench.live.series import Series
from bench.live.soak import trend, verdicts
from bench.live.usage import NoFiles, Processes, Usage, require_files
from bench.plots import fleet_plot, soak_plot
from domain.orders.dossier import GENESIS, Entry, extend
from domain.orders.lifecycle import OrderEvent, OrderStatus, Role
from domain.orders.records import OrderFact
from doorstep.cli.app import app

PNG = b"\x89PNG"


# -- the outside recorder ---------------------------------------------------------------------------------------------


def _chain(order_id: str, *steps: tuple[OrderEvent, OrderStatus, str]) -> list[Entry]:
    """A dossier; a step names the event, the status after it and the driver."""
    entries: list[Entry] = []
    head = GENESIS
    for seq, (event, status, driver_id) in enumerate(steps, 1):
        fact = OrderFact(
            order_id=order_id,
            event=event,
            status=status,
            role=Role.DRIVER,
            actor_id=driver_id,
            at_ms=seq,
            payload={},
        )
        entries.append(extend(head, seq, fact))
        head = entries[-1].hash
    return entries


_CREATED = (OrderEvent.CREATED, OrderStatus.DRAFT, "")
_CONFIRMED = (OrderEvent.MERCHANT_ACCEPTED, OrderStatus.CONFIRMED, "")
_DONE = (OrderEvent.DELIVERED, OrderStatus.DELIVERED, "d1")
_RELEASED = (OrderEvent.RELEASED, OrderStatus.CONFIRMED, "")


def _taken(driver_id: str) -> tuple[OrderEvent, OrderStatus, str]:
    return (OrderEvent.ASSIGNED, OrderStatus.ASSIGNED, driver_id)


def _record(*accepted: str, delivered: bool = False, refused: str | None = None) -> Record:
    note = Note("o", 0, 0.0, delivered=delivered, refused=refused)
    return Record({"o": note}, [Accepted("t", "o", driver_id) for driver_id in accepted])


def test_what_was_answered_and_stands_in_the_dossier_is_not_lost() -> None:
    dossier = _chain("o", _CREATED, _CONFIRMED, _taken("d1"), _DONE)
    found = judge(_record("d1", delivered=True), {"o": dossier})
    assert (found.lost, found.twice, dict(found.at_end)) == ([], [], {"delivered": 1})


@pytest.mark.parametrize(
    ("steps", "record", "at_end"),
    [
        ([_CREATED, _CONFIRMED], _record("d1"), "waiting"),  # accepted, said the server
        ([_CREATED, _CONFIRMED, _taken("d2")], _record("d1"), "under way"),
        ([_CREATED, _CONFIRMED, _taken("d1")], _record("d1", delivered=True), "under way"),
        ([_CREATED], _record(), "DRAFT"),  # left without a word
        ([], _record(), "broken"),  # gone
    ],
)
def test_an_answer_without_its_event_is_lost(
    steps: list[tuple[OrderEvent, OrderStatus, str]], record: Record, at_end: str
) -> None:
    found = judge(record, {"o": _chain("o", *steps)} if steps else {})
    assert found.lost
    assert dict(found.at_end) == {at_end: 1}
    assert found.values()["lost_count"] == len(found.lost)


def test_an_order_whose_checkout_was_refused_is_accounted_for() -> None:
    found = judge(_record(refused="payment: PAYMENT_DECLINED"), {"o": _chain("o", _CREATED)})
    assert found.lost == []
    assert dict(found.at_end) == {"refused: payment: PAYMENT_DECLINED": 1}


def test_a_chain_that_was_tampered_with_is_lost() -> None:
    dossier = _chain("o", _CREATED, _CONFIRMED, _taken("d1"), _DONE)
    dossier[1] = replace(dossier[1], at_ms=99)
    assert judge(_record("d1", delivered=True), {"o": dossier}).lost


def test_a_task_that_two_drivers_were_given_is_found() -> None:
    twice = _chain("o", _CREATED, _CONFIRMED, _taken("d1"))
    assert judge(_record("d1", "d2"), {"o": twice}).twice
    assert judge(_record("d1"), {"o": _chain("o", _CREATED, _CONFIRMED, _taken("d1"), _taken("d2"))}).twice


def test_a_task_that_was_taken_from_a_lost_driver_may_have_another() -> None:
    dossier = _chain("o", _CREATED, _CONFIRMED, _taken("d1"), _RELEASED, _taken("d2"), _DONE)
    assert judge(_record("d1", "d2", delivered=True), {"o": dossier}).twice == []


def test_an_event_comes_back_from_the_page_as_it_was() -> None:
    [entry] = _chain("o", _CREATED)
    event = {name: getattr(entry, name) for name in entry.__struct_fields__}
    assert (
        entry_of(event | {"prev_hash": entry.prev_hash.hex(), "hash": entry.hash.hex(), "at": "x"}) == entry
    )


# -- REST -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _answering(*answers: bytes) -> AsyncIterator[tuple[Rest, list[bytes]]]:
    """A server that gives these answers, one a request, whatever is asked; empty ones close the connection."""
    left, asked = list(answers), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            size = next(
                (int(line.split()[1]) for line in head.split(b"\r\n") if b"Content-Length" in line), 0
            )
            asked.append(head + await reader.readexactly(size))
            answer = left.pop(0)
            writer.write(answer)
            if not answer:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    rest = Rest("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield rest, asked
    finally:
        rest.close()
        server.close()


def _http(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_a_request_is_repeated_with_its_key_until_it_is_answered() -> None:
    busy = _http(503, b'{"code":"OVERLOADED"}', b"Retry-After: 0")
    async with _answering(busy, b"", _http(201, b'{"id":"7"}')) as (rest, asked):
        reply = await rest.post("/v1/orders", "token", {"a": 1}, "key")
    assert (reply.status, reply.field("id")) == (201, "7")
    assert len(asked) == 3
    assert len(set(asked)) == 1
    assert b"Idempotency-Key: key\r\n" in asked[0]
    assert b"Authorization: Bearer token\r\n" in asked[0]
    assert asked[0].endswith(b'\r\n\r\n{"a":1}')
    assert dict(rest.counts) == {"answer 503": 1}, "an idle connection may close: no fault"


async def test_a_refusal_is_an_answer() -> None:
    async with _answering(_http(409, b'{"code":"OFFER_TAKEN"}'), _http(200, b"{}")) as (rest, asked):
        assert (await rest.post("/x", "t", {}, "k")).code == "OFFER_TAKEN"
        assert (await rest.get("/y")).ok
    assert len(asked) == 2
    assert rest.counts.total() == 0


# -- figures ----------------------------------------------------------------------------------------------------------


def test_quantiles_are_exact_and_windows_do_not_overlap() -> None:
    series = Series()
    for n in range(1, 101):
        series.add(n / 1000)
    assert series.summary("x") == {
        "x_p50_ms": 50.0, "x_p90_ms": 90.0, "x_p99_ms": 99.0, "x_max_ms": 100.0, "x_count": 100,
    }  # fmt: skip
    assert series.window("x")["x_count"] == 100
    series.add(2.0)
    assert series.window("x") == {
        "x_p50_ms": 2000.0, "x_p90_ms": 2000.0, "x_p99_ms": 2000.0, "x_max_ms": 2000.0, "x_count": 1,
    }  # fmt: skip
    assert series.window("x")["x_p99_ms"] is None
    assert len(series) == 101


def test_use_is_a_share_of_a_core_between_two_looks() -> None:
    before = Usage({"gateway": 10.0}, {"gateway": 100 * 2**20, "generator": 2**20})
    after = Usage({"gateway": 12.0, "region": 1.0}, {"gateway": 110 * 2**20, "generator": 9 * 2**20})
    figures = usage_figures(before, after, 4.0)
    assert (figures["cpu_gateway_pct"], figures["cpu_region_pct"], figures["cpu_all_pct"]) == (
        50.0,
        25.0,
        75.0,
    )
    assert figures["rss_gateway_mb"] == 110.0
    assert figures["memory_grown_mb"] == 10.0, "the load's own memory is not the server's"


def test_a_goal_is_met_or_missed() -> None:
    lines = goal_lines(dict.fromkeys(GOALS, 0) | {"offer_p99_ms": 501.0, "accept_p99_ms": None})
    assert [line for line in lines if "MISSED" in line] == ["goal offer_p99_ms <= 500: 501, MISSED"]
    assert len(lines) == len(GOALS) - 1, "nothing is said of what was not measured"


def test_faults_are_what_a_calm_server_does_not_do() -> None:
    found: dict[str, Any] = {"errors": {"a": 1}, "refused": {"answer 503": 2}, "failures": ["x"]}
    calm: dict[str, Any] = {"sockets": {}, "refused": {}}
    assert faults(found | {"sockets": {"snapshots": 9, "resumed": 9, "accept: OFFER_TAKEN": 9}}, calm) == 4
    lost = {"closed 1013": 6, "error OVERLOADED": 1, "pushes missed": 1}
    crowd: dict[str, Any] = {"sockets": {"closed 1013": 5, "snapshots": 9}, "refused": {"answer 503": 1}}
    assert faults(found | {"sockets": lost}, crowd) == 6


def test_sizes_are_read_and_compared() -> None:
    assert parse_sizes("1000, 250") == [1000, 250]
    assert parse_sizes("") == []
    with pytest.raises(ValueError, match="at least one"):
        parse_sizes("0")
    rows = [{"drivers": 250, "offer_p99_ms": 4.0}, {"drivers": 1000, "offer_p99_ms": 8.0}]
    assert growth_lines(rows[:1]) == []
    assert [line.split(":")[0].strip() for line in growth_lines(rows)] == ["250 drivers", "1,000 drivers"]


def _samples(growth_mb_per_h: float, p99: Callable[[float], float]) -> list[dict[str, Any]]:
    """Half an hour, a sample every half minute; the first fifth is a steep warm-up."""
    made = []
    for n in range(60):
        hours = n / 120
        mb = 1000.0 + growth_mb_per_h * hours - max(0, 12 - n) * 50
        sample: dict[str, Any] = {
            f"rss_{kind}_mb": mb for kind in ("server", "gateway", "region", "persistence")
        }
        made.append(sample | {"at_min": 60 * hours, "offer_p99_ms": p99(hours), "accept_p99_ms": None})
    return made


def test_memory_that_grows_is_told_from_memory_that_does_not() -> None:
    flat, creeping = (trend(_samples(growth, lambda h: 300.0)) for growth in (10.0, 80.0))
    assert flat["growth_server_mb_per_h"] == pytest.approx(10.0, abs=0.1)
    assert creeping["growth_server_pct_per_h"] == pytest.approx(7.8, abs=0.3)
    assert verdicts(flat)[0].startswith("memory: flat")
    assert verdicts(creeping)[0].startswith("memory: NOT FLAT")


def test_latency_that_grows_is_told_unless_it_stays_within_its_goal() -> None:
    def word(p99: Callable[[float], float]) -> str:
        return verdicts(trend(_samples(0.0, p99)))[1]

    assert "NOT FLAT" in word(lambda h: 300.0 + 3000 * h)
    assert "NOT FLAT" not in word(lambda h: 100.0 + 600 * h), "within the goal"
    assert "NOT FLAT" not in word(lambda h: 900.0), "bad, but flat"
    assert verdicts(trend(_samples(0.0, word_less)))[2] == "accept_p99_ms: too short a run to tell"
    assert verdicts(trend([]))[0] == "memory: too short a run to tell"


def word_less(_: float) -> float:
    return 1.0


def test_pictures_are_drawn(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "drivers": 1000, "offer_p50_ms": 1.0, "offer_p99_ms": 2.0, "accept_p99_ms": None, "cpu_gateway_pct": 9.0,
        "rss_gateway_mb": 80.0, "reconnect_all_s": 2.0,
    }  # fmt: skip
    fleet_plot([row, row | {"drivers": 500}], tmp_path / "a" / "fleet.png")
    soak_plot(_samples(1.0, lambda h: 3.0), tmp_path / "soak.png", "a title")
    for path in (tmp_path / "a" / "fleet.png", tmp_path / "soak.png"):
        assert path.read_bytes().startswith(PNG)


# -- processes --------------------------------------------------------------------------------------------------------


# At the first word it starts a child with a gateway's title, which works and says so; at the second it ends the child.
_PARENT = """
import os, subprocess, sys
os.read(0, 1)
work = "import sys; n = sum(range(10**7)); print(n, flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", work, "ray::GatewayActor"], stdin=subprocess.PIPE)
os.read(0, 1)
child.communicate()
print("ended", flush=True)
os.read(0, 1)
"""


def test_processes_are_told_apart_and_their_use_is_counted() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=pipe, stdout=pipe, bufsize=0) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        processes = Processes(parent.pid)
        before = processes.look()
        parent.stdin.write(b"!")
        parent.stdout.readline()
        after = processes.look()
        assert len(processes.pids("gateway")) == 1
        assert processes.pids("region") == []
        parent.stdin.write(b"!")
        parent.stdout.readline()
        ended = processes.look()
    assert "gateway" not in before.cpu_s
    assert after.cpu_s["gateway"] > 0.01
    assert after.rss_bytes["gateway"] > 2**20
    assert ended.cpu_s["gateway"] == after.cpu_s["gateway"], "what it used is not forgotten"


def test_too_many_sockets_are_refused_with_a_sentence() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this system has no limit")
    with pytest.raises(NoFiles, match="raise the hard limit"):
        require_files(hard)
    require_files(10)


@pytest.mark.parametrize(
    "arguments",
    [
        ["live", "--drivers", "0"],
        ["live", "--sizes", "10,none"],
        ["live", "--ping-hz", "0"],
        ["soak", "--minutes", "0"],
        ["storm", "--drivers", "0"],
    ],
)
def test_a_wrong_argument_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["bench", *arguments]).exit_code == 2
