"""Postgres and Redis."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from doorstep.settings.base import LIMITS, Area


class Stores(Area):
    """Stores (docs/persistence.md)."""

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
    db_pool_size: int = Field(
        LIMITS.db_pool_size, ge=1, le=200, description="Postgres connections per process; 1 to 200"
    )
    db_statement_timeout_s: float = Field(
        LIMITS.db_statement_timeout_s, gt=0, le=600, description="seconds a statement may take; up to 600"
    )
    db_connect_timeout_s: float = Field(
        LIMITS.db_connect_timeout_s, gt=0, le=120, description="seconds to wait for a connection; up to 120"
    )
    db_lock_timeout_s: float = Field(
        LIMITS.db_lock_timeout_s,
        ge=0.05,
        le=60,
        description="seconds to wait for a row that somebody has locked; what concerns it then waits, or is refused as"
        " STORE_BUSY, and the rest goes on; 0.05 to 60",
    )
    db_idle_timeout_s: float = Field(
        LIMITS.db_idle_timeout_s,
        ge=1,
        le=600,
        description="seconds that a transaction may stand idle, as that of a frozen process does; 1 to 600",
    )

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _postgres_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, separator, rest = value.partition("://")
        if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql://")
        return f"postgresql://{rest}"

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @model_validator(mode="after")
    def _owner_of_what(self) -> Self:
        if self.database_owner_url is not None and self.database_url is None:
            raise ValueError("DATABASE_OWNER_URL needs DATABASE_URL, which names the server's own role")
        return self
