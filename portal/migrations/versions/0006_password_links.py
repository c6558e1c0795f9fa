"""One-time links that set a local password."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "password_links",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("created_at", UTCDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_password_links")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_password_links_person_id_people")),
    )
    op.create_index(op.f("ix_password_links_person_id"), "password_links", ["person_id"])


def downgrade() -> None:
    op.drop_table("password_links")
