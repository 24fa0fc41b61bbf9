"""Migrations, run from the program: no command line, no configuration file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from persistence.engine import create_plain_engine
from persistence.roles import ensure_role, secure

_LOCK = 0x646F6F72  # "door": the advisory lock that concurrent starters wait on


def alembic_config() -> Config:
    """Alembic's configuration, with the scripts of this package."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def head_revision() -> str:
    """The newest revision that this code knows."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


async def migrate(owner_url: str, server_url: str | None = None) -> str:
    """Bring the schema to this code's newest revision as its owner and return it, and give the server's role, the one
    of `server_url`, what it needs. None leaves a server that connects as the owner.

    One transaction under an advisory lock: whoever starts at the same time waits and then finds the work done.
    """
    if server_url is not None:
        await ensure_role(owner_url, server_url)
    engine = create_plain_engine(owner_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            await connection.run_sync(_upgrade)
            await connection.run_sync(secure, server_url)
    finally:
        await engine.dispose()
    return head_revision()


async def current_revision(database_url: str) -> str | None:
    """The revision of the schema, None when it was never migrated."""
    engine = create_plain_engine(database_url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_revision()
            )
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
