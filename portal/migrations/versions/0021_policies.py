"""Policies, their versions, who gets them, groups of people, and what became of each on each device."""

import sqlalchemy as sa
from alembic import op

from portal.models.base import UTCDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TIME = UTCDateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("pilot_version", sa.Integer(), nullable=True),
        sa.Column("draft_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("draft_at", TIME, nullable=True),
        sa.Column("draft_by", sa.String(40), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("archived_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
    )
    op.create_table(
        "policy_versions",
        sa.Column("policy_id", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("outline", sa.JSON(), nullable=False),
        sa.Column("restored_from", sa.Integer(), nullable=True),
        sa.Column("published_at", TIME, nullable=False),
        sa.Column("published_by", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("policy_id", "number", name=op.f("pk_policy_versions")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_policy_versions_policy_id_policies")),
    )
    op.create_table(
        "policy_audience",
        sa.Column("policy_id", sa.String(16), nullable=False),
        sa.Column("side", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("policy_id", "side", "kind", "value", name=op.f("pk_policy_audience")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_policy_audience_policy_id_policies")),
    )
    op.create_index("ix_policy_audience_kind_value", "policy_audience", ["kind", "value"])
    op.create_table(
        "memberships",
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "source", "name", name=op.f("pk_memberships")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_memberships_person_id_people")),
    )
    op.create_index("ix_memberships_name", "memberships", ["name", "person_id"])
    op.create_table(
        "device_policies",
        sa.Column("device_id", sa.String(16), nullable=False),
        sa.Column("policy_id", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String(120), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("device_id", "policy_id", name=op.f("pk_device_policies")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name=op.f("fk_device_policies_device_id_devices")),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_device_policies_policy_id_policies")),
    )
    op.create_index("ix_device_policies_policy_id", "device_policies", ["policy_id", "state"])
    op.add_column("declarative_states", sa.Column("due_at", TIME, nullable=True))
    op.add_column("declarative_states", sa.Column("fetched", sa.String(64), nullable=True))
    op.add_column("declarative_states", sa.Column("profiles", sa.JSON(), nullable=False, server_default="{}"))
    where = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_declarative_states_due", "declarative_states", ["due_at"], sqlite_where=where, postgresql_where=where
    )
    op.add_column("commands", sa.Column("profile", sa.String(64), nullable=True))


def downgrade() -> None:
    # Such a command has nothing in it: without what fills it in it may never be sent.
    op.execute("UPDATE commands SET status = 'dropped', handed_at = created_at WHERE profile IS NOT NULL"
               " AND status IN ('queued', 'sent', 'not_now')")  # fmt: skip
    op.drop_column("commands", "profile")
    op.drop_index("ix_declarative_states_due", "declarative_states")
    op.drop_column("declarative_states", "profiles")
    op.drop_column("declarative_states", "fetched")
    op.drop_column("declarative_states", "due_at")
    for name in ("device_policies", "memberships", "policy_audience", "policy_versions", "policies"):
        op.drop_table(name)
