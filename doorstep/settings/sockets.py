"""Limits of drivers' sockets."""

from __future__ import annotations

from pydantic import Field

from doorstep.settings.base import LIMITS, Area


class Sockets(Area):
    """Driver sockets (docs/gateway.md)."""

    ws_hello_timeout_s: float = Field(
        LIMITS.ws_hello_timeout_s,
        gt=0,
        le=60,
        description="seconds for the first frame after connecting; up to 60",
    )
    ws_max_frame_bytes: int = Field(
        LIMITS.ws_max_frame_bytes,
        ge=1024,
        le=1_048_576,
        description="largest frame from a driver in bytes; 1 KiB to 1 MiB",
    )
    ws_bad_frames_limit: int = Field(
        LIMITS.ws_bad_frames_limit,
        ge=1,
        le=100,
        description="unreadable frames before a socket is closed; 1 to 100",
    )
    ws_fragments_limit: int = Field(
        LIMITS.ws_fragments_limit,
        ge=1,
        le=10_000,
        description="fragments of one message before a socket is closed; 1 to 10000",
    )
    ws_heartbeat_s: float = Field(
        LIMITS.ws_heartbeat_s, ge=1, le=300, description="seconds between heartbeats; 1 to 300"
    )
    ws_outbox_limit: int = Field(
        LIMITS.ws_outbox_limit,
        ge=8,
        le=65_536,
        description="frames waiting for a slow client before it is cut; 8 to 65536",
    )
    ws_sockets_limit: int = Field(
        LIMITS.ws_sockets_limit,
        ge=1,
        le=1_000_000,
        description="open driver sockets of one gateway; 1 to 10^6",
    )
    ws_hellos_limit: int = Field(
        LIMITS.ws_hellos_limit,
        ge=1,
        le=100_000,
        description="hellos that one gateway answers at once; 1 to 100000",
    )
    ws_waiting_limit: int = Field(
        LIMITS.ws_waiting_limit,
        ge=1,
        le=1_000_000,
        description="open sockets of one gateway that have not said hello; 1 to 10^6",
    )
    ws_waiting_per_address: int = Field(
        LIMITS.ws_waiting_per_address, ge=1, le=1_000_000, description="of them from one address; 1 to 10^6"
    )
    ws_frames_per_s: float = Field(
        LIMITS.ws_frames_per_s,
        ge=1,
        le=1e6,
        description="frames of one socket read in a second; the rest waits; 1 to 10^6",
    )
    ws_frames_burst: int = Field(
        LIMITS.ws_frames_burst,
        ge=1,
        le=1_000_000,
        description="frames of one socket read at once after a silence; 1 to 10^6",
    )
    ws_write_buffer_bytes: int = Field(
        LIMITS.ws_write_buffer_bytes,
        ge=1024,
        le=16_777_216,
        description="bytes written to a socket and not sent, above which its outbox fills; 1 KiB to 16 MiB",
    )
    ws_auth_grace_s: float = Field(
        LIMITS.ws_auth_grace_s,
        ge=0,
        le=3600,
        description="seconds a socket stays open after its access token has expired; 0 to 3600",
    )
    ws_recheck_s: float = Field(
        LIMITS.ws_recheck_s,
        ge=0.1,
        le=86_400,
        description="seconds between two looks at the accounts of open sockets; 0.1 to 86400",
    )
    gateway_outbox_limit: int = Field(
        LIMITS.gateway_outbox_limit,
        ge=1000,
        le=10_000_000,
        description="pushes waiting for one gateway; 1000 to 10^7",
    )
    ping_flush_s: float = Field(
        LIMITS.ping_flush_s,
        gt=0,
        le=5,
        description="seconds the gateway collects location pings before one call; up to 5",
    )
