"""The books and what they add up to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from sim.demo.api import Account, subject_of
from sim.demo.summary import Summary, percentile, summarize
from sim.demo.tally import OrderNote, Tally

CUSTOMER = Account(email="c", password="", role="customer", name="C")
BINDING = {
    "orders", "delivered", "refused", "returned", "undelivered", "offers", "ctd_mean_min", "dossiers_verified",
    "dossiers_broken",
}  # fmt: skip


def books(*outcomes: str) -> Tally:
    """Books of orders placed at 0, each with the news named, a minute apart."""
    made = Tally()
    for number, outcome in enumerate(outcomes, start=1):
        made.placed(OrderNote(order_id=f"o{number}", customer=CUSTOMER, placed_s=0.0))
        for kind in outcome.split():
            made.told(kind, f"o{number}", number * 60.0)
    return made


def audit(made: Tally, status: dict[str, str], broken: str = "") -> Tally:
    for note in made.to_audit:
        made.audited(
            note, status[note.outcome], note.order_id != broken if note.outcome == "delivered" else None
        )
    made.to_audit = []
    return made


STATUS = {"delivered": "DELIVERED", "returned": "RETURNED", "under_age": "CANCELLED"}


def close(made: Tally, failures: list[str] | None = None) -> Summary:
    drivers = Counter({"offers": 9, "accepted": 5})
    return summarize(made, drivers, driver_count=3, retries=0, wall_s=1, failures=failures or [], notes=[])


def test_every_order_is_counted_once() -> None:
    made = audit(books("delivered", "delivered", "refused returned", "refused", "under_age", ""), STATUS)
    summary = close(made)
    assert (summary.orders, summary.delivered, summary.refused, summary.returned) == (6, 2, 2, 1)
    assert (summary.under_age_at_checkout, summary.undelivered) == (1, 1)
    assert (summary.ctd_mean_min, summary.ctd_p90_min) == (1.5, 2.0)
    assert (summary.dossiers_verified, summary.dossiers_broken, summary.offers) == (2, 0, 9)
    assert summary.counts_agree
    assert summary.ok


def test_news_that_comes_twice_or_of_another_run_changes_nothing() -> None:
    made = books("refused refused returned returned", "delivered delivered gone")
    made.told("delivered", "of-another-run", 5)
    assert made.count["refused"] == made.count["returned"] == made.count["delivered"] == 1


def test_an_end_that_the_bots_missed_is_found() -> None:
    made = books("", "", "")
    for order_id, status in (("o1", "CLOSED"), ("o2", "RETURNED"), ("o3", "CANCELLED")):
        made.found(made.open[order_id], status, 300)
    summary = close(audit(made, {**STATUS, "cancelled": "CANCELLED"}))
    assert (summary.delivered, summary.refused, summary.returned, summary.undelivered) == (1, 1, 1, 1)


@pytest.mark.parametrize("fault", ["disagreement", "broken dossier", "not audited", "a part broke off"])
def test_a_run_that_went_wrong_is_not_ok(fault: str) -> None:
    made = books("delivered")
    if fault == "disagreement":
        audit(made, {"delivered": "AT_DOOR"})
    elif fault != "not audited":
        audit(made, STATUS, broken="o1" if fault == "broken dossier" else "")
    assert not close(made, ["boom"] if fault == "a part broke off" else None).ok


def test_the_summary_as_table_and_json(tmp_path: Path) -> None:
    summary = close(audit(books("delivered"), STATUS))
    summary.write(tmp_path / "new" / "summary.json")
    written = msgspec.json.decode((tmp_path / "new" / "summary.json").read_bytes())
    assert written.keys() >= BINDING
    assert written["delivered"] == 1
    assert all(name in summary.table() for name in BINDING)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.9, 9), (0.91, 10), (1.0, 10)])
def test_percentile(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 11)], share) == value


def test_the_subject_of_a_token() -> None:
    assert subject_of("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1LTEiLCJyb2xlIjoiZHJpdmVyIn0.x") == "u-1"
