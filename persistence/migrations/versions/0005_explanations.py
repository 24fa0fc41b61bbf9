"""Why each offer was made as it was, and the offer log in the order of time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "offer_explanations",
        sa.Column("offer_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("region_id", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("explanation", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["offer_id"], ["offers.offer_id"], name=op.f("fk_offer_explanations_offer_id")
        ),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_offer_explanations")),
    )
    op.create_index("ix_offer_explanations_made", "offer_explanations", ["made_ms"], unique=False)
    op.create_index("ix_offers_made", "offers", ["made_ms", "offer_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_offers_made", table_name="offers")
    op.drop_table("offer_explanations")
