"""Commands handed over by the worker, what backends tell, why devices leave, what else IT may read."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

DEVICE = ("apps", "certificates", "apps_at", "certificates_at", "wake_problem", "leaving_reason", "leaving_at")
COMMAND = ("handed_at", "next_attempt_at", "attempts", "last_error")
WAITING = sa.text("handed_at IS NULL")
MANAGED = sa.text("ended_at IS NULL")
LEAVING = sa.text("ended_at IS NULL AND leaving_at IS NOT NULL")
DISABLED = sa.text("disabled_at IS NOT NULL")
UNDONE = sa.text("done_at IS NULL")
KEPT = sa.text("kept_at IS NOT NULL")


def upgrade() -> None:
    when = UTCDateTime(timezone=True)
    for column in (
        sa.Column("apps", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("apps_at", when, nullable=True),
        sa.Column("certificates", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("certificates_at", when, nullable=True),
        sa.Column("wake_problem", sa.String(48), nullable=True),
        sa.Column("leaving_reason", sa.String(32), nullable=True),
        sa.Column("leaving_at", when, nullable=True),
    ):
        op.add_column("devices", column)
    op.create_index("ix_devices_managed", "devices", ["last_seen_at"], sqlite_where=MANAGED, postgresql_where=MANAGED)
    op.create_index("ix_devices_leaving", "devices", ["request_id"], sqlite_where=LEAVING, postgresql_where=LEAVING)
    for column in (
        sa.Column("handed_at", when, nullable=True),
        sa.Column("next_attempt_at", when, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.String(200), nullable=True),
    ):
        op.add_column("commands", column)
    waiting = {"sqlite_where": WAITING, "postgresql_where": WAITING}
    op.create_index("ix_commands_waiting", "commands", ["device_id", "id"], **waiting)
    op.create_index("ix_commands_status", "commands", ["status", "sent_at"])
    op.create_index("ix_people_disabled", "people", ["id"], sqlite_where=DISABLED, postgresql_where=DISABLED)
    op.execute(sa.text("UPDATE commands SET handed_at = created_at"))  # the portal's own queue had them all along
    op.create_table(
        "backend_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("enrollment_id", sa.String(128), nullable=True),
        sa.Column("profile_id", sa.String(64), nullable=True),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", when, nullable=False),
        sa.Column("next_attempt_at", when, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done_at", when, nullable=True),
        sa.Column("kept_at", when, nullable=True),
        sa.Column("outcome", sa.String(48), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backend_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_backend_events_event_id")),
    )
    op.create_index(
        "ix_backend_events_undone", "backend_events", ["next_attempt_at"], sqlite_where=UNDONE, postgresql_where=UNDONE
    )
    op.create_index("ix_backend_events_done_at", "backend_events", ["done_at"])
    op.create_index("ix_backend_events_kept", "backend_events", ["id"], sqlite_where=KEPT, postgresql_where=KEPT)


def downgrade() -> None:
    op.drop_table("backend_events")
    op.drop_index("ix_people_disabled", "people")
    op.drop_index("ix_commands_status", "commands")
    op.drop_index("ix_commands_waiting", "commands")
    op.drop_index("ix_devices_leaving", "devices")
    op.drop_index("ix_devices_managed", "devices")
    for table, names in (("commands", COMMAND), ("devices", DEVICE)):
        for name in names:
            op.drop_column(table, name)
