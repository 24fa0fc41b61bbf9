"""The command line. Exit status 0 only when what was asked succeeded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from doorstep.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print local variables, passwords among them
    help="Dispatch for age-restricted last-mile delivery.",
)
bench_app = typer.Typer(no_args_is_help=True, help="Measured comparisons; see docs/bench.md.")
app.add_typer(bench_app, name="bench")
roads_app = typer.Typer(
    no_args_is_help=True, help="Road tiles, and speeds learnt from roads; see docs/roads.md."
)
app.add_typer(roads_app, name="roads")
offers_app = typer.Typer(no_args_is_help=True, help="The log of all offers.")
app.add_typer(offers_app, name="offers")

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of databases and secrets (DATA_DIR).")
]


def say(text: str) -> None:
    """Progress goes to standard error, so that standard output holds results alone."""
    print(text, file=sys.stderr, flush=True)


def _settings(**overrides: Any) -> Settings:
    try:
        return load_settings(**{name: value for name, value in overrides.items() if value is not None})
    except SettingsError as error:
        _fail(str(error))


def _fail(message: str, status: int = 1) -> NoReturn:
    say(message)
    raise typer.Exit(status)


def _run(coroutine: Coroutine[Any, Any, int]) -> None:
    try:
        status = asyncio.run(coroutine)
    except KeyboardInterrupt:
        status = 130
    raise typer.Exit(status)


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the gateway (PORT).")] = None,
    data_dir: DataDir = None,
    regions: Annotated[str | None, typer.Option(help="Markets, comma separated (REGIONS).")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Bring drivers and orders along.")] = False,
    speed: Annotated[
        float | None, typer.Option(help="Server seconds per second (SPEED; 10 with --demo).")
    ] = None,
    drivers: Annotated[int, typer.Option(help="Drivers of the demo.", min=1, max=5000)] = 200,
    record: Annotated[
        Path | None,
        typer.Option(help="Folder for logs of what regions decide, for `doorstep replay` (RECORD_DIR)."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Run in this Ray cluster, host:port or `auto`, instead of one of its own."),
    ] = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="With --address: leave the actors to serve when this command ends."),
    ] = False,
) -> None:
    """Start the server, and with --demo a city that uses it. Ctrl-C drains and leaves the data."""
    from doorstep.up import serve

    if demo and speed is None:
        speed = 10.0
    settings = _settings(
        host=host, port=port, data_dir=data_dir, regions=regions, speed=speed, record_dir=record
    )
    if demo and settings.environment == "production":
        _fail("--demo brings made-up drivers and orders, and is refused in production.")
    if demo and address is not None:
        _fail(
            "--demo is for one machine: with --address run `doorstep demo --server URL` beside it.", status=2
        )
    if detach and address is None:
        _fail("--detach needs --address: a Ray cluster of this command's own ends with it.", status=2)
    demo_drivers = drivers if demo else None
    _run(serve(settings, say, demo_drivers=demo_drivers, address=address, detach=detach))


Address = Annotated[
    str | None,
    typer.Option("--address", help="The Ray cluster, host:port or `auto`; the one of DATA_DIR unless given."),
]


@app.command()
def restart(
    part: Annotated[str, typer.Argument(help="gateways, regions, persistence or all.")],
    address: Address = None,
    data_dir: DataDir = None,
) -> None:
    """Restart actors one at a time without losing anything: each drains, comes back, then the next one."""
    from doorstep.rolling import PARTS, restart_command

    if part not in PARTS:
        _fail(f"{part!r} is not one of {', '.join(PARTS)}.", status=2)
    _run(restart_command(part, _address(address, data_dir), say))


@app.command("drain")
def drain_server(
    address: Address = None,
    node: Annotated[
        bool, typer.Option("--node", help="Only what is on this machine's Ray node, which is about to go.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Stop a server that `doorstep up --address ... --detach` left behind, in good order."""
    from doorstep.rolling import drain_command

    _run(drain_command(_address(address, data_dir), say, node=node))


def _address(given: str | None, data_dir: Path | None) -> str:
    from doorstep.cluster import address_file

    if given is not None:
        return given
    folder = _settings(data_dir=data_dir).data_dir
    try:
        return address_file(folder).read_text().strip()
    except OSError:
        _fail(
            f"No server has run in {folder}: name its folder with --data-dir, or --address of a Ray cluster."
        )


@app.command()
def demo(
    server: Annotated[str, typer.Option(help="URL of a running server.")] = "http://localhost:8000",
    replay: Annotated[Path | None, typer.Option(help="A day to replay instead of the built-in city.")] = None,
    from_min: Annotated[float | None, typer.Option("--from", help="Start at this minute of the day.")] = None,
    to_min: Annotated[float | None, typer.Option("--to", help="Place no orders after this minute.")] = None,
    drivers: Annotated[int, typer.Option(help="Drivers of the built-in city.", min=1, max=5000)] = 200,
    duration_s: Annotated[
        float | None, typer.Option(help="Stop the built-in city after so many seconds.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything made up.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the summary as JSON.")] = None,
) -> None:
    """Drive a running server through its public protocol; ends with a summary."""
    from doorstep.up import demo_command
    from sim.demo import DemoOptions

    options = DemoOptions(
        server=server,
        replay=replay,
        from_min=from_min,
        to_min=to_min,
        drivers=drivers,
        duration_s=duration_s,
        seed=seed,
    )
    _run(demo_command(options, out, say))


@app.command()
def replay(
    log: Annotated[
        Path | None,
        typer.Argument(
            help="A segment of a region's log, or the folder with all of them. With --set also a benchmark day."
        ),
    ] = None,
    solve: Annotated[
        bool, typer.Option("--solve", help="Solve every matching problem again and compare the plans.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="What if: NAME=VALUE, such as beta=2 or fleet=0.8; `help` lists the names."
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(help="What if: NAME=VALUE that holds in both runs, such as answer_s=15."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="What if: runs of each.", min=1, max=100)] = 1,
    seed: Annotated[int, typer.Option(help="What if: seed of the first run.")] = 1,
    pay_per_order: Annotated[
        float, typer.Option(help="What if: a courier's dollars per order.", min=0)
    ] = 10.0,
    pay_per_hour: Annotated[
        float, typer.Option(help="What if: ... and at least so many per hour on duty.", min=0)
    ] = 15.0,
    out: Annotated[
        Path | None, typer.Option("--out", help="What if: folder for whatif.json and whatif.png.")
    ] = None,
) -> None:
    """Step a recorded log again and compare every decision. Exit 0: all agree, 1: one differs, 2: no usable log.

    With --set: run the day twice on the virtual market, as it was and changed, and print what changes (docs/replay.md).
    """
    if settings or given:
        from doorstep.whatif import WhatIfOptions, what_if_command
        from sim.whatif import Pay

        if solve:
            _fail("--solve compares a log's plans, and goes without --set.", status=2)
        options = WhatIfOptions(
            log=log,
            settings=tuple(settings or ()),
            given=tuple(given or ()),
            seed=seed,
            seeds=seeds,
            pay=Pay(per_order_usd=pay_per_order, per_hour_usd=pay_per_hour),
            out=out,
        )
        raise typer.Exit(what_if_command(options, say))
    from doorstep.replay import replay_command

    if log is None:
        _fail("Name the log that is to be replayed.", status=2)
    raise typer.Exit(replay_command(log, solve, say))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the schema to the newest revision. Takes DATABASE_URL, or the embedded Postgres."""
    from doorstep.up import migrate_command

    _run(migrate_command(_settings(data_dir=data_dir), say))


@app.command()
def sim(
    seeds: Annotated[int, typer.Option(help="How many worlds.", min=1, max=10_000_000)] = 1_000,
    start: Annotated[int, typer.Option(help="Seed of the first.", min=0)] = 1,
    steps: Annotated[
        int, typer.Option(help="Messages after which faults end in a world at the latest.", min=0)
    ] = 4_000,
    faults: Annotated[
        str | None, typer.Option(help="Kinds of fault, comma separated; `none` for fair weather.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Run this world alone.", min=0)] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: tell its story.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core if not given.", min=1)] = None,
) -> None:
    """Run the whole server in simulated worlds where everything goes wrong, and hold every promise (docs/sim.md)."""
    from doorstep.simulate import campaign, kinds_of, one
    from sim.campaign import Order

    try:
        kinds = kinds_of(faults)
    except ValueError as error:
        _fail(str(error))
    order = Order(seeds=seeds, start=start, steps=steps, faults=kinds)
    raise typer.Exit(one(seed, order, trace) if seed is not None else campaign(order, workers, say))


@app.command("expire-offers")
def expire_offers(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 1_000,
    server: Annotated[str, typer.Option(help="URL of a running server.")] = "http://localhost:8000",
    data_dir: DataDir = None,
) -> None:
    """Expire offers that are past their time. The region does so by itself; this is for recovery."""
    from doorstep.up import expire_command

    _run(expire_command(_settings(data_dir=data_dir), server, limit, say))


@offers_app.command("export")
def export_offers(
    out: Annotated[Path, typer.Option(help="File to write: .csv or .jsonl.")],
    start: Annotated[
        str | None, typer.Option("--from", help="Made at or after this time, such as 2026-01-31T18:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Made before this time.")] = None,
    region: Annotated[str | None, typer.Option(help="Of this market alone.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write the offer log with features, outcomes and latencies, newest first, to train on."""
    from doorstep.offers import export_command

    settings = _settings(data_dir=data_dir)
    _run(export_command(settings, say, out=out, start=start, end=end, region_id=region))


@app.command("create-user")
def create_user(
    email: str,
    role: Annotated[str, typer.Option(help="dispatcher or admin.")] = "dispatcher",
    name: Annotated[str, typer.Option()] = "",
    data_dir: DataDir = None,
) -> None:
    """Make an operator's account (they cannot register themselves). Reads the password from standard input."""
    from doorstep.up import create_user_command

    password = (
        typer.prompt("Password", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    )
    _run(create_user_command(_settings(data_dir=data_dir), email, role, name, password.strip(), say))


@roads_app.command("build")
def roads_build(
    file: Annotated[Path, typer.Argument(help="OpenStreetMap extract: .osm.pbf, or .osm / .osm.gz.")],
    tiles: Annotated[
        Path | None, typer.Option(help="Folder of the tiles, which are replaced (VALHALLA_TILES).")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make road tiles for ROUTER_MODE=VALHALLA."""
    from doorstep.roads import build_command

    raise typer.Exit(build_command(_settings(valhalla_tiles=tiles, data_dir=data_dir), file, say))


@roads_app.command("calibrate")
def roads_calibrate(
    samples: Annotated[
        int, typer.Option(help="Drives to ask the road engine for.", min=100, max=1_000_000)
    ] = 5_000,
    region: Annotated[str | None, typer.Option(help="Market; the first of REGIONS unless given.")] = None,
    centre: Annotated[
        str | None, typer.Option(help="LAT,LNG to sample round, unless it is the market's centre.")
    ] = None,
    radius_km: Annotated[
        float | None, typer.Option(help="How far round, unless it is the market's radius.", min=1, max=200)
    ] = None,
    trips: Annotated[
        Path | None,
        typer.Option(
            help="Learn from this CSV of real drives instead, hours of the day included:"
            " from_lat, from_lng, to_lat, to_lng, start_ms, seconds."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the places.", min=0)] = 1,
    out: Annotated[
        Path | None, typer.Option(help="File to write; TRAVEL_TABLE or travel.json in DATA_DIR.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Learn detour, speed and their zones from the road engine, and write the table for TRAVEL_TABLE."""
    from doorstep.roads import calibrate_command, place_of

    try:
        at = place_of(centre) if centre is not None else None
    except ValueError as error:
        _fail(f"--centre {error}")
    settings = _settings(data_dir=data_dir)
    raise typer.Exit(
        calibrate_command(
            settings,
            say,
            samples=samples,
            region=region,
            centre=at,
            radius_km=radius_km,
            trips=trips,
            seed=seed,
            out=out,
        )
    )


ServerOption = Annotated[
    str | None,
    typer.Option("--server", help="URL of a running server; without it one is started for the run."),
]
PortOption = Annotated[int | None, typer.Option("--port", help="Port of the server that is started (PORT).")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for summary.json.")]


@bench_app.command("ingest")
def bench_ingest(
    sockets: Annotated[int, typer.Option(min=1, max=20_000)] = 200,
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 10.0,
    server: ServerOption = None,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Location pings a second from sockets into the region's memory."""
    from bench.ingest import IngestOptions
    from doorstep.benches import ingest

    _run(ingest(_settings(port=port), server, IngestOptions(sockets=sockets, seconds=seconds), out, say))


@bench_app.command("accept")
def bench_accept(
    drivers: Annotated[int, typer.Option(min=1, max=5_000)] = 50,
    orders: Annotated[int, typer.Option(min=1, max=100_000)] = 300,
    server: ServerOption = None,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Milliseconds from a driver's accept to its durable answer, over real sockets."""
    from bench.accept import AcceptOptions
    from doorstep.benches import accept

    _run(accept(_settings(port=port), server, AcceptOptions(drivers=drivers, orders=orders), out, say))


@bench_app.command("plan")
def bench_plan(
    drivers: Annotated[int, typer.Option(min=1, max=20_000)] = 5_000,
    tasks: Annotated[int, typer.Option(help="Open before it is measured.", min=1, max=5_000)] = 1_000,
    rate: Annotated[float, typer.Option(help="New orders a second meanwhile.", min=0.1, max=100)] = 5.0,
    duration: Annotated[float, typer.Option(help="Seconds that are measured.", min=1, max=120)] = 60.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Milliseconds from an order's opening to the plan that has it, in a live market full of open tasks."""
    from bench.plan import PlanOptions
    from doorstep.benches import plan

    options = PlanOptions(drivers=drivers, tasks=tasks, rate=rate, duration_s=duration, seed=seed)
    _run(plan(_settings(port=port), options, out, say))


@bench_app.command("live")
def bench_live(
    drivers: Annotated[int, typer.Option(help="Sockets that stay open.", min=1, max=100_000)] = 10_000,
    ping_hz: Annotated[float, typer.Option(help="Pings a second of each driver.", min=0.01, max=10)] = 1.0,
    orders_per_min: Annotated[float, typer.Option(min=1, max=100_000)] = 600.0,
    duration: Annotated[float, typer.Option(help="Seconds of orders.", min=1, max=86_400)] = 60.0,
    sizes: Annotated[
        str, typer.Option(help="Fleets to run one after the other, comma separated, each on a fresh server.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    server: ServerOption = None,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Drivers on sockets, orders from click to door: latencies, what is lost, processor and memory."""
    from bench.live import LiveOptions, parse_sizes
    from doorstep.benches import live

    try:
        parse_sizes(sizes)
    except ValueError as error:
        _fail(f"--sizes: {error}", status=2)
    options = LiveOptions(
        drivers=drivers,
        ping_hz=ping_hz,
        orders_per_min=orders_per_min,
        duration_s=duration,
        sizes=sizes,
        seed=seed,
    )
    _run(live(_settings(port=port), server, options, out, say))


@bench_app.command("soak")
def bench_soak(
    drivers: Annotated[int, typer.Option(min=1, max=100_000)] = 5_000,
    ping_hz: Annotated[float, typer.Option(min=0.01, max=10)] = 1.0,
    orders_per_min: Annotated[float, typer.Option(min=1, max=100_000)] = 300.0,
    minutes: Annotated[float, typer.Option(min=0.05, max=10_000)] = 30.0,
    sample: Annotated[float, typer.Option(help="Seconds between samples.", min=1, max=600)] = 10.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """The load of `bench live` for long: whether memory and latency stay flat."""
    from bench.live_soak import SoakOptions
    from doorstep.benches import soak

    options = SoakOptions(
        drivers=drivers,
        ping_hz=ping_hz,
        orders_per_min=orders_per_min,
        minutes=minutes,
        sample_s=sample,
        seed=seed,
    )
    _run(soak(_settings(port=port), options, out, say))


@bench_app.command("storm")
def bench_storm(
    drivers: Annotated[int, typer.Option(min=1, max=100_000)] = 10_000,
    ping_hz: Annotated[float, typer.Option(min=0.01, max=10)] = 1.0,
    orders_per_min: Annotated[float, typer.Option(min=1, max=100_000)] = 120.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Gateways killed and restarted under all sockets: seconds until the drivers are back, and what is lost."""
    from bench.live_storm import StormOptions
    from doorstep.benches import storm

    options = StormOptions(drivers=drivers, ping_hz=ping_hz, orders_per_min=orders_per_min, seed=seed)
    _run(storm(_settings(port=port), options, out, say))


@bench_app.command("writes")
def bench_writes(
    lives: Annotated[int, typer.Option(help="Orders under way at once.", min=1, max=5_000)] = 256,
    connections: Annotated[int, typer.Option(help="That place orders.", min=1, max=1_000)] = 64,
    seconds: Annotated[float, typer.Option(help="Of each measurement.", min=1, max=600)] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Durable commands a second beside commits and COPY, and orders a second beside one bare insert."""
    from bench.writes import WritesOptions
    from doorstep.benches import writes

    options = WritesOptions(lives=lives, connections=connections, seconds=seconds, rounds=rounds)
    _run(writes(_settings(port=port), options, out, say))


@bench_app.command("hostile")
def bench_hostile(
    frames: Annotated[int, typer.Option(help="Mutated frames.", min=1, max=100_000_000)] = 1_000_000,
    drivers: Annotated[int, typer.Option(help="Well-behaved ones.", min=1, max=1_000)] = 20,
    mob: Annotated[int, typer.Option(help="Sockets that send the mutants.", min=1, max=1_000)] = 400,
    flood_per_s: Annotated[
        float, typer.Option(help="Pings of the flooder; the others send one a second.", min=1, max=1e6)
    ] = 10.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """A flood, a slow reader and mutated frames, beside drivers who must not feel them."""
    from bench.hostile import HostileOptions
    from doorstep.benches import hostile

    options = HostileOptions(drivers=drivers, frames=frames, flood_per_s=flood_per_s, seed=seed)
    _run(hostile(_settings(port=port), mob, options, out, say))


@bench_app.command("match")
def bench_match(
    sizes: Annotated[
        str | None, typer.Option(help="TASKSxDRIVERS, comma separated; those of docs/bench.md unless given.")
    ] = None,
    market: Annotated[str, typer.Option(help="city: crowds round centres; even: anywhere alike.")] = "city",
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
    seed: Annotated[int, typer.Option()] = 1,
    out: OutOption = None,
) -> None:
    """Milliseconds of a whole FAST plan, beside its bare parts and the optimum over all pairs."""
    from bench.match import MARKETS, SIZES, MatchOptions, parse_sizes
    from doorstep.benches import match

    if market not in MARKETS:
        _fail(f"--market is one of {', '.join(MARKETS)}")
    try:
        parse_sizes(sizes or SIZES)
    except ValueError as error:
        _fail(f"--sizes: {error}")
    raise typer.Exit(
        match(MatchOptions(sizes=sizes or SIZES, market=market, rounds=rounds, seed=seed), out, say)
    )


@bench_app.command("mdrp")
def bench_mdrp(
    instances: Annotated[Path, typer.Option(help="Folder of mdrplib instances.")],
    out: Annotated[Path, typer.Option(help="Folder for solutions, instances.csv and summary.json.")],
    accept: Annotated[str, typer.Option(help="always, or uniform: a rate of 0.4 to 1 a courier.")] = "always",
    only: Annotated[str, typer.Option(help="Only instances whose name matches this pattern.")] = "*",
    jobs: Annotated[int | None, typer.Option(help="Processes; one a core if not given.", min=1)] = None,
    horizon_min: Annotated[int, typer.Option(help="Minutes between two looks: 1 or 5.")] = 1,
    rows: Annotated[
        str, typer.Option(help="Of main, horizon5, greedy, uniform; comma separated.")
    ] = "main,horizon5,greedy,uniform",
    seed: Annotated[int, typer.Option(help="Seed of the couriers' answers.")] = 1,
) -> None:
    """Dispatch the public Grubhub days on a virtual clock, beside published algorithms. Exit 1: a rule was broken."""
    from bench.mdrp import MdrpOptions
    from doorstep.benches import mdrp

    options = MdrpOptions(
        instances=instances,
        accept=accept,
        only=only,
        jobs=jobs,
        horizon_min=horizon_min,
        rows=rows,
        seed=seed,
    )
    raise typer.Exit(mdrp(options, out, say))


@bench_app.command("routes")
def bench_routes(
    data: Annotated[
        Path | None, typer.Option(help="Folder with lilim and sartori_buriol; ../shared/data unless given.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="For each instance; 0: as long as VROOM takes.", min=0, max=3600)
    ] = 0.0,
    peers: Annotated[
        str, typer.Option(help="Of vroom, pyvrp, ortools; comma separated.")
    ] = "vroom,pyvrp,ortools",
    only: Annotated[str, typer.Option(help="Only instances whose names begin so; comma separated.")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    out: OutOption = None,
) -> None:
    """Vehicles and travel of pick-up and delivery routes, beside other engines and the best known values."""
    from bench.routes import DATA, RoutesOptions
    from doorstep.benches import routes

    options = RoutesOptions(data=str(data or DATA), seconds=seconds, peers=peers, only=only, seed=seed)
    raise typer.Exit(routes(options, out, say))


def main() -> None:
    """Entry point of the `doorstep` script."""
    app()
