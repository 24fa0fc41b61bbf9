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


def _fail(message: str) -> NoReturn:
    say(message)
    raise typer.Exit(1)


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
    _run(serve(settings, say, demo_drivers=drivers if demo else None))


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
    log: Annotated[Path, typer.Argument(help="A segment of a region's log, or the folder with all of them.")],
    solve: Annotated[
        bool, typer.Option("--solve", help="Solve every matching problem again and compare the plans.")
    ] = False,
) -> None:
    """Step a recorded log again and compare every decision. Exit 0: all agree, 1: one differs, 2: no usable log."""
    from doorstep.replay import replay_command

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


def main() -> None:
    """Entry point of the `doorstep` script."""
    app()
