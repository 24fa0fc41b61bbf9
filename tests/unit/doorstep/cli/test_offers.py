"""The offer log as a file: every offer once, in either form, and a file that is complete or not there."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from domain.ground.times import instant
from domain.orders.lifecycle import OfferStatus
from domain.orders.records import OfferRow
from doorstep.cli import offers
from doorstep.cli.app import app
from doorstep.cli.offers import export
from doorstep.server import policy_of
from doorstep.settings.settings import Settings
from persistence.migrate import head_revision, migrate
from persistence.orders.memory import MemoryStore
from persistence.orders.postgres import PostgresStore
from persistence.reads.memory import MemoryReads
from persistence.reads.reads import Reads
from tests.contracts.store_world import REGION, World


async def filled(world: World, count: int) -> list[OfferRow]:
    """Offers with features of their own, all but the last one closed; newest first, as they stand in the log."""
    await world.open()
    made = []
    for n in range(count):
        record, task, offer = world.offered(await world.confirmed())
        offer = replace(offer, features={"pickup_km": float(n), f"only_{n}": 1.0})
        await world.append(world.records(replace(record, offers=(offer,))))
        if n < count - 1:
            closed, _, offer = world.expired(task, offer)
            offer = replace(offer, reason='a "long", way\nand late')
            await world.append(world.records(replace(closed, offers=(offer,))))
        made.append(offer)
    return made[::-1]


async def in_memory(count: int) -> tuple[MemoryReads, list[OfferRow]]:
    world = await World(MemoryStore()).seed()
    made = await filled(world, count)
    assert isinstance(world.store, MemoryStore)
    return MemoryReads(world.store), made


def quiet(text: str) -> None:
    pass


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_json_lines_are_the_rows_of_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PAGE_LIMIT", 2)
    reads, made = await in_memory(5)
    out = tmp_path / "log.jsonl"
    assert await export(reads, out, quiet) == 5
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [offer.offer_id for offer in made]
    assert [row["features"] for row in rows] == [offer.features for offer in made]
    assert [row["latency_s"] for row in rows] == [None, 1.0, 1.0, 1.0, 1.0]
    assert rows[1]["status"] == OfferStatus.EXPIRED
    assert rows[1]["reason"] == made[1].reason
    assert names_in(tmp_path) == [out.name]


async def test_a_csv_file_has_a_column_for_each_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offers, "PAGE_LIMIT", 2)
    reads, made = await in_memory(3)
    out = tmp_path / "log.csv"
    assert await export(reads, out, quiet) == 3
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [offer.offer_id for offer in made]
    newest, older, _ = rows
    assert list(newest)[-4:] == ["feature.only_0", "feature.only_1", "feature.only_2", "feature.pickup_km"]
    assert (newest["feature.pickup_km"], newest["feature.only_2"], newest["feature.only_1"]) == (
        "2.0",
        "1.0",
        "",
    )
    assert (newest["closed_at"], newest["latency_s"]) == ("", "")
    assert newest["task_ids"] == " ".join(made[0].task_ids)
    assert (older["reason"], older["latency_s"], older["seen_latency_s"]) == (made[1].reason, "1.0", "")


async def test_an_empty_log_is_a_file_without_rows(tmp_path: Path) -> None:
    reads, _ = await in_memory(0)
    assert await export(reads, tmp_path / "log.csv", quiet) == 0
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1
    assert await export(reads, tmp_path / "log.jsonl", quiet) == 0
    assert (tmp_path / "log.jsonl").read_text() == ""


async def test_a_failed_export_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PAGE_LIMIT", 1)
    reads, _ = await in_memory(2)
    out = tmp_path / "log.csv"
    out.write_text("of yesterday")
    pages = iter([await reads.offers(limit=1)])

    async def broken(**_: object) -> object:
        try:
            return next(pages)
        except StopIteration:
            raise OSError("the connection is gone") from None

    monkeypatch.setattr(reads, "offers", broken)
    with pytest.raises(OSError, match="connection"):
        await export(reads, out, quiet)
    assert out.read_text() == "of yesterday"
    assert names_in(tmp_path) == [out.name]


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, _ = await in_memory(1)

    def half_written(lines: object, target: Path, features: list[str]) -> None:
        target.write_text("half a row")
        raise OSError("no space left on device")

    monkeypatch.setitem(offers.FORMATS, ".csv", half_written)
    with pytest.raises(OSError, match="no space"):
        await export(reads, tmp_path / "log.csv", quiet)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "log.xml"], "must end with .csv or .jsonl, and is log.xml"),
        (["--out", "log.csv", "--from", "yesterday"], "--from: yesterday is no time such as 2026-01-31"),
        (["--out", "log.csv", "--to", "2026-13-01"], "--to: 2026-13-01 is no time"),
        (["--out", "nowhere/log.csv"], "there is no folder nowhere"),
    ],
)
def test_bad_options_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["offers", "export", *options])
    assert result.exit_code == 1
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_the_command_exports_a_time_of_a_market(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", empty_database_url)

    def run(*options: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["offers", "export", "--out", "log.jsonl", *options])
        return result.exit_code, result.stderr

    assert run() == (1, f"{_wants_migration()}\n")
    made = asyncio.run(_fill(empty_database_url, 4))

    def exported(*options: str) -> list[str]:
        assert run(*options)[0] == 0
        return [json.loads(line)["id"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    ids = [offer.offer_id for offer in made]
    assert exported() == ids
    assert exported("--region", REGION) == ids
    assert exported("--region", "tx-hou") == []
    # Without an offset a time is UTC.
    start, end = (
        instant(made[2].made_ms).isoformat(),
        instant(made[0].made_ms).replace(tzinfo=None).isoformat(),
    )
    assert exported("--from", start, "--to", end) == ids[1:3]
    assert run()[1].endswith("4 offers written to log.jsonl\n")


async def _fill(database_url: str, count: int) -> list[OfferRow]:
    await migrate(database_url)
    store, reads = PostgresStore(database_url), Reads.connect(database_url)
    try:
        return await filled(await World(store).seed(reads), count)
    finally:
        await reads.close()
        await store.close()


def _wants_migration() -> str:
    return f"The schema is at nothing, not {head_revision()}: run `doorstep migrate`."


def test_what_is_not_kept_is_not_explained_at_all() -> None:
    assert policy_of(Settings(explain_keep_s=0)).explain is False
    assert policy_of(Settings(explain_keep_s=1)).explain is True
    assert policy_of(Settings(offer_ttl_s=42)).offer_ttl_s == 42
