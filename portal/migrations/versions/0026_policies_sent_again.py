"""Policies on devices: how often one that failed was sent again by itself, counted for each of its versions."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device_policies", sa.Column("sent_again", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("device_policies", "sent_again")
