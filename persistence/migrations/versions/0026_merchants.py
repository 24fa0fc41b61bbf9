"""Merchants are records of their own, with a review, documents and people who work for them.

Until now an account of role merchant was the merchant. Each becomes an approved merchant of the same id, and its owner:
what names a merchant elsewhere goes on naming it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_STATUSES = "status IN ('APPLIED', 'INCOMPLETE', 'APPROVED', 'REJECTED', 'SUSPENDED')"
_REASONS = (
    "reason IN ('DOCUMENTS_MISSING', 'DOCUMENTS_EXPIRED', 'PERMIT_NOT_VALID', 'BUSINESS_NOT_VERIFIED',"
    " 'OUTSIDE_MARKETS', 'GOODS_NOT_ALLOWED', 'COMPLAINTS', 'SUSPECTED_FRAUD', 'AT_OWN_REQUEST', 'OTHER')"
)
_KINDS = (
    "kind IN ('SALES_TAX_PERMIT', 'TOBACCO_PERMIT', 'E_CIGARETTE_PERMIT', 'ALCOHOL_LICENSE', 'HEMP_REGISTRATION',"
    " 'BUSINESS_REGISTRATION', 'LIABILITY_INSURANCE')"
)

# Those who go at the same moment wait for each other at the merchant's row, and each sees who has gone before.
_KEEPS_AN_OWNER = """
CREATE FUNCTION merchant_staff_keeps_an_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM merchants WHERE merchant_id = OLD.merchant_id FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM merchant_staff WHERE merchant_id = OLD.merchant_id AND job = 'OWNER') THEN
        RAISE EXCEPTION 'a merchant keeps an owner'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'merchant_staff_last_owner', TABLE = 'merchant_staff';
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE TRIGGER merchant_staff_last_owner AFTER UPDATE OR DELETE ON merchant_staff FOR EACH ROW
    WHEN (OLD.job = 'OWNER') EXECUTE FUNCTION merchant_staff_keeps_an_owner()
"""

_MERCHANTS = """
INSERT INTO merchants (merchant_id, name, legal_name, address, status, created_ms, reviewed_ms, version)
SELECT user_id, name, name, 'not known', 'APPROVED', created_ms, created_ms, 1 FROM users
WHERE role = 'merchant' OR user_id IN (SELECT merchant_id FROM stores)
"""
_OWNERS = """
INSERT INTO merchant_staff (user_id, merchant_id, job, created_ms, version)
SELECT user_id, user_id, 'OWNER', created_ms, 1 FROM users WHERE role = 'merchant'
"""


def upgrade() -> None:
    op.create_table(
        "merchants",
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("legal_name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("reviewed_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(reason IS NOT NULL) = (status IN ('INCOMPLETE', 'REJECTED', 'SUSPENDED'))",
            name=op.f("ck_merchants_reasoned"),
        ),
        sa.CheckConstraint(_REASONS, name=op.f("ck_merchants_reason")),
        sa.CheckConstraint(
            "status = 'APPLIED' OR reviewed_ms IS NOT NULL", name=op.f("ck_merchants_reviewed")
        ),
        sa.CheckConstraint(_STATUSES, name=op.f("ck_merchants_status")),
        sa.CheckConstraint("version > 0", name=op.f("ck_merchants_version")),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_merchants")),
    )
    op.create_index("ix_merchants_created", "merchants", ["created_ms", "merchant_id"])
    op.create_index("ix_merchants_status", "merchants", ["status", "created_ms", "merchant_id"])
    op.create_table(
        "merchant_documents",
        sa.Column("document_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("ck_merchant_documents_kind")),
        sa.CheckConstraint("expires_ms > created_ms", name=op.f("ck_merchant_documents_expires")),
        sa.CheckConstraint("length(number) BETWEEN 1 AND 64", name=op.f("ck_merchant_documents_number")),
        sa.CheckConstraint("version > 0", name=op.f("ck_merchant_documents_version")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.merchant_id"], name=op.f("fk_merchant_documents_merchant_id")
        ),
        sa.PrimaryKeyConstraint("document_id", name=op.f("pk_merchant_documents")),
    )
    op.create_index(
        "ix_merchant_documents_merchant", "merchant_documents", ["merchant_id", "created_ms", "document_id"]
    )
    op.create_table(
        "merchant_staff",
        sa.Column("user_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("merchant_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("job IN ('OWNER', 'MANAGER', 'CLERK')", name=op.f("ck_merchant_staff_job")),
        sa.CheckConstraint("version > 0", name=op.f("ck_merchant_staff_version")),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchants.merchant_id"], name=op.f("fk_merchant_staff_merchant_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name=op.f("fk_merchant_staff_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_merchant_staff")),
    )
    op.create_index("ix_merchant_staff_merchant", "merchant_staff", ["merchant_id", "created_ms", "user_id"])
    for statement in (_MERCHANTS, _OWNERS, _KEEPS_AN_OWNER, _TRIGGER):
        op.execute(statement)
    op.drop_constraint(op.f("fk_stores_merchant_id"), "stores", type_="foreignkey")
    op.create_foreign_key(
        op.f("fk_stores_merchant_id"), "stores", "merchants", ["merchant_id"], ["merchant_id"]
    )


def downgrade() -> None:
    # A merchant that no account of its id stands for has no place in the schema of before.
    op.execute(
        "DELETE FROM products WHERE store_id IN (SELECT store_id FROM stores s LEFT JOIN users u"
        " ON u.user_id = s.merchant_id WHERE u.user_id IS NULL)"
    )
    op.execute("DELETE FROM stores WHERE merchant_id NOT IN (SELECT user_id FROM users)")
    op.drop_constraint(op.f("fk_stores_merchant_id"), "stores", type_="foreignkey")
    op.create_foreign_key(op.f("fk_stores_merchant_id"), "stores", "users", ["merchant_id"], ["user_id"])
    op.drop_table("merchant_staff")
    op.execute("DROP FUNCTION merchant_staff_keeps_an_owner()")
    op.drop_table("merchant_documents")
    op.drop_table("merchants")
