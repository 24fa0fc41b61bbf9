"""The command line. Exit status 0 only when what was asked succeeded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from doorstep.cli import bench
from doorstep.cli.terminal import DataDir, fail, run, say, settings_of
from doorstep.settings.secret_files import RAY_TOKEN

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they would print local variables, passwords among them
    help="Dispatch for age-restricted last-mile delivery.",
)
app.add_typer(bench.app, name="bench")
roads_app = typer.Typer(
    no_args_is_help=True, help="Road tiles, and speeds learnt from roads; see docs/roads.md."
)
app.add_typer(roads_app, name="roads")
offers_app = typer.Typer(no_args_is_help=True, help="The log of all offers.")
app.add_typer(offers_app, name="offers")
outbox_app = typer.Typer(
    no_args_is_help=True, help="Events that nobody took: see them, have them tried again."
)
app.add_typer(outbox_app, name="outbox")
money_app = typer.Typer(no_args_is_help=True, help="The ledger of money; see docs/money.md.")
app.add_typer(money_app, name="money")


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
    from doorstep.cli.up import serve

    if demo and speed is None:
        speed = 10.0
    settings = settings_of(
        host=host, port=port, data_dir=data_dir, regions=regions, speed=speed, record_dir=record
    )
    if demo and settings.environment == "production":
        fail("--demo brings made-up drivers and orders, and is refused in production.")
    if demo and address is not None:
        fail(
            "--demo is for one machine: with --address run `doorstep demo --server URL` beside it.", status=2
        )
    if detach and address is None:
        fail("--detach needs --address: a Ray cluster of this command's own ends with it.", status=2)
    demo_drivers = drivers if demo else None
    run(serve(settings, say, demo_drivers=demo_drivers, address=address, detach=detach))


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
    from doorstep.cluster.rolling import PARTS, restart_command

    if part not in PARTS:
        fail(f"{part!r} is not one of {', '.join(PARTS)}.", status=2)
    run(restart_command(part, _address(address, data_dir), say))


@app.command("drain")
def drain_server(
    address: Address = None,
    node: Annotated[
        bool, typer.Option("--node", help="Only what is on this machine's Ray node, which is about to go.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Stop a server that `doorstep up --address ... --detach` left behind, in good order."""
    from doorstep.cluster.rolling import drain_command

    run(drain_command(_address(address, data_dir), say, node=node))


def _address(given: str | None, data_dir: Path | None) -> str:
    from doorstep.cluster.bootstrapper import address_file

    if given is not None:
        return given
    folder = settings_of(data_dir=data_dir).data_dir
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(folder.absolute() / RAY_TOKEN)
    os.environ.pop("RAY_AUTH_TOKEN", None)  # of another cluster; it would win
    try:
        return address_file(folder).read_text().strip()
    except OSError:
        fail(
            f"No server has run in {folder}: name its folder with --data-dir, or --address of a Ray cluster."
        )


@app.command("ray-token")
def ray_token(data_dir: DataDir = None) -> None:
    """Print the token that the Ray dashboard of a server on this machine asks for."""
    folder = settings_of(data_dir=data_dir).data_dir
    try:
        print((folder / RAY_TOKEN).read_text().strip())
    except FileNotFoundError:
        fail(f"No server has run in {folder}: name its folder with --data-dir.")
    except OSError as error:
        fail(f"The token in {folder} cannot be read: {error.strerror}.")


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
    data_dir: DataDir = None,
) -> None:
    """Drive a running server through its public protocol; ends with a summary."""
    from doorstep.cli.up import demo_command, demo_password
    from sim.demo.run import DemoOptions

    settings = settings_of(data_dir=data_dir)
    options = DemoOptions(
        server=server,
        password=demo_password(settings),
        replay=replay,
        from_min=from_min,
        to_min=to_min,
        drivers=drivers,
        duration_s=duration_s,
        seed=seed,
    )
    run(demo_command(settings, options, out, say))


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
        from doorstep.cli.whatif import WhatIfOptions, what_if_command
        from sim.days.whatif import Pay

        if solve:
            fail("--solve compares a log's plans, and goes without --set.", status=2)
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
    from doorstep.cli.replay import replay_command

    if log is None:
        fail("Name the log that is to be replayed.", status=2)
    raise typer.Exit(replay_command(log, solve, say))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the schema to the newest revision. Takes DATABASE_URL, or the embedded Postgres."""
    from doorstep.cli.up import migrate_command

    run(migrate_command(settings_of(data_dir=data_dir), say))


@app.command()
def routes() -> None:
    """Print every route with who may call it and how it is treated, a line each (docs/routes.md)."""
    from doorstep.cli.routes import routes_command

    routes_command()


@app.command()
def sim(
    seeds: Annotated[int, typer.Option(help="How many worlds.", min=1, max=10_000_000)] = 1_000,
    start: Annotated[int, typer.Option(help="Seed of the first.", min=0)] = 1,
    steps: Annotated[
        int, typer.Option(help="Messages after which faults end in a world at the latest.", min=0)
    ] = 4_000,
    faults: Annotated[
        str | None, typer.Option(help="Kinds of fault, comma separated; `none` for a world without.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Run this world alone.", min=0)] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: tell its story.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core if not given.", min=1)] = None,
) -> None:
    """Run the whole server in simulated worlds where everything goes wrong, and hold every promise (docs/sim.md)."""
    from doorstep.cli.simulate import campaign, kinds_of, one
    from sim.world.campaign import Order

    try:
        kinds = kinds_of(faults)
    except ValueError as error:
        fail(str(error))
    order = Order(seeds=seeds, start=start, steps=steps, faults=kinds)
    raise typer.Exit(one(seed, order, trace) if seed is not None else campaign(order, workers, say))


@app.command("expire-offers")
def expire_offers(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 1_000,
    server: Annotated[str, typer.Option(help="URL of a running server.")] = "http://localhost:8000",
    data_dir: DataDir = None,
) -> None:
    """Expire offers that are past their time. The region does so by itself; this is for recovery."""
    from doorstep.cli.up import expire_command

    run(expire_command(settings_of(data_dir=data_dir), server, limit, say))


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
    from doorstep.cli.offers import export_command

    settings = settings_of(data_dir=data_dir)
    run(export_command(settings, say, out=out, start=start, end=end, region_id=region))


Channel = Annotated[str | None, typer.Option(help="bus, tasks or payments alone.")]


@outbox_app.command("list")
def outbox_list(
    channel: Channel = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    data_dir: DataDir = None,
) -> None:
    """Show the oldest dead letters with the reason, one JSON object a line."""
    from doorstep.cli.outbox import list_command

    run(list_command(settings_of(data_dir=data_dir), say, channel=channel, limit=limit))


@outbox_app.command("retry")
def outbox_retry(
    event_ids: Annotated[list[int] | None, typer.Argument(help="Events by their ids.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, or of --channel.")] = False,
    channel: Channel = None,
    data_dir: DataDir = None,
) -> None:
    """Have dead letters tried again from the start, once what refused them is mended."""
    from doorstep.cli.outbox import retry_command

    settings = settings_of(data_dir=data_dir)
    run(retry_command(settings, say, event_ids=event_ids or [], every=every, channel=channel))


@outbox_app.command("drop")
def outbox_drop(
    event_ids: Annotated[list[int], typer.Argument(help="Events by their ids.")], data_dir: DataDir = None
) -> None:
    """Give dead letters up: they are never handed on. What was to happen is yours to do by hand."""
    from doorstep.cli.outbox import drop_command

    run(drop_command(settings_of(data_dir=data_dir), say, event_ids=event_ids))


@money_app.command("check")
def money_check(data_dir: DataDir = None) -> None:
    """Prove that the ledger balances and agrees with orders. Exit 0: it does, 1: what does not is listed."""
    from doorstep.cli.money import check_command

    run(check_command(settings_of(data_dir=data_dir), say))


@app.command("create-user")
def create_user(
    email: str,
    role: Annotated[str, typer.Option(help="support, dispatcher or admin.")] = "dispatcher",
    name: Annotated[str, typer.Option()] = "",
    data_dir: DataDir = None,
) -> None:
    """Make an operator's account (they cannot register themselves). Reads the password from standard input."""
    from doorstep.cli.accounts import create_user_command

    password = (
        typer.prompt("Password", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    )
    password = password.removesuffix("\n")
    run(create_user_command(settings_of(data_dir=data_dir), email, role, name, password, say))


@app.command("disable-user")
def disable_user(email: str, data_dir: DataDir = None) -> None:
    """Take an account's access away: it cannot sign in, and its tokens, streams and sockets end within seconds."""
    from doorstep.cli.accounts import disable_user_command

    run(disable_user_command(settings_of(data_dir=data_dir), email, say, disabled=True))


@app.command("enable-user")
def enable_user(email: str, data_dir: DataDir = None) -> None:
    """Let a disabled account sign in again."""
    from doorstep.cli.accounts import disable_user_command

    run(disable_user_command(settings_of(data_dir=data_dir), email, say, disabled=False))


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

    raise typer.Exit(build_command(settings_of(valhalla_tiles=tiles, data_dir=data_dir), file, say))


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
        fail(f"--centre {error}")
    settings = settings_of(data_dir=data_dir)
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


def main() -> None:
    """Entry point of the `doorstep` script."""
    app()
