"""Whose mail it is that concerns no request."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("person_id", sa.String(16), nullable=True))
    op.create_index("ix_outbox_person_id", "outbox", ["person_id"])


def downgrade() -> None:
    op.drop_index("ix_outbox_person_id", "outbox")
    op.drop_column("outbox", "person_id")
