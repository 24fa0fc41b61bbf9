"""What every process of the server needs to know.

The composition root writes it once, to a file that only its user can read; actors get the path by environment, because
secrets in a Ray runtime environment would show on the dashboard.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct, field

from actors.clock import ServerClock
from domain.policy import RegionPolicy
from integrations.routing.options import RoadOptions

CONFIG_FILE_ENV = "DOORSTEP_CONFIG_FILE"


class Limits(Struct, frozen=True, kw_only=True):
    """Limits and waits in wall time; the meaning of each is in `doorstep/settings.py` under the same name."""

    db_pool_size: int = 8
    db_statement_timeout_s: float = 10.0
    db_connect_timeout_s: float = 10.0
    ws_hello_timeout_s: float = 10.0
    ws_max_frame_bytes: int = 16_384
    ws_bad_frames_limit: int = 3
    ws_heartbeat_s: float = 15.0
    ws_outbox_limit: int = 256
    ping_flush_s: float = 0.1
    region_inbox_limit: int = 20_000
    gateway_outbox_limit: int = 50_000  # pushes waiting for one gateway
    region_call_deadline_s: float = 20.0
    append_in_flight: int = 2
    append_batch_limit: int = 512  # commands in one transaction
    append_queue_limit: int = 20_000  # commands waiting for a transaction
    idempotency_ttl_s: float = 86_400.0
    explain_keep_s: float = 604_800.0
    outbox_batch: int = 200
    outbox_retry_s: float = 1.0
    ops_frame_s: float = 0.25
    ops_positions: int = 2_000  # driver positions in one mission-control frame
    vendor_timeout_s: float = 5.0
    record_segment_mb: int = 64  # of a region's log, without the checkpoint it begins with
    record_total_mb: int = 2_000  # of all segments of a region


class Config(Struct, frozen=True, kw_only=True):
    """The server's configuration as data."""

    environment: str
    namespace: str
    database_url: str  # postgresql://...
    redis_url: str
    regions: tuple[str, ...]
    clock: ServerClock
    jwt_secret: str
    jwt_ttl_s: int
    internal_token: str
    host: str
    port: int
    web_dist: str | None = None  # built browser app
    tile_url: str | None = None
    log_level: str = "INFO"
    identity_vendor: str = "fake"
    payment_vendor: str = "fake"
    ops_open: bool = False  # mission control without signing in: local trials only
    record_dir: str | None = None  # absolute; each region writes its log into a folder of its name
    policy: RegionPolicy = field(default_factory=RegionPolicy)
    policies: dict[str, RegionPolicy] = {}  # of markets that have one of their own
    roads: RoadOptions = field(default_factory=RoadOptions)
    limits: Limits = field(default_factory=Limits)

    def policy_of(self, region_id: str) -> RegionPolicy:
        """What this market lives by."""
        return self.policies.get(region_id, self.policy)

    def save(self, path: Path) -> None:
        """Write to `path`, readable by its owner alone."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self))


def load_config() -> Config:
    """The configuration of this process's server; `KeyError` when the environment names none."""
    return msgspec.json.decode(Path(os.environ[CONFIG_FILE_ENV]).read_bytes(), type=Config)
