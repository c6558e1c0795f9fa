"""Settings that admins change on pages, with their history."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "settings_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", UTCDateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(48), nullable=False),
        sa.Column("page", sa.String(32), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("before_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settings_versions")),
    )
    op.create_index(op.f("ix_settings_versions_page"), "settings_versions", ["page"])
    op.create_table(
        "setting_values",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("value_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting_values")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["settings_versions.id"], name=op.f("fk_setting_values_version_id_settings_versions")
        ),
    )
    op.create_index(op.f("ix_setting_values_version_id"), "setting_values", ["version_id"])


def downgrade() -> None:
    op.drop_table("setting_values")
    op.drop_table("settings_versions")
