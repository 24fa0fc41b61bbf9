"""What holds in every life of a region, whatever is asked in whatever order. The store watches the database's rules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given

from domain.orders.dossier import verify
from domain.orders.lifecycle import TASK_ENDED, OfferStatus, OrderEvent, TaskKind, TaskStatus
from domain.orders.records import Answer
from domain.region.fleet import DriverState
from domain.region.machine import Region
from domain.region.messages import Ask
from domain.region.ops.outlook import Outlook
from domain.region.solving.reasons import Waiting
from persistence.orders.image import RECENT_MS
from tests.support.build import ask
from tests.support.chance import Move, life, move_on, moves, play, request
from tests.support.examples import examples
from tests.support.story import Story, digest, log_of

ROOT = Path(__file__).parents[4]


def check(story: Story) -> None:
    """The invariants, in the region's memory and against what is durable."""
    region, store = story.region, story.store
    holders: dict[str, str] = {}
    for driver_id, held in region.state.holdings.by_driver.items():
        assert held
        for task_id in held:
            assert holders.setdefault(task_id, driver_id) == driver_id, "two drivers hold one task"
            assert region.state.jobs[task_id].held_by == driver_id
    assert holders == {
        task_id: job.held_by for task_id, job in region.state.jobs.items() if job.held_by is not None
    }
    for job in region.state.jobs.values():
        if job.task.kind is TaskKind.RETURN and job.held_by is not None:
            assert job.held_by not in region.state.offers.by_driver, (
                "an offer for a driver with a return in the vehicle"
            )
    for driver_id, offer_id in region.state.offers.by_driver.items():
        offer = region.state.offers.live[offer_id]
        assert offer.driver_id == driver_id
        assert driver_id not in region.state.holdings.by_driver, "an offer for a driver who has a task"
        for task_id in offer.task_ids:
            task = region.state.jobs[task_id].task
            # Several may be asked at once; the task names one of the offers.
            asked = region.state.offers.by_tasks[offer.task_ids]
            assert task.status is TaskStatus.OFFERED
            assert {task.offer_id, offer_id} <= set(asked)
    assert set(region.state.offers.live) == set(region.state.offers.by_driver.values())
    assert set(region.state.open) == {
        task_id for task_id, job in region.state.jobs.items() if job.task.status is TaskStatus.OPEN
    }
    for driver_id in region.state.holdings.by_driver:
        lost_ms = region.state.lost_ms(driver_id)
        assert lost_ms is None or lost_ms > story.now, "held by a driver who is lost"
        assert lost_ms is None or (region.next_deadline() or 0) <= lost_ms, "nobody will look after a holder"
    outlook = Outlook(region.state, story.now)
    for task_id in region.state.open:
        assert outlook.why(region.state.jobs[task_id]) is not Waiting.UNEXPLAINED
    for row, driver_id in enumerate(region.state.fleet.ids):
        state = region.state.fleet.state[row]
        assert (state == DriverState.FREE) == (
            driver_id not in region.state.holdings.by_driver | region.state.offers.by_driver
        )
    # What is in memory is what is durable.
    assert {task_id: job.task for task_id, job in region.state.jobs.items()} == {
        task_id: task for task_id, task in store.tasks.items() if task.status not in TASK_ENDED
    }
    assert set(region.state.offers.live) == {
        offer_id for offer_id, offer in store.offers.items() if offer.status is OfferStatus.OFFERED
    }
    for job in region.state.jobs.values():
        assert store.orders[job.order.order_id].status is job.order.status


@given(moves)
@examples(60)
def test_the_invariants_hold_after_every_move_and_a_refusal_changes_nothing(script: list[Move]) -> None:
    story = life()
    for move in script:
        story.wait(move[3])
        asked = request(story, move)
        if asked is None:
            move_on(story, move)
        else:
            before, records, pushes = digest(story.region), len(story.records), len(story.pushes)
            solves = len(story.solves)
            answer = story.ask(*asked)
            # A look that was due anyway may happen in the same step; then there is more to see than the refusal.
            if answer.code is not None and len(story.solves) == solves:
                assert digest(story.region) == before, f"{asked} was refused and changed something"
                assert (len(story.records), len(story.pushes)) == (records, pushes)
        check(story)
    for order_id in story.store.orders:
        assert verify(story.store.dossier(order_id)).ok


@given(moves)
@examples(25)
def test_a_repeat_of_any_request_gets_its_answer_and_does_nothing(script: list[Move]) -> None:
    story = life()
    granted: list[tuple[Ask, Answer]] = []
    for n, move in enumerate(script):
        story.wait(move[3])
        asked = request(story, move)
        if asked is None:
            move_on(story, move)
            continue
        who, action, role = asked
        message = ask(action, role, who, key=f"n{n}")
        answer = story.step(message).reply
        assert isinstance(answer, Answer)
        if answer.code is None:
            granted.append((message, answer))
        before = len(story.records)
        assert story.step(message).reply == answer
        assert [record for record in story.records[before:] if record.answers] == []
    # What was granted is answered the same for ever, over every restart; a refusal only while the region lives.
    for message, answer in granted:
        assert story.step(message).reply == answer


@given(moves)
@examples(25)
def test_the_same_messages_give_the_same_records_byte_for_byte(script: list[Move]) -> None:
    first, second = life(), life()
    play(first, script)
    play(second, script)
    assert log_of(first.records) == log_of(second.records)
    assert first.pushes == second.pushes
    assert digest(first.region) == digest(second.region)


def lately_declined(region: Region, now_ms: int, lost: set[tuple[str, str]]) -> set[tuple[str, str, int]]:
    """Who declined what when, as far back as an image reaches. It does not tell of those who `lost` a task."""
    return {
        (task_id, driver_id, last_ms)
        for task_id, job in region.state.jobs.items()
        for driver_id, (_, last_ms) in job.declined.items()
        if last_ms >= now_ms - RECENT_MS and (task_id, driver_id) not in lost
    }


def lost_tasks(story: Story) -> set[tuple[str, str]]:
    """(task, driver) of every release."""
    facts = [fact for record in story.records for fact in record.orders]
    released = [fact.payload for fact in facts if fact.event is OrderEvent.RELEASED]
    return {(payload["task_id"], payload["driver_id"]) for payload in released}


@given(moves)
@examples(25)
def test_a_restart_at_any_moment_loses_no_hard_state(script: list[Move]) -> None:
    story = life()
    play(story, script)
    before = story.region
    story.restart()
    after = story.region
    assert {t: (job.task, job.order) for t, job in after.state.jobs.items()} == {
        t: (job.task, job.order) for t, job in before.state.jobs.items()
    }
    assert after.state.holdings.by_driver == before.state.holdings.by_driver
    assert after.state.offers.by_driver == before.state.offers.by_driver
    assert set(after.state.open) == set(before.state.open)
    assert after.state.counters == before.state.counters
    lost = lost_tasks(story)
    assert lately_declined(after, story.now, lost) == lately_declined(before, story.now, lost)
    check(story)


_WHATS = (
    "order drive drive order next next reject order next next next drive next next cancel next underage order next "
    "next drive off restart next ready next next lost next next "
)
LONG: list[Move] = [
    (what, (i * 7 + 2) % 6, (i * 5) % 6, (0.3, 0.0, 5.0, 0.3)[i % 4])
    for i, what in enumerate((_WHATS * 4).split())
]


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_hash_seeds_do_not_matter(seed: str) -> None:
    """Sets and dictionaries of strings are ordered differently in another process; decisions are not."""
    story = life()
    play(story, LONG)
    assert len(story.records) > 30
    program = (
        "import sys; from tests.support.chance import life, play; from tests.support.story import log_of;"
        "from tests.unit.domain.region.test_properties import LONG;"
        "story = life(); play(story, LONG); sys.stdout.buffer.write(log_of(story.records))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    assert ran.stdout == log_of(story.records)
