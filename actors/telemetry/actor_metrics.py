"""What the region and persistence actors count, and the families that they tell of it (see `metrics.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from actors.telemetry.metrics import SIZES, Family, Histogram, counter, gauge, histogram
from actors.telemetry.timing import Timings
from domain.ground.times import in_ms
from domain.orders.lifecycle import OfferStatus, TaskStatus
from domain.orders.records import Done, Fenced, Held, Outcome, Record, RecordRefused
from domain.ports import Command
from persistence.reads.views import Backlog

if TYPE_CHECKING:
    from domain.region.machine import Region

ANSWERED = (OfferStatus.ACCEPTED, OfferStatus.REJECTED)
ORDER_COUNTERS = ("orders", "delivered", "refused", "returned", "cancelled")
OFFER_OUTCOMES = ("made", "accepted", "rejected", "expired", "revoked")


class RegionTally:
    """One region actor's process, over all lives of its region."""

    def __init__(self) -> None:
        self.lives = self.appends_failed = self.solves_failed = self.solves_hung = 0
        self.restores_failed = 0
        self.aside = 0  # rows that the present life goes without
        self.shed = 0  # batches of pings that were put off
        self.records = Histogram(SIZES)  # of one append
        self.offer_wait = Histogram()
        self.answer = {status: Histogram() for status in ANSWERED}

    def durable(self, region: Region, records: Sequence[Record], now_ms: int, speed: float) -> None:
        """Records have become durable at `now_ms` of the server's clock, of which `speed` seconds pass in one."""
        self.records.add(len(records))
        lead_ms = in_ms(region.policy.offer_lead_s)
        for record in records:
            if not record.offers:
                continue
            if any(offer.status is OfferStatus.OFFERED and offer.seen_ms is None for offer in record.offers):
                for task in record.tasks:
                    job = region.state.jobs.get(task.task_id)
                    if task.status is TaskStatus.OFFERED and job is not None and job.tries == 0:
                        due_ms = max(task.opened_ms, task.ready_ms - lead_ms)
                        self.offer_wait.add(max(0, now_ms - due_ms) / 1000 / speed)
            for offer in record.offers:
                if offer.status in ANSWERED and offer.closed_ms is not None:
                    self.answer[offer.status].add((offer.closed_ms - offer.made_ms) / 1000 / speed)


def region_figures(
    region_id: str, region: Region | None, timings: Timings, tally: RegionTally, *, inbox: int, outbox: int
) -> list[Family]:
    """`region` None: it has no life at the moment. `inbox`: messages whose outcome has not left; `outbox`: pushes."""
    own = {"region": region_id}
    families = [
        gauge("doorstep_region_serving", "1 while the region has a life", (own, float(region is not None))),
        counter("doorstep_region_lives", "Lives that this process has begun", (own, tally.lives)),
        counter("doorstep_region_records_refused", "Records that the database refused: bugs", (own, timings.refused)),
        counter("doorstep_region_restores_failed", "Times that a life could not begin", (own, tally.restores_failed)),
        gauge("doorstep_region_rows_aside", "Rows that could not be restored: for a person", (own, tally.aside)),
        counter("doorstep_region_appends_failed", "Appends that ended a life", (own, tally.appends_failed)),
        counter("doorstep_region_solves_failed", "Solves that failed", (own, tally.solves_failed)),
        counter("doorstep_region_solves_hung", "Solves cancelled because they took too long",
                (own, tally.solves_hung)),
        counter("doorstep_region_pings_shed", "Batches of positions put off for decisions", (own, tally.shed)),
        gauge("doorstep_region_inbox", "Messages stepped whose outcome has not left", (own, inbox)),
        gauge("doorstep_region_outbox", "Pushes waiting for gateways", (own, outbox)),
        gauge("doorstep_region_lag_lately_seconds", "p99 of the last 512 deadlines",
              (own, timings.lag.quantile_ms(0.99) / 1000)),
        histogram("doorstep_region_lag_seconds", "How late deadlines were stepped", (own, timings.lag.total)),
        histogram("doorstep_region_step_seconds", "One step of the region", (own, timings.step.total)),
        histogram("doorstep_region_append_seconds", "Append until durable", (own, timings.append.total)),
        histogram("doorstep_region_append_records", "Records in one append", (own, tally.records)),
        histogram("doorstep_region_solve_seconds", "Solve until the plan is back", (own, timings.solve.total)),
        histogram("doorstep_offer_wait_seconds", "From when a task was due for an offer to its first, durable",
                  (own, tally.offer_wait)),
        histogram(
            "doorstep_offer_answer_seconds",
            "From the offer to the driver's answer",
            *(({**own, "outcome": status.lower()}, values) for status, values in tally.answer.items()),
        ),
    ]  # fmt: skip
    if region is None:
        return families
    state, counters = region.state, region.state.counters
    unplanned = len(state.cadence.unplanned)
    return [
        *families,
        gauge("doorstep_region_epoch", "Number of the region's life", (own, region.epoch)),
        gauge("doorstep_region_drivers", "Drivers known", (own, len(state.fleet.index))),
        gauge("doorstep_region_tasks", "Tasks that have not ended", (own, len(state.jobs))),
        gauge("doorstep_region_tasks_open", "Tasks that nobody holds or is asked about", (own, len(state.open))),
        gauge("doorstep_region_tasks_unplanned", "Open tasks that no plan has had", (own, unplanned)),
        gauge("doorstep_region_offers_live", "Offers that stand", (own, len(state.offers.live))),
        counter("doorstep_region_pings", "Positions taken in by this life", (own, state.fleet.pings)),
        counter(
            "doorstep_offers",
            "Offers by what became of them",
            *(({**own, "outcome": name}, counters[f"offers_{name}"]) for name in OFFER_OUTCOMES),
        ),
        counter(
            "doorstep_orders",
            "Orders that were opened to drivers, and how they ended",
            *(({**own, "outcome": name.replace("orders", "opened")}, counters[name]) for name in ORDER_COUNTERS),
        ),
    ]  # fmt: skip


class PersistenceTally:
    """One persistence actor's process."""

    def __init__(self) -> None:
        self.append = Histogram()
        self.commands = Histogram(SIZES)  # of one transaction
        self.outcomes: Counter[str] = Counter(
            dict.fromkeys(("done", "refused", "fenced", "broken", "held", "failed"), 0)
        )
        self.turned_away = self.swept = 0
        self.backlog = Backlog({}, 0)

    def committed(self, outcomes: Iterable[Outcome], seconds: float) -> None:
        """A transaction is through."""
        names = [outcome_name(outcome) for outcome in outcomes]
        self.append.add(seconds)
        self.commands.add(len(names))
        self.outcomes.update(names)

    def failed(self, commands: Sequence[Command]) -> None:
        """A transaction failed, and it is not known whether it committed."""
        self.outcomes["failed"] += len(commands)


def outcome_name(outcome: Outcome) -> str:
    """What became of a command, as the label `outcome` has it: a `broken` one hit a constraint."""
    if isinstance(outcome, Done):
        return "done" if outcome.answer.code is None else "refused"
    if isinstance(outcome, Fenced):
        return "fenced"
    if isinstance(outcome, Held):
        return "held"
    assert isinstance(outcome, RecordRefused)
    return "broken"


def persistence_figures(
    name: str,
    tally: PersistenceTally,
    *,
    waiting: int,
    committing: int,
    handed_on: Mapping[tuple[str, str], int],
    now_ms: int,
    speed: float,
) -> list[Family]:
    """`waiting`: commands that no transaction has taken; `committing`: transactions under way; `handed_on`: events by
    channel and outcome."""
    own = {"persistence": name}
    backlog = [({**own, "channel": channel}, one) for channel, one in tally.backlog.channels.items()]
    ages_s = [(labels, max(0, now_ms - (one.oldest_ms or now_ms)) / 1000 / speed) for labels, one in backlog]
    outcomes = [({**own, "outcome": outcome}, count) for outcome, count in tally.outcomes.items()]
    return [
        gauge("doorstep_persistence_queue", "Commands waiting for a transaction", (own, waiting)),
        gauge("doorstep_persistence_transactions", "Transactions under way", (own, committing)),
        counter("doorstep_persistence_commands", "Commands by what became of them", *outcomes),
        counter("doorstep_persistence_turned_away", "Commands refused by a full queue", (own, tally.turned_away)),
        histogram("doorstep_persistence_append_seconds", "One transaction until durable", (own, tally.append)),
        histogram("doorstep_persistence_append_commands", "Commands in one transaction", (own, tally.commands)),
        gauge("doorstep_outbox_rows", "Committed events not handed on, counted up to a limit",
              *((labels, one.rows) for labels, one in backlog)),
        gauge("doorstep_outbox_oldest_seconds", "Age of the oldest event not handed on", *ages_s),
        gauge("doorstep_outbox_dead", "Events that are tried no more, counted up to a limit",
              *((labels, one.dead) for labels, one in backlog)),
        counter("doorstep_outbox_events", "Tries to hand an event on, by what became of them",
                *(({**own, "channel": channel, "outcome": outcome}, count)
                  for (channel, outcome), count in handed_on.items())),
        counter("doorstep_persistence_swept", "Rows forgotten after their time", (own, tally.swept)),
        gauge("doorstep_database_bytes", "Size of the database", (own, tally.backlog.database_bytes)),
    ]  # fmt: skip
