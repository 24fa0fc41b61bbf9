"""What the server's role may do, table by table. It owns nothing, so that it can neither drop a table nor switch a
trigger off; and what it is not given here the database refuses it, whatever the code says.

A new table needs one line in `GRANTS` (a test compares it with the models), a new column that changes its name in
`update`; a resource of the marketplace says both in its kind. Nothing else: `migrate` gives it all anew, whenever it
runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from persistence.marketplace.registry import KINDS


class Grant(Struct, frozen=True, kw_only=True):
    """Every table may be read."""

    insert: bool = False
    update: tuple[str, ...] = ()  # columns
    delete: bool = False


READ = Grant()
ADD = Grant(insert=True)

# A row lock (FOR UPDATE, FOR SHARE) needs an UPDATE of some column: where a trigger refuses the change itself, that is
# what the column is given for.
GRANTS: dict[str, Grant] = {
    # The marketplace's records: what their kinds say that may change.
    **{
        kind.table.name: Grant(insert=True, update=kind.rights, delete=kind.erasable)
        for kind in KINDS.values()
    },
    "orders": Grant(
        insert=True,
        update=(
            *("status", "version", "age_attempts", "payment_ref", "ready_ms", "due_ms", "updated_ms"),
            *("dossier_seq", "dossier_hash", "payments", "payment_open_ms"),
        ),
    ),
    "order_items": ADD,
    "tasks": Grant(
        insert=True,
        update=("status", "driver_id", "offer_id", "ready_ms", "due_ms", "ended_ms", "arrived_ms"),
    ),
    # The first three are written with every change, so that a trigger refuses one that differs. Old offers go by way
    # of the function `forget_offers`.
    "offers": Grant(
        insert=True,
        update=(
            *("region_id", "driver_id", "task_ids"),
            *("status", "expires_ms", "seen_ms", "closed_ms", "reason"),
        ),
    ),
    "offer_explanations": Grant(insert=True, update=("made_ms",), delete=True),  # locked by the sweep
    "dossier_events": ADD,
    "doorstep_checks": ADD,
    # The first two are written with every outcome, so that a trigger refuses one that differs.
    "age_attempts": Grant(insert=True, update=("customer_id", "order_id", "outcome", "vendor_ref")),
    "order_notes": Grant(insert=True, delete=True),
    "idempotency": Grant(insert=True, update=("at_ms",), delete=True),  # locked by the sweep
    "outbox": Grant(
        insert=True, update=("done_at", "stage", "attempts", "next_try_at", "reason"), delete=True
    ),
    "audit_entries": ADD,
    "audit_salts": Grant(insert=True, delete=True),
    "ledger_movements": ADD,
    "ledger_entries": ADD,
    "earnings": ADD,
    "regions": Grant(insert=True, update=("epoch",)),
    "region_totals": Grant(insert=True, update=("before_ms", "tasks", "offers")),
    "leases": Grant(insert=True, update=("holder", "until"), delete=True),
    "order_edges": READ,
    "order_steps": READ,
    "task_edges": READ,
    "offer_edges": READ,
    "task_starts": READ,
    "alembic_version": READ,
}

# Functions that do as the owner what the role may not do by itself.
FUNCTIONS = ("forget_offers(bigint, integer)",)


def statements(role: str) -> Iterator[str]:
    """What gives the role all of it and no more; `role` is a quoted name. In the schema that is current."""
    for table, grant in GRANTS.items():
        given = ["SELECT"]
        if grant.insert:
            given.append("INSERT")
        if grant.update:
            given.append(f"UPDATE ({', '.join(grant.update)})")
        if grant.delete:
            given.append("DELETE")
        yield f"REVOKE ALL ON {table} FROM {role}"
        yield f"GRANT {', '.join(given)} ON {table} TO {role}"
    for function in FUNCTIONS:
        yield f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC"
        yield f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
