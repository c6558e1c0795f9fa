"""Devices that a server enrolled by itself: no certificate of ours, its name for them sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

LIVING = sa.text("ended_at IS NULL AND server_id_hash IS NOT NULL")
HANDED_OVER = sa.text("server IS NOT NULL AND superseded_at IS NULL")


def upgrade() -> None:
    op.add_column("profiles", sa.Column("server", sa.String(16), nullable=True))
    op.create_index(
        "ix_profiles_handed_over",
        "profiles",
        ["issued_at"],
        sqlite_where=HANDED_OVER,
        postgresql_where=HANDED_OVER,
    )
    op.add_column("commands", sa.Column("receipt", sa.String(64), nullable=True))
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("server", sa.String(16), nullable=True))
        devices.add_column(sa.Column("server_id_sealed", sa.LargeBinary(), nullable=True))
        devices.add_column(sa.Column("server_id_hash", sa.String(64), nullable=True))
        devices.alter_column("certificate_fingerprint", existing_type=sa.String(64), nullable=True)
    op.create_index(
        "ix_devices_server_id", "devices", ["server_id_hash"], unique=True, sqlite_where=LIVING, postgresql_where=LIVING
    )


def downgrade() -> None:
    elsewhere = "SELECT id FROM devices WHERE certificate_fingerprint IS NULL"
    op.execute(sa.text(f"DELETE FROM commands WHERE device_id IN ({elsewhere})"))
    op.execute(
        sa.text(
            "UPDATE enrollment_requests SET ended_at = CURRENT_TIMESTAMP, end_reason = 'removed' WHERE ended_at IS NULL "
            "AND id IN (SELECT request_id FROM devices WHERE certificate_fingerprint IS NULL)"
        )
    )
    op.execute(sa.text("DELETE FROM devices WHERE certificate_fingerprint IS NULL"))
    op.drop_index("ix_devices_server_id", "devices")
    with op.batch_alter_table("devices") as devices:
        devices.alter_column("certificate_fingerprint", existing_type=sa.String(64), nullable=False)
        devices.drop_column("server_id_hash")
        devices.drop_column("server_id_sealed")
        devices.drop_column("server")
    op.drop_column("commands", "receipt")
    op.drop_index("ix_profiles_handed_over", "profiles")
    op.drop_column("profiles", "server")
