"""Migrations, run from the program: no command line, no configuration file."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from persistence.engine import create_plain_engine
from persistence.roles import ensure_role, secure
from persistence.unfit import DatabaseUnfit

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


async def require_usable(database_url: str) -> str | None:
    """The revision of the schema; `DatabaseUnfit` when the database does not answer or a newer version made it."""
    try:
        at = await current_revision(database_url)
    except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise DatabaseUnfit(f"The database cannot be used: {_first_line(error)}") from None
    _require_known(at)
    return at


async def require_schema(database_url: str) -> None:
    """`DatabaseUnfit` unless the database answers and its schema is at this code's newest revision."""
    at = await require_usable(database_url)
    if at != head_revision():
        raise DatabaseUnfit(
            f"The schema is at {at or 'nothing'}, not {head_revision()}: run `doorstep migrate`."
        )


def _require_known(at: str | None) -> None:
    """`DatabaseUnfit` when a later version of this code made the schema."""
    scripts = ScriptDirectory.from_config(alembic_config())
    if at is not None and at not in {script.revision for script in scripts.walk_revisions()}:
        raise DatabaseUnfit(
            f"The schema is at {at}, which a newer version made; this one knows up to {head_revision()}. Run the newer"
            " version, or one at least as new."
        )


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


async def migrate(owner_url: str, server_url: str | None = None) -> str:
    """Bring the schema to this code's newest revision as its owner and return it, and give the server's role, the one
    of `server_url`, what it needs. None leaves a server that connects as the owner. `DatabaseUnfit` when it is beyond.

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


async def new_revision(database_url: str, name: str) -> str:
    """Write the migration that makes of the schema of this empty database, which is migrated first, what the models
    say; returns its file. Triggers and what becomes of rows have to be added by hand."""
    await migrate(database_url)
    config, number = alembic_config(), int(head_revision()) + 1
    engine = create_plain_engine(database_url)

    def write(connection: Connection) -> str:
        config.attributes["connection"] = connection
        script = command.revision(config, message=name, autogenerate=True, rev_id=f"{number:04}")
        return str(getattr(script, "path", ""))

    try:
        async with engine.connect() as connection:
            return await connection.run_sync(write)
    finally:
        await engine.dispose()


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
    _require_known(MigrationContext.configure(connection).get_current_revision())
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
