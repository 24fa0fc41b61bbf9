"""The ledger of money: movements that sum to zero, append-only. Money that moved before is booked as far as orders know
of it: what is held, and what closed orders came to, all of it as goods.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_REASONS = (
    "ORDER_AUTHORIZED ORDER_VOIDED ORDER_CAPTURED DRIVER_EARNED GUARANTEE_EARNED TIP_CAPTURED REFUND_REQUESTED "
    "REFUND_PAID REFUND_FAILED REFUND_RETURNED PAID_OUT"
)
_ACCOUNTS = (
    "HOLDS HELD CLEARING BANK MERCHANT_PAYABLE DRIVER_PAYABLE TIPS_PAYABLE REFUNDS_PAYABLE TAX_LIABILITY "
    "PLATFORM_REVENUE DRIVER_COST LOSSES"
)

# Asked when the transaction commits, of a movement and of each entry: so nothing can be added to an old one either.
_BALANCE = (
    """
    CREATE FUNCTION ledger_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        expected integer;
        found integer;
        total bigint;
    BEGIN
        SELECT lines INTO expected FROM ledger_movements WHERE movement_id = NEW.movement_id;
        SELECT count(*), coalesce(sum(amount_cents), 0) INTO found, total FROM ledger_entries
        WHERE movement_id = NEW.movement_id;
        IF total <> 0 THEN
            PERFORM doorstep_refuse('ledger_balance', 'the entries of a movement sum to zero');
        END IF;
        IF found IS DISTINCT FROM expected THEN
            PERFORM doorstep_refuse('ledger_lines', 'a movement has all of its entries, and gets no others later');
        END IF;
        RETURN NULL;
    END $$
    """,
    "CREATE CONSTRAINT TRIGGER ledger_balance AFTER INSERT ON ledger_movements DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION ledger_balance()",
    "CREATE CONSTRAINT TRIGGER ledger_entries_balance AFTER INSERT ON ledger_entries DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION ledger_balance()",
)
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION evidence_append_only()"
    for table in ("ledger_movements", "ledger_entries")
)

# As `domain.marketplace.money.movement_id` has it.
_ID = "encode(substring(sha256(convert_to({name}, 'UTF8')) FROM 1 FOR 16), 'hex')::uuid"
# An order of before authorizations were numbered: what it has is number 0.
_NUMBERED = """
UPDATE orders SET payments = jsonb_build_array(jsonb_build_object('number', 0, 'token', '', 'status', 'HELD',
    'begun_ms', created_ms, 'vendor_ref', payment_ref))
WHERE payment_ref IS NOT NULL AND payments = '[]'
"""
_HELD = """
SELECT o.order_id, o.status, o.customer_id, o.merchant_id, o.total_cents AS cents, o.updated_ms,
       a ->> 'number' AS number
FROM orders o CROSS JOIN LATERAL jsonb_array_elements(o.payments) a
WHERE o.payment_ref IS NOT NULL AND o.total_cents > 0 AND a ->> 'status' = 'HELD'
"""
# reason, which of the held, its reference, and its entries: account, party, sign
_BOOKED = (
    (
        "ORDER_AUTHORIZED",
        "true",
        "order_id || '/' || number",
        (("HOLDS", "''", "+"), ("HELD", "customer_id::text", "-")),
    ),
    (
        "ORDER_CAPTURED",
        "status = 'CLOSED'",
        "order_id::text",
        (
            ("HOLDS", "''", "-"),
            ("HELD", "customer_id::text", "+"),
            ("CLEARING", "''", "+"),
            ("MERCHANT_PAYABLE", "merchant_id::text", "-"),
        ),
    ),
    (
        "ORDER_VOIDED",
        "status IN ('CANCELLED', 'REJECTED', 'RETURNED') AND NOT EXISTS (SELECT FROM outbox w"
        " WHERE w.channel = 'payments' AND w.aggregate_id = h.order_id AND w.done_at IS NULL)",
        "order_id || '/' || number",
        (("HOLDS", "''", "-"), ("HELD", "customer_id::text", "+")),
    ),
)
# What became of each is on the order's row as well.
_MARKED = """
UPDATE orders o SET payments = (
    SELECT jsonb_agg(CASE WHEN a ->> 'status' = 'HELD'
        THEN a || jsonb_build_object('status', '{status}', 'amount_cents', o.total_cents) ELSE a END ORDER BY n)
    FROM jsonb_array_elements(o.payments) WITH ORDINALITY AS each(a, n))
WHERE EXISTS (SELECT FROM ledger_movements m WHERE m.order_id = o.order_id AND m.reason = '{reason}')
"""


def upgrade() -> None:
    op.create_table(
        "ledger_movements",
        sa.Column("movement_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.CheckConstraint(_listed("reason", _REASONS), name=op.f("ck_ledger_movements_reason")),
        sa.CheckConstraint("lines >= 2", name=op.f("ck_ledger_movements_lines")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_ledger_movements_order_id")),
        sa.PrimaryKeyConstraint("movement_id", name=op.f("pk_ledger_movements")),
    )
    op.create_index("ix_ledger_movements_at", "ledger_movements", ["at_ms"])
    op.create_index("ix_ledger_movements_order_id", "ledger_movements", ["order_id"])
    op.create_index("uq_ledger_movements_reason", "ledger_movements", ["reason", "reference"], unique=True)
    op.create_table(
        "ledger_entries",
        sa.Column("movement_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("party_id", sa.Text(), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(_listed("account", _ACCOUNTS), name=op.f("ck_ledger_entries_account")),
        sa.CheckConstraint("amount_cents <> 0", name=op.f("ck_ledger_entries_amount")),
        sa.ForeignKeyConstraint(
            ["movement_id"], ["ledger_movements.movement_id"], name=op.f("fk_ledger_entries_movement_id")
        ),
        sa.PrimaryKeyConstraint("movement_id", "line", name=op.f("pk_ledger_entries")),
    )
    op.create_index(
        "ix_ledger_entries_party",
        "ledger_entries",
        ["party_id", "account"],
        postgresql_where=sa.text("party_id <> ''"),
    )
    op.execute(_NUMBERED)
    for reason, condition, reference, entries in _BOOKED:
        _book(reason, condition, reference, entries)
    for status, reason in (
        ("HELD", "ORDER_AUTHORIZED"),
        ("TAKEN", "ORDER_CAPTURED"),
        ("VOIDED", "ORDER_VOIDED"),
    ):
        op.execute(_MARKED.format(status=status, reason=reason))
    for statement in (*_BALANCE, *_APPEND_ONLY):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("ledger_entries")
    op.drop_table("ledger_movements")
    op.execute("DROP FUNCTION ledger_balance()")


def _listed(column: str, names: str) -> str:
    return f"{column} IN ({', '.join(repr(name) for name in names.split())})"


def _book(reason: str, condition: str, reference: str, entries: tuple[tuple[str, str, str], ...]) -> None:
    movement = _ID.format(name=f"'{reason}:' || ({reference})")
    held = f"FROM ({_HELD}) h WHERE {condition}"
    op.execute(
        "INSERT INTO ledger_movements (movement_id, reason, reference, order_id, at_ms, lines)"
        f" SELECT {movement}, '{reason}', {reference}, order_id, updated_ms, {len(entries)} {held}"
    )
    for line, (account, party, sign) in enumerate(entries):
        op.execute(
            "INSERT INTO ledger_entries (movement_id, line, account, party_id, amount_cents)"
            f" SELECT {movement}, {line}, '{account}', {party}, {sign}cents {held}"
        )
