"""`doorstep offers export`: the offer log as a file, to train on."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from domain.ground.times import millis
from doorstep.cli.up import Say, database
from doorstep.embedded.services import EmbeddedError
from doorstep.settings.settings import Settings
from gateway.deciders.ports import ReadSide
from gateway.rest.offers import log_row
from persistence.reads.reads import Reads

PAGE_LIMIT = 2_000  # offers read at once
SAY_EVERY = 50  # pages
FEATURE = "feature."  # before the names of the features, which make up the last columns of a CSV file


async def export_command(
    settings: Settings, say: Say, *, out: Path, start: str | None, end: str | None, region_id: str | None
) -> int:
    """Write the offers made from `start` until before `end` to `out`. Exit 0, or 1 with the reason said."""
    try:
        from_ms, before_ms = _ms("--from", start), _ms("--to", end)
        if out.suffix not in FORMATS:
            raise ValueError(
                f"--out: the file's name must end with {' or '.join(FORMATS)}, and is {out.name}"
            )
        if not out.parent.is_dir():
            raise ValueError(f"--out: there is no folder {out.parent}")
        async with database(settings, say) as url:
            reads = Reads.connect(
                url,
                pool_size=1,
                statement_timeout_s=settings.db_statement_timeout_s,
                connect_timeout_s=settings.db_connect_timeout_s,
            )
            try:
                count = await export(
                    reads, out, say, region_id=region_id, from_ms=from_ms, before_ms=before_ms
                )
            finally:
                await reads.close()
    except (ValueError, EmbeddedError, OSError) as error:
        say(str(error))
        return 1
    say(f"{count} offers written to {out}")
    return 0


async def export(
    reads: ReadSide,
    out: Path,
    say: Say,
    *,
    region_id: str | None = None,
    from_ms: int | None = None,
    before_ms: int | None = None,
) -> int:
    """Write the offers, newest first, page by page, and return how many; `out` is there when it is complete.

    A row has the fields of `gateway.rest.views.OfferLogRow`. `OSError` when the file cannot be written.
    """
    count, pages, cursor = 0, 0, None
    features: set[str] = set()
    draft = out.with_name(f".{out.name}.part")
    try:
        with tempfile.TemporaryFile(dir=out.parent) as lines:
            while True:
                page = await reads.offers(
                    region_id=region_id, from_ms=from_ms, before_ms=before_ms, cursor=cursor, limit=PAGE_LIMIT
                )
                for offer in page.offers:
                    features.update(offer.features)
                    lines.write(msgspec.json.encode(log_row(offer)) + b"\n")
                count, pages, cursor = count + len(page.offers), pages + 1, page.next
                if cursor is None:
                    break
                if pages % SAY_EVERY == 0:
                    say(f"{count} offers read")
            lines.seek(0)
            FORMATS[out.suffix](lines, draft, sorted(features))
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return count


def _json_lines(lines: BinaryIO, target: Path, features: list[str]) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(lines, file)


def _csv(lines: BinaryIO, target: Path, features: list[str]) -> None:
    """A column for each field, the tasks' ids apart by spaces, then a column for each feature; empty where null."""
    with target.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*FIELDS, *(FEATURE + name for name in features)])
        table.writeheader()
        for line in lines:
            row = msgspec.json.decode(line)
            named = {FEATURE + name: value for name, value in row.pop("features").items()}
            table.writerow(row | {"task_ids": " ".join(row["task_ids"])} | named)


FIELDS = (
    "id",
    "region_id",
    "driver_id",
    "task_ids",
    "status",
    "reason",
    "made_at",
    "expires_at",
    "seen_at",
    "closed_at",
    "latency_s",
    "seen_latency_s",
)
FORMATS: dict[str, Callable[[BinaryIO, Path, list[str]], None]] = {".csv": _csv, ".jsonl": _json_lines}


def _ms(option: str, text: str | None) -> int | None:
    """A date or RFC 3339 time in server ms; UTC where it says nothing else."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{option}: {text} is no time such as 2026-01-31 or 2026-01-31T18:00:00Z") from None
    return millis(at if at.tzinfo else at.replace(tzinfo=UTC))
