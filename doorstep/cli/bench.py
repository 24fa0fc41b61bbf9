"""`doorstep bench`: the commands of the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doorstep.cli.terminal import fail, run, say, settings_of

app = typer.Typer(no_args_is_help=True, help="Measured comparisons; see docs/bench.md.")

ServerOption = Annotated[
    str | None,
    typer.Option("--server", help="URL of a running server; without it one is started for the run."),
]
PortOption = Annotated[int | None, typer.Option("--port", help="Port of the server that is started (PORT).")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder for summary.json.")]


@app.command("ingest")
def bench_ingest(
    sockets: Annotated[int, typer.Option(min=1, max=20_000)] = 200,
    seconds: Annotated[float, typer.Option(min=1, max=600)] = 10.0,
    server: ServerOption = None,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Location pings a second from sockets into the region's memory."""
    from bench.throughput.ingest import IngestOptions
    from doorstep.cli.bench_servers import ingest

    run(ingest(settings_of(port=port), server, IngestOptions(sockets=sockets, seconds=seconds), out, say))


@app.command("accept")
def bench_accept(
    drivers: Annotated[int, typer.Option(min=1, max=5_000)] = 50,
    orders: Annotated[int, typer.Option(min=1, max=100_000)] = 300,
    server: ServerOption = None,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Milliseconds from a driver's accept to its durable answer, over real sockets."""
    from bench.latency.accept import AcceptOptions
    from doorstep.cli.bench_servers import accept

    run(accept(settings_of(port=port), server, AcceptOptions(drivers=drivers, orders=orders), out, say))


@app.command("plan")
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
    from bench.latency.plan import PlanOptions
    from doorstep.cli.bench_servers import plan

    options = PlanOptions(drivers=drivers, tasks=tasks, rate=rate, duration_s=duration, seed=seed)
    run(plan(settings_of(port=port), options, out, say))


@app.command("live")
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
    from bench.live.run import LiveOptions, parse_sizes
    from doorstep.cli.bench_servers import live

    try:
        parse_sizes(sizes)
    except ValueError as error:
        fail(f"--sizes: {error}", status=2)
    options = LiveOptions(
        drivers=drivers,
        ping_hz=ping_hz,
        orders_per_min=orders_per_min,
        duration_s=duration,
        sizes=sizes,
        seed=seed,
    )
    run(live(settings_of(port=port), server, options, out, say))


@app.command("soak")
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
    from bench.live.soak import SoakOptions
    from doorstep.cli.bench_servers import soak

    options = SoakOptions(
        drivers=drivers,
        ping_hz=ping_hz,
        orders_per_min=orders_per_min,
        minutes=minutes,
        sample_s=sample,
        seed=seed,
    )
    run(soak(settings_of(port=port), options, out, say))


@app.command("storm")
def bench_storm(
    drivers: Annotated[int, typer.Option(min=1, max=100_000)] = 10_000,
    ping_hz: Annotated[float, typer.Option(min=0.01, max=10)] = 1.0,
    orders_per_min: Annotated[float, typer.Option(min=1, max=100_000)] = 120.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Gateways killed and restarted under all sockets: seconds until the drivers are back, and what is lost."""
    from bench.live.storm import StormOptions
    from doorstep.cli.bench_servers import storm

    options = StormOptions(drivers=drivers, ping_hz=ping_hz, orders_per_min=orders_per_min, seed=seed)
    run(storm(settings_of(port=port), options, out, say))


@app.command("writes")
def bench_writes(
    commands: Annotated[bool, typer.Option(help="Or orders over REST alone.")] = True,
    lives: Annotated[int, typer.Option(help="Orders under way at once.", min=1, max=5_000)] = 256,
    connections: Annotated[int, typer.Option(help="That place orders.", min=1, max=1_000)] = 64,
    seconds: Annotated[float, typer.Option(help="Of each measurement.", min=1, max=600)] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Durable commands a second beside commits and COPY, orders a second beside one insert and beside the same work."""
    from bench.throughput.writes import WritesOptions
    from doorstep.cli.bench_servers import writes

    options = WritesOptions(
        commands=commands, lives=lives, connections=connections, seconds=seconds, rounds=rounds
    )
    run(writes(settings_of(port=port), options, out, say))


@app.command("hostile")
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
    from bench.hostile.hostile import HostileOptions
    from doorstep.cli.bench_servers import hostile

    options = HostileOptions(drivers=drivers, frames=frames, flood_per_s=flood_per_s, seed=seed)
    run(hostile(settings_of(port=port), mob, options, out, say))


@app.command("crowd")
def bench_crowd(
    halves: Annotated[int, typer.Option(help="Half-sent bodies.", min=1, max=10_000)] = 530,
    silent: Annotated[int, typer.Option(help="Silent connections.", min=1, max=10_000)] = 1_000,
    seconds: Annotated[float, typer.Option(help="Of each attack.", min=1, max=600)] = 10.0,
    port: PortOption = None,
    out: OutOption = None,
) -> None:
    """Half-sent bodies, silent connections, endless heads and addresses, floods of status pages, beside neighbours."""
    from bench.hostile.crowd import CrowdOptions
    from doorstep.cli.bench_servers import crowd

    options = CrowdOptions(halves=halves, silent=silent, attack_s=seconds)
    run(crowd(settings_of(port=port), options, out, say))


@app.command("match")
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
    from bench.dispatch.match import MARKETS, SIZES, MatchOptions, parse_sizes
    from doorstep.cli.bench_servers import match

    if market not in MARKETS:
        fail(f"--market is one of {', '.join(MARKETS)}")
    try:
        parse_sizes(sizes or SIZES)
    except ValueError as error:
        fail(f"--sizes: {error}")
    raise typer.Exit(
        match(MatchOptions(sizes=sizes or SIZES, market=market, rounds=rounds, seed=seed), out, say)
    )


@app.command("mdrp")
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
    from bench.dispatch.mdrp import MdrpOptions
    from doorstep.cli.bench_servers import mdrp

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


@app.command("routes")
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
    from bench.dispatch.routes import DATA, RoutesOptions
    from doorstep.cli.bench_servers import routes

    options = RoutesOptions(data=str(data or DATA), seconds=seconds, peers=peers, only=only, seed=seed)
    raise typer.Exit(routes(options, out, say))
