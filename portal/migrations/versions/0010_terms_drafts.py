"""Drafts of the license terms."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "terms_drafts",
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.Column("publish_at", UTCDateTime(timezone=True), nullable=True),
        sa.Column("saved_at", UTCDateTime(timezone=True), nullable=False),
        sa.Column("saved_by", sa.String(48), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_terms_drafts")),
    )


def downgrade() -> None:
    op.drop_table("terms_drafts")
