"""The newest link of a request's chain stands on the request's own row, which is locked and written anyway."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

GENESIS = "0" * 64
OF_REQUESTS = "chain LIKE 'request:%'"


def upgrade() -> None:
    op.add_column("enrollment_requests", sa.Column("audit_seq", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "enrollment_requests", sa.Column("audit_digest", sa.String(64), nullable=False, server_default=GENESIS)
    )
    op.execute(
        "UPDATE enrollment_requests SET (audit_seq, audit_digest) = "
        "(SELECT seq, digest FROM audit_heads WHERE chain = 'request:' || enrollment_requests.id) "
        "WHERE EXISTS (SELECT 1 FROM audit_heads WHERE chain = 'request:' || enrollment_requests.id)"
    )
    op.execute(
        f"DELETE FROM audit_heads WHERE {OF_REQUESTS} "
        "AND EXISTS (SELECT 1 FROM enrollment_requests WHERE chain = 'request:' || enrollment_requests.id)"
    )


def downgrade() -> None:
    op.execute(
        "INSERT INTO audit_heads (chain, seq, digest) "
        "SELECT 'request:' || id, audit_seq, audit_digest FROM enrollment_requests WHERE audit_seq > 0"
    )
    op.drop_column("enrollment_requests", "audit_digest")
    op.drop_column("enrollment_requests", "audit_seq")
