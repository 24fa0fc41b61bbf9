"""Customers have a profile, which those of before get with the name of their account, and addresses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("customer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("language IN ('en', 'es')", name=op.f("ck_customers_language")),
        sa.CheckConstraint("phone ~ '^\\+[1-9][0-9]{6,14}$'", name=op.f("ck_customers_phone")),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 200", name=op.f("ck_customers_name")),
        sa.CheckConstraint("version > 0", name=op.f("ck_customers_version")),
        sa.ForeignKeyConstraint(["customer_id"], ["users.user_id"], name=op.f("fk_customers_customer_id")),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customers")),
    )
    op.create_table(
        "addresses",
        sa.Column("address_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("customer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("zip", sa.Text(), nullable=False),
        sa.Column("lat", sa.Float(precision=53), nullable=False),
        sa.Column("lng", sa.Float(precision=53), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("preferred_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "state ~ '^[A-Z]{2}$' AND zip ~ '^[0-9]{5}(-[0-9]{4})?$'", name=op.f("ck_addresses_zip")
        ),
        sa.CheckConstraint(
            "lat BETWEEN -90 AND 90 AND lng BETWEEN -180 AND 180", name=op.f("ck_addresses_on_earth")
        ),
        sa.CheckConstraint("length(instructions) <= 500", name=op.f("ck_addresses_instructions")),
        sa.CheckConstraint("length(line) BETWEEN 1 AND 120", name=op.f("ck_addresses_line")),
        sa.CheckConstraint(
            "length(unit) <= 32 AND length(city) BETWEEN 1 AND 100", name=op.f("ck_addresses_city")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_addresses_version")),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.customer_id"], name=op.f("fk_addresses_customer_id")
        ),
        sa.PrimaryKeyConstraint("address_id", name=op.f("pk_addresses")),
    )
    op.create_index(
        "ix_addresses_customer", "addresses", ["customer_id", "created_ms", "address_id"], unique=False
    )
    op.execute(
        "INSERT INTO customers (customer_id, name, created_ms, language, version)"
        " SELECT user_id, coalesce(nullif(left(btrim(name), 200), ''), '-'), created_ms, 'en', 1"
        " FROM users WHERE role = 'customer'"
    )


def downgrade() -> None:
    op.drop_index("ix_addresses_customer", table_name="addresses")
    op.drop_table("addresses")
    op.drop_table("customers")
