"""What devices report by declarative management."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "declarative_states",
        sa.Column("device_id", sa.String(16), nullable=False),
        sa.Column("announced", sa.String(64), nullable=True),
        sa.Column("announced_at", UTCDateTime(timezone=True), nullable=True),
        sa.Column("known", sa.JSON(), nullable=False),
        sa.Column("reported_at", UTCDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_declarative_states")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_declarative_states_device_id_devices")),
    )


def downgrade() -> None:
    op.drop_table("declarative_states")
