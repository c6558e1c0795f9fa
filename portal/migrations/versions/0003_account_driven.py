"""Account-driven enrollment: access tokens, the way of a profile, visits of a managed device, discovery checks."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _time(name: str, *, required: bool = False) -> sa.Column[sa.DateTime]:
    return sa.Column(name, UTCDateTime(timezone=True), nullable=not required)


def upgrade() -> None:
    op.add_column("profiles", sa.Column("way", sa.String(16), nullable=False, server_default="profile"))
    op.add_column("visits", sa.Column("profile_id", sa.String(16), nullable=True))
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("profile_id", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(16), nullable=False),
        _time("granted_at", required=True),
        _time("expires_at", required=True),
        _time("confirmed_at"),
        _time("revoked_at"),
        sa.Column("revoked_reason", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_access_tokens")),
        sa.ForeignKeyConstraint(["profile_id"], ["profiles.id"], name=op.f("fk_access_tokens_profile_id_profiles")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["enrollment_requests.id"], name=op.f("fk_access_tokens_request_id_enrollment_requests")
        ),
    )
    op.create_index(op.f("ix_access_tokens_profile_id"), "access_tokens", ["profile_id"])
    op.create_index(op.f("ix_access_tokens_request_id"), "access_tokens", ["request_id"])
    op.create_table(
        "discovery_checks",
        sa.Column("domain", sa.String(253), nullable=False),
        _time("checked_at", required=True),
        sa.Column("problem", sa.String(48), nullable=True),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("domain", name=op.f("pk_discovery_checks")),
    )


def downgrade() -> None:
    op.drop_table("discovery_checks")
    op.drop_table("access_tokens")
    op.drop_column("visits", "profile_id")
    op.drop_column("profiles", "way")
