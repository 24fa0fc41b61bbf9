"""Accounts whose access can be taken away, and one form of each address."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("users", sa.Column("token_version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("users", sa.Column("disabled_ms", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    for user_id, email in connection.execute(sa.text("SELECT user_id, email FROM users")).all():
        one_form = unicodedata.normalize("NFC", email.strip().lower())
        if one_form != email:  # where another account has this form, that one keeps it
            connection.execute(
                sa.text(
                    "UPDATE users SET email = :email WHERE user_id = :user_id"
                    " AND NOT EXISTS (SELECT FROM users WHERE lower(email) = :email AND user_id <> :user_id)"
                ),
                {"email": one_form, "user_id": user_id},
            )


def downgrade() -> None:
    op.drop_column("users", "disabled_ms")
    op.drop_column("users", "token_version")
