"""Support has a role of its own, and tickets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"


_ROLES = ("customer", "merchant", "driver", "support", "dispatcher", "admin", "system")


def _roles(roles: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{role}'" for role in roles)
    op.drop_constraint(op.f("ck_users_role"), "users")
    op.create_check_constraint(op.f("ck_users_role"), "users", f"role IN ({listed})")


def upgrade() -> None:
    _roles(_ROLES)
    op.create_table(
        "tickets",
        sa.Column("ticket_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("opener_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("opener_role", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("assignee_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "status IN ('OPEN', 'WAITING', 'SOLVED', 'CLOSED')", name=op.f("ck_tickets_status")
        ),
        sa.CheckConstraint(
            "subject IN ('ORDER_LATE', 'ORDER_WRONG', 'GOODS_DAMAGED', 'REFUND',"
            " 'PAYMENT', 'PAYOUT', 'AGE_CHECK', 'ACCOUNT', 'STORE', 'SAFETY', 'OTHER')",
            name=op.f("ck_tickets_subject"),
        ),
        sa.CheckConstraint("messages BETWEEN 1 AND 200", name=op.f("ck_tickets_messages")),
        sa.CheckConstraint("version > 0", name=op.f("ck_tickets_version")),
        sa.ForeignKeyConstraint(["assignee_id"], ["users.user_id"], name=op.f("fk_tickets_assignee_id")),
        sa.ForeignKeyConstraint(["opener_id"], ["users.user_id"], name=op.f("fk_tickets_opener_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name=op.f("fk_tickets_order_id")),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_tickets")),
    )
    op.create_index("ix_tickets_created", "tickets", ["created_ms", "ticket_id"], unique=False)
    op.create_index("ix_tickets_opener", "tickets", ["opener_id", "created_ms", "ticket_id"], unique=False)
    op.create_index("ix_tickets_order", "tickets", ["order_id"], unique=False)
    op.create_index("ix_tickets_status", "tickets", ["status", "created_ms", "ticket_id"], unique=False)
    op.create_table(
        "ticket_messages",
        sa.Column("message_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("ticket_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("author_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("author_role", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.CheckConstraint("length(text) BETWEEN 1 AND 4000", name=op.f("ck_ticket_messages_text")),
        sa.ForeignKeyConstraint(
            ["ticket_id"], ["tickets.ticket_id"], name=op.f("fk_ticket_messages_ticket_id")
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_ticket_messages")),
    )
    op.create_index(
        "ix_ticket_messages_ticket",
        "ticket_messages",
        ["ticket_id", "created_ms", "message_id"],
        unique=False,
    )


def downgrade() -> None:
    _roles(tuple(role for role in _ROLES if role != "support"))
    op.drop_index("ix_ticket_messages_ticket", table_name="ticket_messages")
    op.drop_table("ticket_messages")
    op.drop_index("ix_tickets_status", table_name="tickets")
    op.drop_index("ix_tickets_order", table_name="tickets")
    op.drop_index("ix_tickets_opener", table_name="tickets")
    op.drop_index("ix_tickets_created", table_name="tickets")
    op.drop_table("tickets")
