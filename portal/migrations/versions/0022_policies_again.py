"""How often helpdesk had a device's policies sent anew."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("declarative_states", sa.Column("again", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("declarative_states", "again")
