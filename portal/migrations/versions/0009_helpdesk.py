"""Helpdesk's list: words to search by, what it filters by, and what it is told of browsers and colleagues."""

import sqlalchemy as sa
from alembic import op

from portal.models.people import LONGEST_WORD, search_words

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UNFINISHED = "ended_at IS NULL AND enrolled_at IS NULL"
INDEXES = {
    "ix_requests_closed": "ended_at IS NOT NULL",
    "ix_requests_enrolled": "ended_at IS NULL AND enrolled_at IS NOT NULL",
    "ix_requests_unfinished": UNFINISHED,
    "ix_requests_walking": f"{UNFINISHED} AND signed_in_at IS NOT NULL",
}
COLUMNS = {"browser": 64, "language": 16, "unfit_browser": 16, "handed_to": 16, "handed_note": 500}
AT_A_TIME = 1000


def upgrade() -> None:
    word = sa.String(LONGEST_WORD).with_variant(sa.String(LONGEST_WORD, collation="C"), "postgresql")
    op.create_table(
        "search_words",
        sa.Column("word", word, nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("word", "person_id", name=op.f("pk_search_words")),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_search_words_person_id_people"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_search_words_person_id"), "search_words", ["person_id"])
    _fill_search_words()
    for name, length in COLUMNS.items():
        op.add_column("enrollment_requests", sa.Column(name, sa.String(length), nullable=True))
    op.drop_index(op.f("ix_enrollment_requests_created_at"), "enrollment_requests")
    op.create_index("ix_requests_newest", "enrollment_requests", ["created_at", "id"])
    op.create_index("ix_requests_source", "enrollment_requests", ["source", "created_at", "id"])
    for name, where in INDEXES.items():
        columns = ["created_at", "id", "expires_at"]
        condition = sa.text(where)
        op.create_index(name, "enrollment_requests", columns, sqlite_where=condition, postgresql_where=condition)


def _fill_search_words() -> None:
    connection = op.get_bind()
    people = connection.execute(
        sa.text("SELECT id, name, username, email, managed_apple_account FROM people WHERE erased_at IS NULL")
    ).all()
    rows = [{"word": word, "person_id": id} for id, *texts in people for word in sorted(search_words(*texts))]
    for start in range(0, len(rows), AT_A_TIME):
        statement = sa.text("INSERT INTO search_words (word, person_id) VALUES (:word, :person_id)")
        connection.execute(statement, rows[start : start + AT_A_TIME])


def downgrade() -> None:
    for name in (*INDEXES, "ix_requests_source", "ix_requests_newest"):
        op.drop_index(name, "enrollment_requests")
    op.create_index(op.f("ix_enrollment_requests_created_at"), "enrollment_requests", ["created_at"])
    for name in COLUMNS:
        op.drop_column("enrollment_requests", name)
    op.drop_table("search_words")
