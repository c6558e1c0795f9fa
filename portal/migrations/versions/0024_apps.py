"""Work apps: catalogue, audience, licenses of Apps and Books, and what became of each app on each device."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TIME = UTCDateTime(timezone=True)


def _foreign(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"))


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("adam_id", sa.String(20), nullable=True),
        sa.Column("manifest_url", sa.String(500), nullable=True),
        sa.Column("bundle_id", sa.String(155), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("minimum_ios", sa.String(16), nullable=False),
        sa.Column("icon", sa.LargeBinary(), nullable=True),
        sa.Column("behaviour_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("archived_at", TIME, nullable=True),
        sa.Column("icon_at", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_apps")),
    )
    living = sa.text("archived_at IS NULL")
    op.create_index("ix_apps_bundle_id", "apps", ["bundle_id"], unique=True, sqlite_where=living, postgresql_where=living)
    op.create_table(
        "app_audience",
        sa.Column("app_id", sa.String(16), nullable=False),
        sa.Column("side", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        _foreign("app_audience", "app_id", "apps"),
        sa.PrimaryKeyConstraint("app_id", "side", "kind", "value", name=op.f("pk_app_audience")),
    )
    op.create_index("ix_app_audience_kind_value", "app_audience", ["kind", "value"])
    op.create_table(
        "app_choices",
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("app_id", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        _foreign("app_choices", "person_id", "people"),
        _foreign("app_choices", "app_id", "apps"),
        sa.PrimaryKeyConstraint("person_id", "app_id", name=op.f("pk_app_choices")),
    )
    op.create_index(op.f("ix_app_choices_app_id"), "app_choices", ["app_id"])
    op.create_table(
        "app_licenses",
        sa.Column("adam_id", sa.String(20), nullable=False),
        sa.Column("pricing", sa.String(8), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("available", sa.Integer(), nullable=False),
        sa.Column("assigned", sa.Integer(), nullable=False),
        sa.Column("usable", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(200), nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("adam_id", "pricing", name=op.f("pk_app_licenses")),
    )
    op.create_table(
        "license_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=True),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_requests")),
    )
    op.create_index("ix_license_requests_next_at", "license_requests", ["next_at"])
    op.create_table(
        "license_users",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("account", sa.String(255), nullable=True),
        sa.Column("client_id_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(48), nullable=True),
        sa.Column("asked_in", sa.Integer(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        _foreign("license_users", "person_id", "people"),
        _foreign("license_users", "asked_in", "license_requests"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_license_users")),
        sa.UniqueConstraint("account", name=op.f("uq_license_users_account")),
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_license_users_due", "license_users", ["due_at"], sqlite_where=due, postgresql_where=due)
    op.create_index("ix_license_users_state", "license_users", ["state", "next_at"])
    op.create_index(op.f("ix_license_users_person_id"), "license_users", ["person_id"])
    op.create_index(op.f("ix_license_users_asked_in"), "license_users", ["asked_in"])
    op.create_table(
        "license_seats",
        sa.Column("user_id", sa.String(16), nullable=False),
        sa.Column("adam_id", sa.String(20), nullable=False),
        sa.Column("pricing", sa.String(8), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(48), nullable=True),
        sa.Column("asked_in", sa.Integer(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("at", TIME, nullable=False),
        _foreign("license_seats", "user_id", "license_users"),
        _foreign("license_seats", "asked_in", "license_requests"),
        sa.PrimaryKeyConstraint("user_id", "adam_id", name=op.f("pk_license_seats")),
    )
    op.create_index("ix_license_seats_state", "license_seats", ["state", "next_at"])
    op.create_index(op.f("ix_license_seats_asked_in"), "license_seats", ["asked_in"])
    op.create_table(
        "device_apps",
        sa.Column("device_id", sa.String(16), nullable=False),
        sa.Column("app_id", sa.String(16), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("reason", sa.String(120), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("told", sa.String(120), nullable=False),
        sa.Column("declared", sa.String(64), nullable=True),
        sa.Column("license_user_id", sa.String(16), nullable=True),
        _foreign("device_apps", "device_id", "devices"),
        _foreign("device_apps", "app_id", "apps"),
        _foreign("device_apps", "license_user_id", "license_users"),
        sa.PrimaryKeyConstraint("device_id", "app_id", name=op.f("pk_device_apps")),
    )
    op.create_index("ix_device_apps_app_id", "device_apps", ["app_id", "state"])
    op.create_index(op.f("ix_device_apps_license_user_id"), "device_apps", ["license_user_id"])
    next_ = sa.text("next_at IS NOT NULL")
    op.create_index("ix_device_apps_next_at", "device_apps", ["next_at"], sqlite_where=next_, postgresql_where=next_)
    op.add_column("commands", sa.Column("app_id", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("commands", "app_id")
    for table in ("device_apps", "license_seats", "license_users", "license_requests", "app_licenses", "app_choices"):
        op.drop_table(table)
    op.drop_table("app_audience")
    op.drop_table("apps")
