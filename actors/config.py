"""What every process of the server needs to know.

The composition root writes it once. On a machine of its own that is a file that only its user can read, and actors get
the path by environment, because secrets in a Ray runtime environment would show on the dashboard. Where it joined a Ray
cluster the text is in the cluster's own key-value store, and each process is given it (ADR 0015); what a node's
environment says about its own addresses and folders then wins on that node.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from actors.clock import ServerClock
from domain.region.policy import RegionPolicy
from integrations.routing.options import RoadOptions
from persistence import pool

CONFIG_FILE_ENV = "DOORSTEP_CONFIG_FILE"
# What may differ from node to node, by the setting's name: the part of the configuration and the field.
NODE_SETTINGS = {
    "HOST": ("", "host"),
    "PORT": ("", "port"),
    "RECORD_DIR": ("", "record_dir"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("", "otlp_endpoint"),
    "VALHALLA_TILES": ("roads", "valhalla_tiles"),
    "OSRM_URL": ("roads", "osrm_url"),
}
_POLICY = RegionPolicy()
_WEB_DIST = Path(__file__).parents[1] / "web" / "dist"


class Limits(Struct, frozen=True, kw_only=True):
    """Limits and waits in wall time; the meaning of each is in `doorstep/settings/` under the same name."""

    db_pool_size: int = pool.POOL_SIZE
    db_statement_timeout_s: float = pool.STATEMENT_TIMEOUT_S
    db_connect_timeout_s: float = pool.CONNECT_TIMEOUT_S
    db_lock_timeout_s: float = pool.LOCK_TIMEOUT_S
    db_idle_timeout_s: float = pool.IDLE_TIMEOUT_S
    ws_hello_timeout_s: float = 10.0
    ws_max_frame_bytes: int = 16_384
    ws_bad_frames_limit: int = 3
    ws_fragments_limit: int = 64  # of one message
    ws_heartbeat_s: float = 15.0
    ws_outbox_limit: int = 256
    ws_sockets_limit: int = 20_000
    ws_hellos_limit: int = 256
    ws_waiting_limit: int = 4_096
    ws_waiting_per_address: int = 1_024
    ws_frames_per_s: float = 50.0
    ws_frames_burst: int = 200
    ws_write_buffer_bytes: int = 32_768
    ws_auth_grace_s: float = 60.0
    ws_recheck_s: float = 15.0
    account_keep_s: float = 5.0
    http_in_flight_limit: int = 512
    http_connections_limit: int = 8_192
    http_connections_per_address: int = 1_024
    http_line_bytes: int = 8_192
    http_head_bytes: int = 32_768
    http_headers_limit: int = 100
    http_body_bytes: int = 262_144
    http_waiting_mb: int = 64
    http_head_timeout_s: float = 10.0
    http_body_timeout_s: float = 20.0
    http_idle_timeout_s: float = 30.0
    http_write_timeout_s: float = 30.0
    status_keep_s: float = 1.0
    admit_lag_ms: float = 1_000.0
    admit_retry_s: float = 5.0
    drain_s: float = 5.0
    drain_spread_s: float = 10.0
    ping_flush_s: float = 0.1
    fix_age_s: float = 60.0
    fix_clock_s: float = 30.0
    fix_accuracy_m: float = 1_000.0
    fix_speed_mps: float = 70.0
    fix_slack_m: float = 500.0
    fix_reach_m: float = 100_000.0
    fix_confirmations: int = 3
    region_inbox_limit: int = 20_000
    region_shed_at: int = 2_000
    gateway_outbox_limit: int = 50_000  # pushes waiting for one gateway
    region_call_deadline_s: float = 20.0
    region_silent_asks: int = 128
    region_mend_s: float = 30.0
    push_deadline_s: float = 5.0
    store_call_deadline_s: float = 15.0
    heartbeat_s: float = 1.0
    silent_s: float = 4.0
    stuck_s: float = 30.0
    solve_timeout_s: float = _POLICY.solve_timeout_s
    append_in_flight: int = 2
    append_batch_limit: int = 512  # commands in one transaction
    append_queue_limit: int = 20_000  # commands waiting for a transaction
    idempotency_ttl_s: float = 86_400.0
    explain_keep_s: float = 604_800.0
    outbox_batch: int = 200
    outbox_pace_s: float = 0.25
    outbox_retry_s: float = 1.0
    outbox_rest_s: float = 5.0
    outbox_deadline_s: float = 5.0
    outbox_backoff_s: float = 300.0
    outbox_tries: int = 16
    outbox_rules: str = ""  # what single carriers have of their own
    outbox_lease_s: float = 5.0
    offer_log_keep_days: float = 0.0  # server time; 0 keeps it for ever
    ops_frame_s: float = 0.25
    ops_positions: int = 2_000  # driver positions in one mission-control frame
    vendor_timeout_s: float = 5.0
    rate_limits: Literal["auto", "on", "off"] = "auto"
    rate_limit_rules: str = ""
    rate_limit_timeout_s: float = 0.1
    rate_limit_retry_s: float = 5.0
    rate_limit_keys: int = 100_000
    trusted_proxies: int = 0
    record_segment_mb: int = 64  # of a region's log, without the checkpoint it begins with
    record_total_mb: int = 2_000  # of all segments of a region


class Config(Struct, frozen=True, kw_only=True):
    """The server's configuration as data."""

    environment: str
    namespace: str
    server_id: str = ""  # which server this is, of all that ever were on the database
    database_url: str  # postgresql://...
    redis_url: str
    regions: tuple[str, ...]
    persistence_actors: int = 1
    gateways: int = 1  # on each node that carries any
    placed: tuple[str, ...] = ()  # kinds of actors and tasks that go to nodes with a resource of that name
    clock: ServerClock
    jwt_secret: str
    jwt_ttl_s: int
    internal_token: str
    metrics_token: str = ""  # beside the internal one, for /metrics alone
    host: str
    port: int
    web_dist: str | None = None  # built browser app
    allowed_origins: tuple[str, ...] = ()  # of pages that are not this server's, in lower case
    tile_url: str | None = None
    log_level: str = "INFO"
    otlp_endpoint: str | None = None  # receiver of traces
    trace_sample: float = 0.05  # share of requests
    identity_vendor: str = "fake"
    payment_vendor: str = "fake"
    event_bus_vendor: str = "redis_streams"
    vendor_options: dict[str, dict[str, Any]] = {}  # by port; secrets among them
    ops_open: bool = False  # mission control without signing in: local trials only
    record_dir: str | None = None  # absolute; each region writes its log into a folder of its name
    policy: RegionPolicy = field(default_factory=RegionPolicy)
    policies: dict[str, RegionPolicy] = {}  # of markets that have one of their own
    roads: RoadOptions = field(default_factory=RoadOptions)
    limits: Limits = field(default_factory=Limits)

    def policy_of(self, region_id: str) -> RegionPolicy:
        """What this market lives by."""
        return self.policies.get(region_id, self.policy)

    @property
    def persistence_names(self) -> tuple[str, ...]:
        """The persistence actors."""
        return persistence_names(self.persistence_actors)

    def persistence_of(self, key: str) -> str:
        """The persistence actor that a region's or an order's commands go to."""
        return persistence_of(key, self.persistence_actors)

    def save(self, path: Path) -> None:
        """Write to `path`, readable by its owner alone."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")  # what was there before may be open to others
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.text())
        draft.replace(path)

    def text(self) -> bytes:
        """As JSON, secrets included."""
        return msgspec.json.encode(self)

    def on_node(self, environment: Mapping[str, str], web_dist: Path = _WEB_DIST) -> Config:
        """As it holds on the node with this environment. Each node serves the browser apps of its own installation.
        `ValueError` for a value that cannot be."""
        own: dict[str, object] = {"web_dist": str(web_dist) if web_dist.is_dir() else None}
        roads: dict[str, object] = {}
        for name, (part, into) in NODE_SETTINGS.items():
            if value := environment.get(name):
                (roads if part else own)[into] = int(value) if into == "port" else value
        return replace(self, **own, roads=replace(self.roads, **roads))


def persistence_names(count: int) -> tuple[str, ...]:
    """The names of so many persistence actors."""
    return tuple(f"persistence:{number}" for number in range(count))


def persistence_of(key: str, count: int) -> str:
    """Which of them has this key (an order's id or a region's). The same everywhere, so that what belongs to one order
    meets in one actor and does not wait for its own row locks; correctness does not rest on it."""
    return f"persistence:{zlib.crc32(key.encode()) % count}"


_given: Config | None = None


def give_config(text: bytes) -> None:
    """Let `load_config` return this configuration (`Config.text`) in this process, as it holds on this node."""
    global _given
    _given = msgspec.json.decode(text, type=Config).on_node(os.environ)


def load_config() -> Config:
    """The configuration of this process's server; `KeyError` when none was given and the environment names none."""
    if _given is not None:
        return _given
    return msgspec.json.decode(Path(os.environ[CONFIG_FILE_ENV]).read_bytes(), type=Config)


def config_folder() -> Path | None:
    """Where this process's configuration lies: the data folder of a server on one machine, None on other nodes."""
    path = os.environ.get(CONFIG_FILE_ENV)
    return Path(path).parent if path is not None else None
