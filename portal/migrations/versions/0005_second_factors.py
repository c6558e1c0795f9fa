"""Second factors in a table of their own, for staff of every source; with recovery codes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "second_factors",
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("totp_secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("totp_last_step", sa.Integer(), nullable=False),
        sa.Column("recovery_hashes", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_second_factors")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_second_factors_person_id_people")),
    )
    op.execute(
        "INSERT INTO second_factors (person_id, totp_secret_sealed, totp_last_step, recovery_hashes) "
        "SELECT person_id, totp_secret_sealed, totp_last_step, '[]' FROM local_accounts "
        "WHERE totp_secret_sealed IS NOT NULL"
    )
    op.drop_column("local_accounts", "totp_last_step")
    op.drop_column("local_accounts", "totp_secret_sealed")


def downgrade() -> None:
    op.add_column("local_accounts", sa.Column("totp_secret_sealed", sa.LargeBinary(), nullable=True))
    op.add_column("local_accounts", sa.Column("totp_last_step", sa.Integer(), nullable=False, server_default="0"))
    secret = "(SELECT totp_secret_sealed FROM second_factors WHERE second_factors.person_id = local_accounts.person_id)"
    op.execute(f"UPDATE local_accounts SET totp_secret_sealed = {secret}")
    op.drop_table("second_factors")
