"""Every try at a check leaves a trace, free text has a place of its own, and sums have a bound.

* `age_attempts`: tries at age checks by person, on record before the vendor is asked.
* `doorstep_checks.unclear`: why a check at the door came to nothing; both kinds of inconclusive check are steps now.
* `order_notes`: what people type beside a reason's code, so that it can be erased.
* Bounds of what is new; what an older server wrote stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_EVENTS_BEFORE = (
    "ORDER_CREATED AGE_CHECK_PASSED AGE_CHECK_FAILED PAYMENT_AUTHORIZED PAYMENT_DECLINED "
    "MERCHANT_ACCEPTED MERCHANT_REJECTED GOODS_READY TASK_ASSIGNED TASK_RELEASED ARRIVED_AT_STORE "
    "PICKED_UP ARRIVED_AT_DOOR ID_CHECK_PASSED ID_CHECK_FAILED REFUSED RETURN_INITIATED "
    "ARRIVED_FOR_RETURN RETURN_CONFIRMED DELIVERED CANCELLED ORDER_CLOSED"
)
_EVENTS = _EVENTS_BEFORE.replace("AGE_CHECK_FAILED", "AGE_CHECK_FAILED AGE_CHECK_INCONCLUSIVE").replace(
    " ID_CHECK_FAILED", " ID_CHECK_FAILED ID_CHECK_INCONCLUSIVE"
)
_STEPS = (
    ("DRAFT", "AGE_CHECK_INCONCLUSIVE", "customer", "DRAFT"),
    ("AT_DOOR", "ID_CHECK_INCONCLUSIVE", "driver", "AT_DOOR"),
)
_LIMITS = (
    ("order_items", "quantity", "quantity BETWEEN 1 AND 100"),
    ("products", "price", "price_cents BETWEEN 0 AND 1000000"),
)
_LIMITS_BEFORE = (
    ("order_items", "quantity", "quantity BETWEEN 1 AND 1000"),
    ("products", "price", "price_cents >= 0"),
)

# An order's row is written anew at each step, so a check of its total would stop those that an older server took.
_TOTAL = (
    """
    CREATE FUNCTION orders_total() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM doorstep_refuse('orders_total', 'an order comes to 1000000 cents at most');
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER orders_total BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.total_cents > 1000000)"
    " EXECUTE FUNCTION orders_total()",
)
# A try gets one outcome; one that the vendor did not answer may be asked again.
_ATTEMPTS = (
    """
    CREATE FUNCTION age_attempts_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM doorstep_refuse('age_attempts_frozen', 'a try at an age check has one outcome and stays');
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER age_attempts_frozen BEFORE UPDATE ON age_attempts FOR EACH ROW
        WHEN (OLD.outcome NOT IN ('ASKED', 'UNAVAILABLE')
              OR (OLD.attempt_id, OLD.customer_id, OLD.order_id, OLD.min_age, OLD.at_ms)
                 IS DISTINCT FROM (NEW.attempt_id, NEW.customer_id, NEW.order_id, NEW.min_age, NEW.at_ms))
        EXECUTE FUNCTION age_attempts_frozen()
    """,
    "CREATE TRIGGER age_attempts_kept BEFORE DELETE OR TRUNCATE ON age_attempts"
    " FOR EACH STATEMENT EXECUTE FUNCTION age_attempts_frozen()",
    "ALTER TABLE age_attempts ENABLE ALWAYS TRIGGER age_attempts_frozen",
    "ALTER TABLE age_attempts ENABLE ALWAYS TRIGGER age_attempts_kept",
)


def upgrade() -> None:
    _events(_EVENTS)
    for before, event, role, after in _STEPS:
        op.execute(
            "INSERT INTO order_steps (from_status, event, role, to_status)"
            f" VALUES ('{before}', '{event}', '{role}', '{after}') ON CONFLICT DO NOTHING"
        )
        op.execute(
            f"INSERT INTO order_edges (from_status, to_status) VALUES ('{before}', '{after}')"
            " ON CONFLICT DO NOTHING"
        )
    op.add_column("doorstep_checks", sa.Column("unclear", sa.Text()))
    unclear = "unclear IS NULL OR (NOT passed AND unclear IN ('REVIEW', 'UNAVAILABLE'))"
    op.create_check_constraint(op.f("ck_doorstep_checks_unclear"), "doorstep_checks", unclear)
    op.create_table(
        "age_attempts",
        sa.Column("attempt_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("customer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("min_age", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("vendor_ref", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('ASKED', 'PASS', 'FAIL', 'REVIEW', 'UNAVAILABLE')",
            name=op.f("ck_age_attempts_outcome"),
        ),
        sa.CheckConstraint("octet_length(vendor_ref) <= 128", name=op.f("ck_age_attempts_vendor_ref")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_age_attempts_order_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_age_attempts")),
    )
    op.create_index("ix_age_attempts_customer", "age_attempts", ["customer_id", "at_ms"])
    op.create_index("ix_age_attempts_order_id", "age_attempts", ["order_id"])
    op.create_table(
        "order_notes",
        sa.Column("note_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("author_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("author_role", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.CheckConstraint("length(text) BETWEEN 1 AND 2000", name=op.f("ck_order_notes_text")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_order_notes_order_id")),
        sa.PrimaryKeyConstraint("note_id", name=op.f("pk_order_notes")),
    )
    by = ["order_id", "author_id", "about"]
    op.create_index("uq_order_notes_step", "order_notes", by, unique=True)
    for statement in (*_TOTAL, *_ATTEMPTS):
        op.execute(statement)
    _limits(_LIMITS)


def downgrade() -> None:
    _limits(_LIMITS_BEFORE)
    op.execute("DROP TRIGGER orders_total ON orders")
    op.execute("DROP FUNCTION orders_total()")
    op.drop_table("order_notes")
    op.drop_table("age_attempts")
    op.execute("DROP FUNCTION age_attempts_frozen()")
    op.drop_constraint(op.f("ck_doorstep_checks_unclear"), "doorstep_checks")
    op.drop_column("doorstep_checks", "unclear")
    op.execute("DELETE FROM order_edges WHERE (from_status, to_status) = ('AT_DOOR', 'AT_DOOR')")
    op.execute("DELETE FROM order_steps WHERE event LIKE '%\\_INCONCLUSIVE'")
    _events(_EVENTS_BEFORE)


def _events(events: str) -> None:
    listed = ", ".join(f"'{event}'" for event in events.split())
    op.drop_constraint(op.f("ck_dossier_events_type"), "dossier_events")
    op.create_check_constraint(op.f("ck_dossier_events_type"), "dossier_events", f"type IN ({listed})")


def _limits(limits: tuple[tuple[str, str, str], ...]) -> None:
    """For what is written from now on, as neither table's rows are ever changed; and for what is there, if it keeps to
    them."""
    for table, name, condition in limits:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({condition}) NOT VALID")
        op.execute(
            f"DO $$ BEGIN ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{name};"
            " EXCEPTION WHEN check_violation THEN NULL; END $$"
        )
