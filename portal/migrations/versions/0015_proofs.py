"""How somebody signed in and when they proved it last; the second factor's own lock; tokens that expire."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

VISIT = ("method", "address", "browser", "proved_at", "factor_secret_sealed", "previous_token_hash", "previous_until")


def upgrade() -> None:
    when = UTCDateTime(timezone=True)
    for column in (
        sa.Column("method", sa.String(40), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("browser", sa.String(64), nullable=True),
        sa.Column("proved_at", when, nullable=True),
        sa.Column("factor_secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("previous_token_hash", sa.String(64), nullable=True),
        sa.Column("previous_until", when, nullable=True),
    ):
        op.add_column("visits", column)
    op.create_index("ix_visits_previous_token_hash", "visits", ["previous_token_hash"])
    op.add_column("second_factors", sa.Column("wrong_codes", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("second_factors", sa.Column("locked_at", when, nullable=True))
    op.add_column("api_tokens", sa.Column("expires_at", when, nullable=True))


def downgrade() -> None:
    op.drop_column("api_tokens", "expires_at")
    op.drop_column("second_factors", "locked_at")
    op.drop_column("second_factors", "wrong_codes")
    op.drop_index("ix_visits_previous_token_hash", "visits")
    for name in reversed(VISIT):
        op.drop_column("visits", name)
