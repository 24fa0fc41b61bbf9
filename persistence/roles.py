"""Two roles: the owner, who migrates, and the server's, which has what `persistence.grants` gives it and no more."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from contextlib import suppress
from typing import NamedTuple

import asyncpg
from sqlalchemy import Connection, make_url, text

from persistence.engine import create_plain_engine, driver_connection
from persistence.grants import GRANTS, statements

SCRAM_ITERATIONS = 4096  # as Postgres' own
SALT_BYTES = 16


class Fitness(NamedTuple):
    """How the server's role fits: what it can do that it should not, and what it lacks; None where all is well."""

    too_much: str | None
    too_little: str | None


def secure(connection: Connection, server_url: str | None) -> None:
    """Close what a schema leaves open by itself, and give the server's role its rights; as the owner, after the
    migrations and in their transaction. `server_url` names the role, and its password if it has to be made."""
    for table, trigger in connection.execute(text(_SLEEPING)).all():
        # Also when session_replication_role would switch triggers off.
        connection.execute(text(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"))
    # Else a temporary table of the name of an edge table would be asked in its place.
    for function, schema in connection.execute(text(_OPEN_FUNCTIONS)).all():
        connection.execute(text(f"ALTER FUNCTION {function} SET search_path = {schema}, pg_temp"))
    role = make_url(server_url).username if server_url else None
    owner = connection.execute(text("SELECT current_user")).scalar_one()
    if role is None or role == owner:
        return
    quoted = connection.execute(text("SELECT quote_ident(:role)"), {"role": role}).scalar_one()
    for statement in (
        f"GRANT USAGE ON SCHEMA {connection.execute(text(_SCHEMA)).scalar_one()} TO {quoted}",
        *statements(quoted),
    ):
        connection.execute(text(statement))


async def ensure_role(owner_url: str, server_url: str) -> None:
    """Make the server's role, with the password of its URL, if it is not there and the owner may make roles; without
    that right somebody has to (docs/persistence.md). Where the owner sees that the password is another it is set."""
    url = make_url(server_url)
    engine = create_plain_engine(owner_url)
    try:
        async with driver_connection(engine) as connection:
            owner = await connection.fetchval("SELECT current_user")
            if url.username is None or url.username == owner:
                return
            quoted = await connection.fetchval("SELECT quote_ident($1)", url.username)
            known = await connection.fetchrow(_ROLE, url.username)
            password = None if url.password is None else str(url.password)
            if known is None:
                if not await connection.fetchval(_MAY_MAKE_ROLES):
                    return
                secret = "" if password is None else f" PASSWORD '{verifier(password)}'"
                # Unless somebody was faster.
                with suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                    await connection.execute(f"CREATE ROLE {quoted} LOGIN {_PLAIN}{secret}")
            elif password is not None and known["readable"]:
                stored = await connection.fetchval(_PASSWORD, url.username)
                if not matches(stored, password):
                    await connection.execute(f"ALTER ROLE {quoted} PASSWORD '{verifier(password)}'")
    finally:
        await engine.dispose()


async def fitness(server_url: str) -> Fitness:
    """What the role of this URL can do beyond or short of `GRANTS`, membership in other roles included."""
    engine = create_plain_engine(server_url)
    try:
        async with driver_connection(engine) as connection:
            who = await connection.fetchrow(_WHO)
            assert who is not None
            for able, what in _POWERS:
                if who[able]:
                    return Fitness(f"the role {who['role']} {what}", None)
            tables = list(GRANTS)
            too_much = [
                f"{row['privilege']} on {row['name']}"
                for row in await connection.fetch(_TABLE_RIGHTS, tables)
                if not _is_given(row["name"], row["privilege"])
            ]
            too_little = [
                f"{row['privilege']} on {row['name']}" for row in await connection.fetch(_LACKING, *_wanted())
            ]
            return Fitness(
                f"the role {who['role']} has {too_much[0]}" if too_much else None,
                f"the role {who['role']} lacks {too_little[0]}" if too_little else None,
            )
    finally:
        await engine.dispose()


def _is_given(table: str, privilege: str) -> bool:
    """Whether this right on a whole table is one of `GRANTS`."""
    grant = GRANTS[table]
    return (privilege == "INSERT" and grant.insert) or (privilege == "DELETE" and grant.delete)


def _wanted() -> tuple[list[str], list[str], list[str | None]]:
    """Every right of `GRANTS` in columns: table, privilege, and the column where it is of one."""
    rights: list[tuple[str, str, str | None]] = []
    for table, grant in GRANTS.items():
        rights.append((table, "SELECT", None))
        rights += [(table, "INSERT", None)] * grant.insert + [(table, "DELETE", None)] * grant.delete
        rights += [(table, "UPDATE", column) for column in grant.update]
    names, privileges, columns = zip(*rights, strict=True)
    return list(names), list(privileges), list(columns)


# -- passwords --------------------------------------------------------------------------------------------------------


def verifier(password: str, salt: bytes | None = None, iterations: int = SCRAM_ITERATIONS) -> str:
    """What Postgres keeps of a password (SCRAM-SHA-256), so that the word itself is in no statement and in no log."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    normal = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", normal, salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored_text}:{server_text}"


def matches(stored: str | None, password: str) -> bool:
    """Whether Postgres keeps this password's verifier; False for a form that is not known here."""
    parts = (stored or "").split("$")
    if len(parts) != 3 or parts[0] != "SCRAM-SHA-256":
        return False
    iterations, _, salt = parts[1].partition(":")
    expected = verifier(password, base64.b64decode(salt), int(iterations))
    return hmac.compare_digest(expected, stored or "")


# -- questions --------------------------------------------------------------------------------------------------------

_PLAIN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_SCHEMA = "SELECT quote_ident(current_schema())"
_SLEEPING = """
SELECT t.tgrelid::regclass::text, quote_ident(t.tgname) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'
ORDER BY 1, 2
"""
_OPEN_FUNCTIONS = """
SELECT p.oid::regprocedure::text, quote_ident(current_schema()) FROM pg_proc p
WHERE p.pronamespace = current_schema()::regnamespace AND p.proowner = current_user::regrole
  AND NOT coalesce(p.proconfig::text LIKE '%search_path=%', false)
ORDER BY 1
"""
# Who may read what is kept of passwords is a superuser, as the embedded owner is.
_ROLE = """
SELECT has_table_privilege('pg_authid', 'SELECT') AS readable FROM pg_roles WHERE rolname = $1
"""
_PASSWORD = "SELECT rolpassword FROM pg_authid WHERE rolname = $1"
_MAY_MAKE_ROLES = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"

_WHO = """
SELECT rolname AS role, rolsuper AS super, rolbypassrls AS bypasses, rolcreaterole AS makes_roles,
       rolreplication AS replicates,
       EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace
               AND pg_has_role(current_user, relowner, 'MEMBER')) AS owns,
       has_schema_privilege(current_schema(), 'CREATE') AS creates,
       has_parameter_privilege('session_replication_role', 'SET') AS silences
FROM pg_roles WHERE rolname = current_user
"""
_POWERS = (
    ("super", "is a superuser"),
    ("owns", "owns the tables"),
    ("bypasses", "bypasses row security"),
    ("makes_roles", "may make roles"),
    ("replicates", "may replicate"),
    ("silences", "may set session_replication_role, which switches triggers off"),
    ("creates", "may create tables and functions beside the server's"),
)
_TABLE_RIGHTS = """
SELECT t.name, p.privilege FROM unnest($1::text[]) AS t(name),
    unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS p(privilege)
WHERE to_regclass(t.name) IS NOT NULL AND has_table_privilege(to_regclass(t.name), p.privilege)
ORDER BY 1, 2
"""
_LACKING = """
SELECT w.name, w.privilege || coalesce(' (' || w.col || ')', '') AS privilege
FROM unnest($1::text[], $2::text[], $3::text[]) AS w(name, privilege, col)
WHERE to_regclass(w.name) IS NULL OR NOT CASE WHEN w.col IS NULL
    THEN has_table_privilege(to_regclass(w.name), w.privilege)
    ELSE has_column_privilege(to_regclass(w.name), w.col, w.privilege) END
ORDER BY 1, 2
"""
