"""Passkeys: a challenge for each session that asks for one, so that nobody's takes another's away."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TABLE = "passkey_challenges"


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("challenge", sa.String(128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    ]


def upgrade() -> None:
    op.drop_table(TABLE)  # what lasts five minutes
    op.create_table(
        TABLE,
        sa.Column("session_id", sa.String(16), nullable=False),
        *_columns(),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_passkey_challenges")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_passkey_challenges_person_id_people")),
    )
    op.create_index(op.f("ix_passkey_challenges_person_id"), TABLE, ["person_id"])


def downgrade() -> None:
    op.drop_table(TABLE)
    op.create_table(
        TABLE,
        *_columns(),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_passkey_challenges")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_passkey_challenges_person_id_people")),
    )
