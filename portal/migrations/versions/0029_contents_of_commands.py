"""Commands: a profile that waits in one is sealed, and gone once it is answered."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("commands", sa.Column("content_sealed", sa.LargeBinary(), nullable=True))
    # What profiles were sent stood there in clear, and is not looked at again.
    op.execute(
        "UPDATE commands SET payload = '' WHERE request_type = 'InstallProfile' "
        "AND status NOT IN ('queued', 'sent', 'not_now')"
    )


def downgrade() -> None:
    op.drop_column("commands", "content_sealed")
