"""Identities for work that the portal's own authority issued to devices by a policy."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TIME = UTCDateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "work_certificates",
        sa.Column("serial", sa.String(48), nullable=False),
        sa.Column("challenge_hash", sa.String(64), nullable=False),
        sa.Column("csr_sha256", sa.String(64), nullable=False),
        sa.Column("device_id", sa.String(16), nullable=False),
        sa.Column("part", sa.String(36), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_work_certificates")),
        sa.UniqueConstraint("challenge_hash", name=op.f("uq_work_certificates_challenge_hash")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_work_certificates_device_id_devices")),
    )
    op.create_index(op.f("ix_work_certificates_device_id"), "work_certificates", ["device_id"])


def downgrade() -> None:
    op.drop_table("work_certificates")
