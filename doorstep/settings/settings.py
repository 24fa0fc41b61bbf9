"""Settings: one field, one environment variable of the same name in upper case (`environment` is `DOORSTEP_ENV`).

A `.env` file in the working directory is read too; the environment wins. `.env.example` lists every variable,
and a test keeps it in step with this file.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

RAY_TOKEN = "ray_token"  # file of the data folder
MIN_SECRET_BYTES = 32  # HS256 wants a key at least as long as its hash
# In a secret at least; 32 random hexadecimal digits have fewer once in 100,000 times, 64 never.
DIFFERENT_CHARACTERS = 9
NODE_KINDS = ("region", "gateway", "persistence", "solver")
_MARKET = re.compile(r"[a-z]{2}-[a-z0-9]+")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_SECRETS = ("jwt_secret", "internal_token", "metrics_token")
_FAKEABLE = ("identity_vendor", "payment_vendor")
# pydantic starts a validator's message with this; the sentence after it is ours.
_VALIDATOR_PREFIX = "Value error, "


class SettingsError(ValueError):
    """The settings cannot be used; the message has one readable sentence per variable."""


class SettingRow(NamedTuple):
    """One line of the settings page: the variable, its default as it would stand in `.env`, and what it does."""

    name: str
    default: str
    description: str


class Settings(BaseSettings):
    """Everything that can be set. Durations are in seconds of wall time unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,  # `NAME=` in a .env means "leave the default"
        extra="ignore",  # a .env is often shared with compose files
        validate_default=True,
    )

    # --- where and how it runs
    environment: Literal["local", "test", "production"] = Field(
        "local",
        validation_alias="DOORSTEP_ENV",
        description="local, test or production; production refuses generated secrets and fake vendors",
    )
    data_dir: Path = Field(
        Path(".doorstep"), description="folder of the embedded databases and of generated secrets"
    )
    host: str = Field("127.0.0.1", description="address the gateway listens on; 0.0.0.0 for all")
    port: int = Field(8000, ge=1, le=65535, description="TCP port of REST, sockets and web apps; 1 to 65535")
    dashboard_port: int = Field(8265, ge=1, le=65535, description="TCP port of the Ray dashboard; 1 to 65535")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="OTLP/HTTP receiver of traces, such as http://localhost:4318; empty traces nothing",
    )
    trace_sample: float = Field(0.05, ge=0, le=1, description="share of requests that are traced, 0 to 1")
    regions: str = Field("tx-dfw", description="markets to run, comma separated, such as tx-dfw,tx-hou")
    speed: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="server seconds per wall second, over 0 to 1000; 1 in production",
    )

    # --- the cluster (docs/cluster.md)
    gateways: int = Field(
        1, ge=1, le=64, description="gateway actors on each node that carries any, on one port; 1 to 64"
    )
    node_kinds: str = Field(
        "auto",
        description="custom resources that say where actors and solver tasks go, of region, gateway, persistence and"
        " solver, comma separated; auto takes those that the cluster has at start, none uses every node",
    )

    # --- stores
    database_url: str | None = Field(
        None,
        description="Postgres as postgresql://user:password@host:port/name; empty runs the embedded one",
    )
    database_owner_url: str | None = Field(
        None,
        description="the same Postgres as the role that owns the tables, for migrations alone; empty migrates as the"
        " role of DATABASE_URL (docs/persistence.md)",
    )
    redis_url: str | None = Field(
        None, description="Redis as redis://:password@host:port/0; empty runs the embedded one"
    )
    run_migrations_on_startup: bool = Field(
        True, description="bring the schema up to date at start, under an advisory lock"
    )
    db_pool_size: int = Field(8, ge=1, le=200, description="Postgres connections per process; 1 to 200")
    db_statement_timeout_s: float = Field(
        10.0, gt=0, le=600, description="seconds a statement may take; up to 600"
    )
    db_connect_timeout_s: float = Field(
        10.0, gt=0, le=120, description="seconds to wait for a connection; up to 120"
    )
    db_lock_timeout_s: float = Field(
        0.5,
        ge=0.05,
        le=60,
        description="seconds to wait for a row that somebody has locked; what concerns it then waits, or is refused as"
        " STORE_BUSY, and the rest goes on; 0.05 to 60",
    )
    db_idle_timeout_s: float = Field(
        5.0,
        ge=1,
        le=600,
        description="seconds that a transaction may stand idle, as that of a frozen process does; 1 to 600",
    )

    # --- who may do what
    jwt_secret: SecretStr | None = Field(
        None,
        description="key that signs access tokens, at least 32 bytes; generated and kept in DATA_DIR"
        " outside production",
    )
    jwt_ttl_s: int = Field(43_200, ge=60, le=2_592_000, description="seconds a token is valid; 60 to 30 days")
    internal_token: SecretStr | None = Field(
        None,
        description="bearer token of /internal endpoints, at least 32 bytes; generated and kept in DATA_DIR"
        " outside production",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="bearer token of /metrics, at least 32 bytes; generated and kept in DATA_DIR unless given",
    )
    account_keep_s: float = Field(
        5.0,
        ge=0,
        le=300,
        description="seconds a gateway believes that an account is not disabled, deleted or demoted; 0 to 300",
    )
    idempotency_ttl_s: float = Field(
        86_400.0, ge=60, le=2_592_000, description="seconds an Idempotency-Key is remembered; 60 to 30 days"
    )
    explain_keep_s: float = Field(
        604_800.0,
        ge=0,
        le=31_536_000,
        description="server seconds it can be asked why an offer was made; 0, which keeps nothing, to 365 days",
    )
    offer_log_keep_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="server days an offer stays in the offer log; 0, which keeps it for ever, to 100 years",
    )

    # --- dispatch (the server's clock: wall seconds times SPEED)
    offer_ttl_s: float = Field(
        30.0,
        ge=1,
        le=600,
        description="server seconds for an offer to be shown, and once more from then on to be answered; 1 to 600",
    )
    fast_window_s: float = Field(
        0.2, ge=0, le=10, description="server seconds a new task or freed driver waits for company; 0 to 10"
    )
    fast_max_wait_s: float = Field(
        3.0, gt=0, le=60, description="open tasks are looked at again after so many server seconds; up to 60"
    )
    offer_lead_s: float = Field(
        300.0,
        ge=5,
        le=86_400,
        description="an offer is made so many server seconds before its driver must set off; until then a better"
        " one may come; 5 to 86400",
    )
    offer_ahead_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="a driver on the way to the last door is offered the next trip so many server seconds before"
        " being done; 0 to 3600, 0 offers to free drivers only",
    )
    region_policies: Path | None = Field(
        None,
        description="JSON file with weights and other parameters of dispatch by market (docs/dispatch.md); empty"
        " leaves the defaults",
    )
    driver_stale_s: float = Field(
        90.0, ge=5, le=3600, description="a driver silent for so many server seconds gets no offer; 5 to 3600"
    )
    driver_lost_s: float = Field(
        600.0,
        ge=60,
        le=86_400,
        description="a driver silent for so many server seconds loses what is not picked up yet;"
        " 60 to 86400, at least DRIVER_STALE_S",
    )

    # --- travel times (docs/roads.md)
    router_mode: Literal["HAVERSINE", "OSRM", "VALHALLA"] = Field(
        "HAVERSINE",
        description="who knows how long a drive takes: HAVERSINE (arithmetic), OSRM (a server at OSRM_URL)"
        " or VALHALLA (in this process, on VALHALLA_TILES)",
    )
    osrm_url: str | None = Field(
        None, description="OSRM-compatible server, as http://host:5000; needed by ROUTER_MODE=OSRM"
    )
    valhalla_tiles: Path | None = Field(
        None,
        description="folder of road tiles made by `doorstep roads build`; empty is `roads` in DATA_DIR",
    )
    valhalla_builder: Path | None = Field(
        None, description="the program valhalla_build_tiles; empty looks in pyvalhalla and on the PATH"
    )
    travel_table: Path | None = Field(
        None,
        description="speeds by zone and hour, written by `doorstep roads calibrate`; empty is 10 m/s and"
        " a detour of 1.35 everywhere",
    )
    router_timeout_s: float = Field(
        2.0, gt=0, le=60, description="seconds for one request to the OSRM server; up to 60"
    )
    router_budget_s: float = Field(
        4.0,
        gt=0,
        le=60,
        description="seconds after which one look-up of a solver asks no more and estimates; up to 60",
    )
    router_retry_s: float = Field(
        30.0, ge=0, le=3600, description="seconds without a request after the road engine failed; 0 to 3600"
    )
    router_table_limit: int = Field(
        100,
        ge=2,
        le=10_000,
        description="places in one matrix request, the --max-table-size of the OSRM server; 2 to 10000",
    )
    router_pairs_limit: int = Field(
        20_000,
        ge=1,
        le=10_000_000,
        description="pairs of places that one call takes to the road engine, the nearest; 1 to 10^7",
    )
    router_cache_entries: int = Field(
        200_000,
        ge=2,
        le=50_000_000,
        description="driving times remembered by each solver process, about 250 bytes each; 2 to 5*10^7",
    )
    router_cache_ttl_s: float = Field(
        900.0, gt=0, le=86_400, description="seconds a driving time is remembered; up to 86400"
    )

    # --- driver sockets
    ws_hello_timeout_s: float = Field(
        10.0, gt=0, le=60, description="seconds for the first frame after connecting; up to 60"
    )
    ws_max_frame_bytes: int = Field(
        16_384, ge=1024, le=1_048_576, description="largest frame from a driver in bytes; 1 KiB to 1 MiB"
    )
    ws_bad_frames_limit: int = Field(
        3, ge=1, le=100, description="unreadable frames before a socket is closed; 1 to 100"
    )
    ws_fragments_limit: int = Field(
        64, ge=1, le=10_000, description="fragments of one message before a socket is closed; 1 to 10000"
    )
    ws_heartbeat_s: float = Field(15.0, ge=1, le=300, description="seconds between heartbeats; 1 to 300")
    ws_outbox_limit: int = Field(
        256, ge=8, le=65_536, description="frames waiting for a slow client before it is cut; 8 to 65536"
    )
    ws_sockets_limit: int = Field(
        20_000, ge=1, le=1_000_000, description="open driver sockets of one gateway; 1 to 10^6"
    )
    ws_hellos_limit: int = Field(
        256, ge=1, le=100_000, description="hellos that one gateway answers at once; 1 to 100000"
    )
    ws_waiting_limit: int = Field(
        4_096,
        ge=1,
        le=1_000_000,
        description="open sockets of one gateway that have not said hello; 1 to 10^6",
    )
    ws_waiting_per_address: int = Field(
        1_024, ge=1, le=1_000_000, description="of them from one address; 1 to 10^6"
    )
    ws_frames_per_s: float = Field(
        50.0, ge=1, le=1e6, description="frames of one socket read in a second; the rest waits; 1 to 10^6"
    )
    ws_frames_burst: int = Field(
        200, ge=1, le=1_000_000, description="frames of one socket read at once after a silence; 1 to 10^6"
    )
    ws_write_buffer_bytes: int = Field(
        32_768,
        ge=1024,
        le=16_777_216,
        description="bytes written to a socket and not sent, above which its outbox fills; 1 KiB to 16 MiB",
    )
    ws_auth_grace_s: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="seconds a socket stays open after its access token has expired; 0 to 3600",
    )
    ws_recheck_s: float = Field(
        15.0,
        ge=0.1,
        le=86_400,
        description="seconds between two looks at the accounts of open sockets; 0.1 to 86400",
    )
    gateway_outbox_limit: int = Field(
        50_000, ge=1000, le=10_000_000, description="pushes waiting for one gateway; 1000 to 10^7"
    )
    ping_flush_s: float = Field(
        0.1, gt=0, le=5, description="seconds the gateway collects location pings before one call; up to 5"
    )

    # --- which positions are believed (docs/gateway.md)
    fix_age_s: float = Field(
        60.0, gt=0, le=3600, description="seconds after which a position is too old to be taken; up to 3600"
    )
    fix_clock_s: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="seconds of positions that are all as old until it is the phone's clock that is wrong; 0 to 3600",
    )
    fix_accuracy_m: float = Field(
        1_000.0, ge=1, le=1e6, description="metres by which a position may be wrong to be taken; 1 to 10^6"
    )
    fix_speed_mps: float = Field(
        70.0, ge=1, le=1e7, description="metres a second that a driver is believed to drive; 1 to 10^7"
    )
    fix_slack_m: float = Field(
        500.0, ge=0, le=1e6, description="metres that a position may jump at any time; 0 to 10^6"
    )
    fix_reach_m: float = Field(
        100_000.0,
        ge=0,
        le=1e6,
        description="metres beyond a market's radius where a driver of it may be; 0 to 10^6",
    )
    fix_confirmations: int = Field(
        3, ge=1, le=100, description="positions in a row that agree to make a jump believed; 1 to 100"
    )

    # --- a gateway under load (docs/gateway.md)
    http_in_flight_limit: int = Field(
        512, ge=1, le=100_000, description="HTTP requests under way in one gateway; 1 to 100000"
    )
    http_connections_limit: int = Field(
        8_192, ge=16, le=1_000_000, description="connections of one gateway that are no sockets; 16 to 10^6"
    )
    http_connections_per_address: int = Field(
        1_024,
        ge=8,
        le=1_000_000,
        description="of them from one address, where no proxy stands before the gateway; 8 to 10^6",
    )
    http_line_bytes: int = Field(
        8_192, ge=1024, le=65_535, description="bytes of a request line; 1 KiB to 64 KiB"
    )
    http_head_bytes: int = Field(
        32_768, ge=2048, le=1_048_576, description="bytes of a request's head; 2 KiB to 1 MiB"
    )
    http_headers_limit: int = Field(100, ge=16, le=1000, description="header lines of a request; 16 to 1000")
    http_body_bytes: int = Field(
        262_144, ge=16_384, le=16_777_216, description="bytes of a request's body; 16 KiB to 16 MiB"
    )
    http_waiting_mb: int = Field(
        64, ge=1, le=10_000, description="MB of half-sent requests that one gateway keeps; 1 to 10^4"
    )
    http_head_timeout_s: float = Field(
        10.0, ge=0.5, le=300, description="seconds for a request's head, from the connection on; 0.5 to 300"
    )
    http_body_timeout_s: float = Field(
        20.0, ge=0.5, le=600, description="seconds for a request's body; 0.5 to 600"
    )
    http_idle_timeout_s: float = Field(
        30.0, ge=1, le=3600, description="seconds a connection is kept open for its next request; 1 to 3600"
    )
    http_write_timeout_s: float = Field(
        30.0, ge=1, le=3600, description="seconds in which a client takes nothing of its answer; 1 to 3600"
    )
    status_keep_s: float = Field(
        1.0,
        ge=0,
        le=60,
        description="seconds that one answer of /metrics and /health/ready serves everybody; 0 to 60",
    )
    admit_lag_ms: float = Field(
        1_000.0,
        ge=10,
        le=60_000,
        description="milliseconds that a gateway may be behind before it turns new work away; 10 to 60000",
    )
    admit_retry_s: float = Field(
        5.0,
        ge=1,
        le=300,
        description="seconds over which those who are turned away are told to come again; 1 to 300",
    )
    drain_s: float = Field(
        5.0, gt=0, le=300, description="seconds that sockets and requests get to end in a restart; up to 300"
    )
    drain_spread_s: float = Field(
        10.0,
        ge=0,
        le=600,
        description="seconds over which the clients of a restarting gateway are told to come again; 0 to 600",
    )

    # --- actors
    region_inbox_limit: int = Field(
        20_000,
        ge=100,
        le=1_000_000,
        description="messages waiting for a region before it refuses; 100 to 10^6",
    )
    region_shed_at: int = Field(
        2_000,
        ge=1,
        le=1_000_000,
        description="messages waiting in a region beyond which positions wait for them; 1 to 10^6",
    )
    region_call_deadline_s: float = Field(
        20.0, gt=0, le=120, description="seconds a caller waits for a region's answer; up to 120"
    )
    region_silent_asks: int = Field(
        128,
        ge=1,
        le=100_000,
        description="HTTP requests of one gateway that wait for a market that answers nobody; 1 to 100000",
    )
    region_mend_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds between two looks at rows that a region could not restore; up to 3600",
    )
    push_deadline_s: float = Field(
        5.0, gt=0, le=120, description="seconds a gateway gets to take a region's pushes; up to 120"
    )
    store_call_deadline_s: float = Field(
        15.0,
        gt=0,
        le=600,
        description="seconds a region waits for its persistence actor, then asks the store anew; up to 600",
    )
    heartbeat_s: float = Field(
        1.0,
        ge=0.1,
        le=60,
        description="seconds between two looks at each actor and at the cluster; 0.1 to 60",
    )
    silent_s: float = Field(
        4.0,
        ge=1,
        le=600,
        description="seconds that an actor or the cluster may be silent before it is ended and replaced; 1 to 600",
    )
    stuck_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="seconds that an actor's event loop may not come round before it is replaced; 1 to 3600",
    )
    solve_timeout_s: float = Field(
        10.0,
        ge=1,
        le=600,
        description="seconds a solve may take before it is cancelled and the region looks again; 1 to 600",
    )
    append_in_flight: int = Field(
        2, ge=1, le=16, description="appends a caller may have under way at once; 1 to 16"
    )
    append_queue_limit: int = Field(
        20_000, ge=100, le=1_000_000, description="commands waiting for a transaction; 100 to 10^6"
    )
    append_batch_limit: int = Field(
        512, ge=1, le=10_000, description="commands in one transaction; 1 to 10000"
    )
    persistence_actors: int = Field(
        1, ge=1, le=64, description="actors that write to Postgres, each with a pool of its own; 1 to 64"
    )
    outbox_batch: int = Field(
        200, ge=1, le=10_000, description="outbox rows of each market handed on in one go; 1 to 10000"
    )
    outbox_pace_s: float = Field(
        0.25, ge=0, le=10, description="seconds that events wait to go out together, tasks excepted; 0 to 10"
    )
    outbox_retry_s: float = Field(
        1.0, gt=0, le=300, description="seconds before an unacknowledged outbox row is tried again; up to 300"
    )
    outbox_rest_s: float = Field(
        5.0,
        gt=0,
        le=300,
        description="seconds that a region or a stream that does not answer is left alone at most; up to 300",
    )
    outbox_deadline_s: float = Field(
        5.0, gt=0, le=120, description="seconds that a region or the bus gets to take events; up to 120"
    )
    outbox_backoff_s: float = Field(
        300.0,
        gt=0,
        le=86_400,
        description="seconds between two tries of an event that is not taken, at most; up to 86400",
    )
    outbox_tries: int = Field(
        16,
        ge=1,
        le=1_000,
        description="tries after which an event that its receiver refuses is a dead letter; 1 to 1000",
    )
    outbox_lease_s: float = Field(
        5.0,
        ge=0.5,
        le=300,
        description="seconds after which another persistence actor takes over the outbox of a dead one; 0.5 to 300",
    )
    ops_frame_s: float = Field(
        0.25, ge=0.05, le=10, description="seconds between mission-control frames; 0.05 to 10"
    )
    ops_positions: int = Field(
        2_000, ge=0, le=100_000, description="driver positions in one mission-control frame; 0 to 100000"
    )
    ops_open: bool = Field(
        False, description="show mission control without signing in; refused in production"
    )

    # --- rate limits (docs/limits.md)
    rate_limits: Literal["auto", "on", "off"] = Field(
        "auto",
        description="auto (on), on, or off for load generators and trials; off is refused in production",
    )
    rate_limit_rules: str = Field(
        "",
        description="limits that differ from the defaults, comma separated: order=60 per minute,read=90/second",
    )
    rate_limit_timeout_s: float = Field(
        0.1,
        gt=0,
        le=5,
        description="seconds to wait for Redis' count, then this gateway counts alone; up to 5",
    )
    rate_limit_retry_s: float = Field(
        5.0,
        ge=0.1,
        le=300,
        description="seconds until Redis is asked again after it did not answer; 0.1 to 300",
    )
    rate_limit_keys: int = Field(
        100_000,
        ge=100,
        le=10_000_000,
        description="clients whose counts a gateway keeps, beyond which it forgets the oldest; 100 to 10^7",
    )
    allowed_origins: str = Field(
        "",
        description="origins of other pages that may open sockets and streams here, comma separated, such as"
        " https://ops.example.org",
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="proxies of ours before the gateway, whose X-Forwarded-For is believed; 0 to 10",
    )

    # --- the log of what regions decide (docs/replay.md)
    record_dir: Path | None = Field(
        None, description="folder for the regions' logs, which can be replayed; empty records nothing"
    )
    record_segment_mb: int = Field(
        64, ge=1, le=4_096, description="MB of messages in one file of a region's log; 1 to 4096"
    )
    record_total_mb: int = Field(
        2_000,
        ge=2,
        le=1_000_000,
        description="MB of a region's log on disk, beyond which its oldest files are deleted; 2 to 10^6",
    )

    # --- vendors
    identity_vendor: str = Field(
        "fake", description="who checks ages and IDs: fake, which production refuses"
    )
    payment_vendor: str = Field(
        "fake", description="who holds and takes money: fake, which production refuses"
    )
    allow_fake_vendors: bool = Field(False, description="let production run with the fake vendors")
    vendor_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds to wait for a vendor; up to 60")
    tile_url: str | None = Field(
        None, description="map tiles as a URL with {z}, {x} and {y}; empty draws the built-in street-less map"
    )

    def __init__(self, **values: Any) -> None:
        """Values by field name win over the environment. `TypeError` for a name that is no setting."""
        for name in values:
            if name not in type(self).model_fields and not name.startswith("_"):
                raise TypeError(f"{name} is not a setting")
        # By its alias: `populate_by_name` would make the common variable ENVIRONMENT count as well.
        if "environment" in values:
            values["DOORSTEP_ENV"] = values.pop("environment")
        super().__init__(**values)

    @field_validator("regions")
    @classmethod
    def _markets(cls, value: str) -> str:
        ids = [part.strip() for part in value.split(",")]
        bad = [part for part in ids if not _MARKET.fullmatch(part)]
        if bad:
            raise ValueError(
                f"must be market ids such as tx-dfw, separated by commas, and {bad[0]!r} is none"
            )
        if len(set(ids)) != len(ids):
            raise ValueError("names a market twice")
        return ",".join(ids)

    @field_validator("node_kinds")
    @classmethod
    def _kinds(cls, value: str) -> str:
        kinds = [part.strip() for part in value.split(",") if part.strip()]
        bad = [kind for kind in kinds if kind not in NODE_KINDS]
        if bad and kinds not in (["auto"], ["none"]):
            raise ValueError(f"must be auto, none, or of {', '.join(NODE_KINDS)}, and {bad[0]!r} is none")
        return ",".join(kinds)

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _postgres_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, separator, rest = value.partition("://")
        if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql://")
        return f"postgresql://{rest}"

    @field_validator("osrm_url", "otel_exporter_otlp_endpoint")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/]", value):
            raise ValueError("must start with http:// or https://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("rate_limit_rules")
    @classmethod
    def _budgets(cls, value: str) -> str:
        if value:
            from gateway.http.ratelimit import rules  # slow to load, and most servers have the defaults

            rules(value)
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        origins = [part.strip().lower() for part in value.split(",") if part.strip()]
        bad = [origin for origin in origins if not _ORIGIN.fullmatch(origin)]
        if bad:
            raise ValueError(f"must be origins such as https://ops.example.org, and {bad[0]!r} is none")
        return ",".join(origins)

    @field_validator("identity_vendor", "payment_vendor")
    @classmethod
    def _known_vendor(cls, value: str, info: ValidationInfo) -> str:
        from integrations.registry import IDENTITY, PAYMENT  # slow to load

        known = sorted(IDENTITY if info.field_name == "identity_vendor" else PAYMENT)
        if value not in known:
            raise ValueError(f"must be one of: {', '.join(known)}")
        return value

    @field_validator("jwt_secret", "internal_token", "metrics_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"must be at least {MIN_SECRET_BYTES} bytes long")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.driver_lost_s < self.driver_stale_s:
            raise ValueError(
                f"DRIVER_LOST_S must be at least DRIVER_STALE_S, and is {self.driver_lost_s:g}"
                f" against {self.driver_stale_s:g}"
            )
        return self

    @model_validator(mode="after")
    def _owner_of_what(self) -> Self:
        if self.database_owner_url is not None and self.database_url is None:
            raise ValueError("DATABASE_OWNER_URL needs DATABASE_URL, which names the server's own role")
        return self

    @model_validator(mode="after")
    def _router_has_an_address(self) -> Self:
        if self.router_mode == "OSRM" and self.osrm_url is None:
            raise ValueError("OSRM_URL is required by ROUTER_MODE=OSRM")
        return self

    @model_validator(mode="after")
    def _room_for_two_segments(self) -> Self:
        if self.record_total_mb < 2 * self.record_segment_mb:
            raise ValueError(
                f"RECORD_TOTAL_MB must be at least twice RECORD_SEGMENT_MB, which is {self.record_segment_mb}"
            )
        return self

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.environment != "production":
            return self
        problems = []
        if self.speed != 1.0:
            problems.append(f"SPEED must be 1 in production, and is {self.speed:g}")
        if self.rate_limits == "off":
            problems.append("RATE_LIMITS must not be off in production: raise RATE_LIMIT_RULES instead")
        if self.ops_open:
            problems.append("OPS_OPEN must be off in production: mission control shows people's whereabouts")
        problems += [
            f"{name.upper()} is required in production, at least {MIN_SECRET_BYTES} bytes"
            for name in ("jwt_secret", "internal_token")
            if getattr(self, name) is None
        ]
        problems += self._poor_secrets()
        if not self.allow_fake_vendors:
            problems += [
                f"{name.upper()} must name a real vendor in production (or set ALLOW_FAKE_VENDORS=true)"
                for name in _FAKEABLE
                if getattr(self, name) == "fake"
            ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _poor_secrets(self) -> Iterator[str]:
        """What is wrong with the secrets that were given: made up by hand, or the same one twice."""
        given = {name: getattr(self, name) for name in _SECRETS}
        known = {name.upper(): value.get_secret_value() for name, value in given.items() if value is not None}
        for name, value in known.items():
            if _is_poor(value):
                yield f"{name} must be random in production, such as `openssl rand -hex 32` makes"
            if value in [other for earlier, other in known.items() if earlier < name]:
                yield f"{name} must not be another secret as well"

    @property
    def region_ids(self) -> tuple[str, ...]:
        """The markets to run, in the order given."""
        return tuple(self.regions.split(","))

    @property
    def origins(self) -> tuple[str, ...]:
        """Of other pages that may open sockets and streams."""
        return tuple(filter(None, self.allowed_origins.split(",")))

    @property
    def tiles_dir(self) -> Path:
        """The folder of road tiles."""
        return self.valhalla_tiles or self.data_dir / "roads"

    def jwt_key(self) -> str:
        """The key that signs tokens. Outside production it is generated once and kept in `data_dir`.

        Raises `OSError` when that folder cannot be written.
        """
        return self._secret(self.jwt_secret, "jwt_secret")

    def internal_key(self) -> str:
        """The token of the internal endpoints, generated and kept like `jwt_key`. Raises `OSError` like it."""
        return self._secret(self.internal_token, "internal_token")

    def metrics_key(self) -> str:
        """The token of the metrics page, in production too. Raises `OSError` like `jwt_key`."""
        return self._secret(self.metrics_token, "metrics_token")

    def _secret(self, value: SecretStr | None, name: str) -> str:
        return value.get_secret_value() if value is not None else local_secret(self.data_dir, name)


def _is_poor(secret: str) -> bool:
    """Whether a secret is no random one: few different characters, or a short text over and over."""
    repeats = any(secret == (secret[:n] * len(secret))[: len(secret)] for n in range(1, len(secret) // 2 + 1))
    return repeats or len(set(secret)) < DIFFERENT_CHARACTERS


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and `.env`; `overrides` (field names) win over both.

    Raises `SettingsError` with one sentence per variable that cannot be used.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentences(error))) from None


def local_secret(data_dir: Path, name: str) -> str:
    """The secret kept in `data_dir/name`, made on first use and readable by its owner alone.

    Two processes that ask at once get the same one. Raises `OSError` when the folder cannot be written.
    """
    path = data_dir / name
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = data_dir / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(MIN_SECRET_BYTES))
            # A link either puts the whole secret in place or finds that someone was faster.
            if not path.exists():
                os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def ray_token_file(data_dir: Path) -> Path:
    """The file with the token of this folder's own Ray cluster, made on first use. `OSError` as for `local_secret`."""
    local_secret(data_dir, RAY_TOKEN)
    return data_dir / RAY_TOKEN


def explain_settings() -> Iterator[SettingRow]:
    """Every setting in the order of the class, for `.env.example` and the docs."""
    for name, field in Settings.model_fields.items():
        default = field.default
        text = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        yield SettingRow(_env_name(name), text, field.description or "")


def _env_name(field_name: str) -> str:
    return "DOORSTEP_ENV" if field_name == "environment" else field_name.upper()


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False):
        message = problem["msg"].removeprefix(_VALIDATOR_PREFIX)
        if not problem["loc"]:  # several fields together: the message names them
            yield from message.splitlines()
            continue
        location = str(problem["loc"][0])
        name = "DOORSTEP_ENV" if location == "DOORSTEP_ENV" else _env_name(location)
        field = Settings.model_fields.get(name.lower())
        given = problem["input"]
        # A secret, or a URL with a password in it, must not end up in a terminal's history.
        shown = "" if name.endswith(("SECRET", "TOKEN", "_URL")) else f" (given: {str(given)!r})"
        sentence = message[:1].lower() + message[1:] if problem["type"] != "value_error" else message
        hint = f". It is: {field.description}" if field is not None else ""
        yield f"{name}: {sentence}{shown}{hint}"
