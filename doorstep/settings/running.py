"""Where and how the server runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from doorstep.settings.base import Area, HttpUrl, configured

_MARKET = re.compile(r"[a-z]{2}-[a-z0-9]+")


class Running(Area):
    """Where and how it runs."""

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
        configured("log_level"), description="DEBUG, INFO, WARNING or ERROR"
    )
    otel_exporter_otlp_endpoint: HttpUrl | None = Field(
        None,
        description="OTLP/HTTP receiver of traces, such as http://localhost:4318; empty traces nothing",
    )
    trace_sample: float = Field(
        configured("trace_sample"), ge=0, le=1, description="share of requests that are traced, 0 to 1"
    )
    regions: str = Field("tx-dfw", description="markets to run, comma separated, such as tx-dfw,tx-hou")
    speed: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="server seconds per wall second, over 0 to 1000; 1 in production",
    )

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

    @property
    def region_ids(self) -> tuple[str, ...]:
        """The markets to run, in the order given."""
        return tuple(self.regions.split(","))
