"""Limits of a gateway and of what it is sent."""

from __future__ import annotations

from pydantic import Field

from doorstep.settings.base import LIMITS, Area


class Http(Area):
    """A gateway under load (docs/gateway.md)."""

    http_in_flight_limit: int = Field(
        LIMITS.http_in_flight_limit,
        ge=1,
        le=100_000,
        description="HTTP requests under way in one gateway; 1 to 100000",
    )
    http_connections_limit: int = Field(
        LIMITS.http_connections_limit,
        ge=16,
        le=1_000_000,
        description="connections of one gateway that are no sockets; 16 to 10^6",
    )
    http_connections_per_address: int = Field(
        LIMITS.http_connections_per_address,
        ge=8,
        le=1_000_000,
        description="of them from one address, where no proxy stands before the gateway; 8 to 10^6",
    )
    http_line_bytes: int = Field(
        LIMITS.http_line_bytes, ge=1024, le=65_535, description="bytes of a request line; 1 KiB to 64 KiB"
    )
    http_head_bytes: int = Field(
        LIMITS.http_head_bytes, ge=2048, le=1_048_576, description="bytes of a request's head; 2 KiB to 1 MiB"
    )
    http_headers_limit: int = Field(
        LIMITS.http_headers_limit, ge=16, le=1000, description="header lines of a request; 16 to 1000"
    )
    http_body_bytes: int = Field(
        LIMITS.http_body_bytes,
        ge=16_384,
        le=16_777_216,
        description="bytes of a request's body; 16 KiB to 16 MiB",
    )
    http_waiting_mb: int = Field(
        LIMITS.http_waiting_mb,
        ge=1,
        le=10_000,
        description="MB of half-sent requests that one gateway keeps; 1 to 10^4",
    )
    http_head_timeout_s: float = Field(
        LIMITS.http_head_timeout_s,
        ge=0.5,
        le=300,
        description="seconds for a request's head, from the connection on; 0.5 to 300",
    )
    http_body_timeout_s: float = Field(
        LIMITS.http_body_timeout_s, ge=0.5, le=600, description="seconds for a request's body; 0.5 to 600"
    )
    http_idle_timeout_s: float = Field(
        LIMITS.http_idle_timeout_s,
        ge=1,
        le=3600,
        description="seconds a connection is kept open for its next request; 1 to 3600",
    )
    http_write_timeout_s: float = Field(
        LIMITS.http_write_timeout_s,
        ge=1,
        le=3600,
        description="seconds in which a client takes nothing of its answer; 1 to 3600",
    )
    status_keep_s: float = Field(
        LIMITS.status_keep_s,
        ge=0,
        le=60,
        description="seconds that one answer of /metrics and /health/ready serves everybody; 0 to 60",
    )
    admit_lag_ms: float = Field(
        LIMITS.admit_lag_ms,
        ge=10,
        le=60_000,
        description="milliseconds that a gateway may be behind before it turns new work away; 10 to 60000",
    )
    admit_retry_s: float = Field(
        LIMITS.admit_retry_s,
        ge=1,
        le=300,
        description="seconds over which those who are turned away are told to come again; 1 to 300",
    )
    drain_s: float = Field(
        LIMITS.drain_s,
        gt=0,
        le=300,
        description="seconds that sockets and requests get to end in a restart; up to 300",
    )
    drain_spread_s: float = Field(
        LIMITS.drain_spread_s,
        ge=0,
        le=600,
        description="seconds over which the clients of a restarting gateway are told to come again; 0 to 600",
    )
