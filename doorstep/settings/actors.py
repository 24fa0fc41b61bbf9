"""Queues and deadlines of actors."""

from __future__ import annotations

from pydantic import Field

from doorstep.settings.base import LIMITS, Area, configured


class Actors(Area):
    """Actors."""

    region_inbox_limit: int = Field(
        LIMITS.region_inbox_limit,
        ge=100,
        le=1_000_000,
        description="messages waiting for a region before it refuses; 100 to 10^6",
    )
    region_shed_at: int = Field(
        LIMITS.region_shed_at,
        ge=1,
        le=1_000_000,
        description="messages waiting in a region beyond which positions wait for them; 1 to 10^6",
    )
    region_call_deadline_s: float = Field(
        LIMITS.region_call_deadline_s,
        gt=0,
        le=120,
        description="seconds a caller waits for a region's answer; up to 120",
    )
    region_silent_asks: int = Field(
        LIMITS.region_silent_asks,
        ge=1,
        le=100_000,
        description="HTTP requests of one gateway that wait for a market that answers nobody; 1 to 100000",
    )
    region_mend_s: float = Field(
        LIMITS.region_mend_s,
        gt=0,
        le=3600,
        description="seconds between two looks at rows that a region could not restore; up to 3600",
    )
    push_deadline_s: float = Field(
        LIMITS.push_deadline_s,
        gt=0,
        le=120,
        description="seconds a gateway gets to take a region's pushes; up to 120",
    )
    store_call_deadline_s: float = Field(
        LIMITS.store_call_deadline_s,
        gt=0,
        le=600,
        description="seconds a region waits for its persistence actor, then asks the store anew; up to 600",
    )
    heartbeat_s: float = Field(
        LIMITS.heartbeat_s,
        ge=0.1,
        le=60,
        description="seconds between two looks at each actor and at the cluster; 0.1 to 60",
    )
    silent_s: float = Field(
        LIMITS.silent_s,
        ge=1,
        le=600,
        description="seconds that an actor or the cluster may be silent before it is ended and replaced; 1 to 600",
    )
    stuck_s: float = Field(
        LIMITS.stuck_s,
        ge=1,
        le=3600,
        description="seconds that an actor's event loop may not come round before it is replaced; 1 to 3600",
    )
    solve_timeout_s: float = Field(
        LIMITS.solve_timeout_s,
        ge=1,
        le=600,
        description="seconds a solve may take before it is cancelled and the region looks again; 1 to 600",
    )
    append_in_flight: int = Field(
        LIMITS.append_in_flight,
        ge=1,
        le=16,
        description="appends a caller may have under way at once; 1 to 16",
    )
    append_queue_limit: int = Field(
        LIMITS.append_queue_limit,
        ge=100,
        le=1_000_000,
        description="commands waiting for a transaction; 100 to 10^6",
    )
    append_batch_limit: int = Field(
        LIMITS.append_batch_limit, ge=1, le=10_000, description="commands in one transaction; 1 to 10000"
    )
    persistence_actors: int = Field(
        configured("persistence_actors"),
        ge=1,
        le=64,
        description="actors that write to Postgres, each with a pool of its own; 1 to 64",
    )
