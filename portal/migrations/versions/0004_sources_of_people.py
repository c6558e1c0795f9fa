"""People come from a directory or an identity provider, too."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("people", sa.Column("source", sa.String(32), nullable=False, server_default="local"))
    op.add_column("people", sa.Column("subject", sa.String(255), nullable=True))
    op.add_column("people", sa.Column("phone", sa.String(40), nullable=True))
    op.add_column("people", sa.Column("synced_at", UTCDateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_people_source_subject"), "people", ["source", "subject"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_people_source_subject"), "people")
    for column in ("synced_at", "phone", "subject", "source"):
        op.drop_column("people", column)
