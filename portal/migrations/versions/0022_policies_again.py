"""How often helpdesk had a device's policies sent anew, and of which version it was told that it failed."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("declarative_states", sa.Column("again", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("device_policies", sa.Column("failed_version", sa.Integer(), nullable=True))
    # Every managed device has such a row, so that a mark on it is never lost.
    op.execute(
        "INSERT INTO declarative_states (device_id, known, profiles, again) SELECT id, '{}', '{}', 0 FROM devices"
        " WHERE enrolled_at IS NOT NULL AND ended_at IS NULL"
        " AND id NOT IN (SELECT device_id FROM declarative_states)"
    )


def downgrade() -> None:
    op.drop_column("device_policies", "failed_version")
    op.drop_column("declarative_states", "again")
