"""What a run came to: a flat record, printed as a table and written as JSON."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
from msgspec import Struct

from sim.demo.tally import Tally


class Summary(Struct, frozen=True, kw_only=True):
    """The figures of a run. Minutes are minutes of the server's clock.

    `refused` counts orders refused at the door, `returned` those of them whose goods are back in the store;
    `undelivered` those that were neither delivered nor refused nor stopped at checkout.
    """

    orders: int
    delivered: int
    refused: int
    returned: int
    undelivered: int
    under_age_at_checkout: int
    not_placed: int
    offers: int
    offers_accepted: int
    offers_rejected: int
    offers_expired: int
    offers_revoked: int
    ctd_mean_min: float | None
    ctd_p90_min: float | None
    dossiers_verified: int
    dossiers_broken: int
    audited: int
    counts_agree: bool
    drivers: int
    reconnects: int
    resumed: int
    resyncs: int
    resent: int
    tunnels: int
    done_offline: int
    lost_frames: int
    retries: int
    wall_s: float
    ok: bool
    notes: tuple[str, ...] = ()

    def table(self) -> str:
        """The figures as two aligned columns."""
        rows = [(name, _text(getattr(self, name))) for name in self.__struct_fields__ if name != "notes"]
        width = max(len(name) for name, _ in rows)
        lines = [f"  {name:<{width}}  {value:>10}" for name, value in rows]
        return "\n".join(lines + [f"  ! {note}" for note in self.notes])

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def summarize(
    books: Tally,
    drivers: Counter[str],
    *,
    driver_count: int,
    retries: int,
    wall_s: float,
    failures: list[str],
    notes: list[str],
) -> Summary:
    """Close the books. `drivers` is the sum of what the bots counted; a failure spoils the run, a note does not."""
    count = books.count
    refused_open = sum(note.outcome == "refused" for note in books.open.values())
    undelivered = count["orders"] - count["delivered"] - count["returned"] - refused_open - count["under_age"]
    agree = not books.disagreed and count["audited"] == books.ended
    ctd = sorted(books.ctd_min)
    notes = notes + failures[:10] + [f"disagreement: {text}" for text in books.disagreed[:10]]
    notes += [f"broken dossier: {order_id}" for order_id in books.broken[:10]]
    return Summary(
        orders=count["orders"],
        delivered=count["delivered"],
        refused=count["refused"],
        returned=count["returned"],
        undelivered=undelivered,
        under_age_at_checkout=count["under_age"],
        not_placed=count["not_placed"],
        offers=drivers["offers"],
        offers_accepted=drivers["accepted"],
        offers_rejected=drivers["rejected"],
        offers_expired=drivers["expired"],
        offers_revoked=drivers["revoked"],
        ctd_mean_min=round(sum(ctd) / len(ctd), 2) if ctd else None,
        ctd_p90_min=round(percentile(ctd, 0.9), 2) if ctd else None,
        dossiers_verified=count["dossiers_verified"],
        dossiers_broken=count["dossiers_broken"],
        audited=count["audited"],
        counts_agree=agree,
        drivers=driver_count,
        reconnects=drivers["reconnects"],
        resumed=drivers["resumed"],
        resyncs=drivers["resyncs"],
        resent=drivers["resent"],
        tunnels=drivers["tunnels"],
        done_offline=drivers["done_offline"],
        lost_frames=drivers["lost_frames"],
        retries=retries,
        wall_s=round(wall_s, 1),
        ok=agree
        and not failures
        and not count["dossiers_broken"]
        and not count["not_placed"]
        and count["orders"] > 0,
        notes=tuple(notes),
    )


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the (sorted, non-empty) values do not exceed."""
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
