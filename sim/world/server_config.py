"""What the server of a simulated world is set to: drawn from its seed, now and then so tight that limits are met."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from actors.config import Limits
from domain.region.policy import RegionPolicy
from domain.solve import Planning
from sim.world.faults import Faults

BATCH_SHARE = 0.3  # worlds in which BATCH makes a plan as soon as two tasks wait
STATEMENT_TIMEOUT_S = 3.0  # of the database, wall time
KEPT_S = (60.0, 600.0)  # server time that answers and explanations are kept where the sweep is at work
UNDER_WAY_S = 10.0  # wall time from the asking to the answer, at most


def make_policy(chance: Random, faults: Faults) -> RegionPolicy:
    """What all markets live by that have nothing of their own."""
    policy = RegionPolicy(
        solve_timeout_s=60.0,  # with which the known seeds were found
        offer_ttl_s=chance.choice((30.0, 60.0)),
        fast_max_wait_s=chance.choice((10.0, 30.0)),
        driver_lost_s=300.0,
        push_ring=chance.choice((4, 64)),
        batch_solver="",
        offer_lead_s=chance.choice((60.0, 300.0, 3600.0)),
        offer_ahead_s=chance.choice((0.0, 0.0, 300.0)),
        planning=chance.choice((Planning(), Planning(), Planning(bundle_tries=0))),
    )
    if Random(f"{faults.seed}:batch").random() < BATCH_SHARE:
        # Of so few tasks its routes are the same each time, which of many they are not (solver/names.py).
        policy = replace(policy, batch_solver="batch", batch_tasks=2, batch_every_s=10.0)
    if faults.holds("tight"):
        tight = Random(f"{faults.seed}:limits")
        policy = replace(
            policy,
            # More than are given while one is looked for, becomes durable meanwhile, and its region dies.
            answers_limit=tight.choice((12, 24)),
            closed_offers_limit=tight.choice((1, 4)),
            push_ring=tight.choice((1, 2)),
        )
    return policy


def make_limits(chance: Random, faults: Faults, policy: RegionPolicy, speed: float) -> Limits:
    """Limits and waits, in wall time."""
    limits = Limits(
        db_statement_timeout_s=STATEMENT_TIMEOUT_S,
        # A region that lost sight of a socket finds it again with the next ping, well within an offer's time.
        ping_flush_s=policy.offer_ttl_s / 2 / speed,
        ws_hello_timeout_s=5.0,
        region_call_deadline_s=10.0,
        outbox_pace_s=0.02,  # the more happens at the same time
        outbox_retry_s=3.0 if faults.hurt is None else 1.0,
        vendor_timeout_s=2.0,
        push_deadline_s=2.0,
        region_mend_s=2.0,
        store_call_deadline_s=STATEMENT_TIMEOUT_S + 1.5,
        outbox_deadline_s=1.5,
        outbox_rest_s=2.0,
        outbox_backoff_s=15.0,
        rate_limits="off",  # they live on wall time
        # Now and then so tight that they are met.
        append_in_flight=chance.choice((1, 2)),
        append_batch_limit=chance.choice((1, 3, 512)),
        append_queue_limit=chance.choice((3, 20_000)),
        region_inbox_limit=(inbox := chance.choice((4, 20_000))),
        region_shed_at=inbox // 2,
        gateway_outbox_limit=chance.choice((8, 50_000)),
        ws_outbox_limit=chance.choice((8, 256)),
        outbox_batch=chance.choice((1, 200)),
    )
    if faults.holds("sweep"):
        # A request is on its way for no longer, in wall time: its answer is as old as it when it is given.
        kept_s = max(Random(f"{faults.seed}:kept").choice(KEPT_S), UNDER_WAY_S * speed)
        limits = replace(limits, idempotency_ttl_s=kept_s, explain_keep_s=kept_s / 2)
    return limits
