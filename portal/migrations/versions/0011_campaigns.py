"""Inviting many people at once."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(48), nullable=False),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("starts_at", UTCDateTime(timezone=True), nullable=True),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("remind_after_days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
    )
    op.create_table(
        "campaign_entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.String(16), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("request_id", sa.String(16), nullable=True),
        sa.Column("invited_at", UTCDateTime(timezone=True), nullable=True),
        sa.Column("reminded_at", UTCDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_entries")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_campaign_entries_campaign_id_campaigns")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["enrollment_requests.id"], name=op.f("fk_campaign_entries_request_id_enrollment_requests")
        ),
    )
    op.create_index("ix_campaign_entries_state", "campaign_entries", ["campaign_id", "state", "line"])
    op.create_index(op.f("ix_campaign_entries_request_id"), "campaign_entries", ["request_id"])


def downgrade() -> None:
    op.drop_table("campaign_entries")
    op.drop_table("campaigns")
