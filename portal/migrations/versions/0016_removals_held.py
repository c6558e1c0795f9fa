"""Removals that the brake holds."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

HELD = sa.text("ended_at IS NULL AND leaving_held_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("devices", sa.Column("leaving_held_at", UTCDateTime(timezone=True), nullable=True))
    op.create_index("ix_devices_held", "devices", ["id"], sqlite_where=HELD, postgresql_where=HELD)
    op.create_index("ix_audit_events_kind_at", "audit_events", ["kind", "at"])


def downgrade() -> None:
    op.drop_index("ix_audit_events_kind_at", "audit_events")
    op.drop_index("ix_devices_held", "devices")
    op.drop_column("devices", "leaving_held_at")
