"""Settings that were saved: long secrets stood half in clear in the history and in the trail's details, and go."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

SECRET_NAMES = ("password", "secret", "token", "identity", "api_key", "access_key")
MASK = "••••••"
VERSIONS = sa.table("settings_versions", sa.column("id", sa.Integer), sa.column("changes", sa.JSON))
EVENTS = sa.table(
    "audit_events", sa.column("id", sa.Integer), sa.column("kind", sa.String), sa.column("detail", sa.JSON)
)


def upgrade() -> None:
    connection = op.get_bind()
    for number, changes in connection.execute(sa.select(VERSIONS.c.id, VERSIONS.c.changes)).all():
        hidden = {name: [masked(name, each) for each in values] for name, values in changes.items()}
        if hidden != changes:
            connection.execute(sa.update(VERSIONS).where(VERSIONS.c.id == number).values(changes=hidden))
    saved = sa.select(EVENTS.c.id, EVENTS.c.detail).where(EVENTS.c.kind.like("settings.%"), EVENTS.c.detail.is_not(None))
    for number, detail in connection.execute(saved).all():
        if detail and masked("", detail) != detail:  # the trail keeps a digest of it, and only lets it be forgotten
            connection.execute(sa.update(EVENTS).where(EVENTS.c.id == number).values(detail=sa.null()))


def downgrade() -> None:
    pass


def masked(name: str, value: Any) -> Any:
    """``value`` with what was cut off of a secret, and shown, as dots."""
    if isinstance(value, list):
        return [masked(name, each) for each in value]
    if isinstance(value, dict):
        return {key: masked(key, each) for key, each in value.items()}
    is_secret = name.rpartition(".")[2].endswith(SECRET_NAMES)
    return MASK if is_secret and isinstance(value, str) and value.endswith("…") else value
