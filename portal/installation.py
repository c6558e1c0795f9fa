"""Making a portal ready to serve, and keeping its keys: what ``flask setup`` and ``flask keys rotate`` do."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import LargeBinary, select, text, update
from sqlalchemy.orm import Session

from portal import audit, clock, texts, vault
from portal.audit import Editor
from portal.backends import TOPIC
from portal.database import Database, lock_name
from portal.events import Actor, Event
from portal.models import Base, PortalState
from portal.pki import authority
from portal.services import KEYS_ROTATED, Portal
from portal.settings import Settings
from portal.storage import terms

if TYPE_CHECKING:
    from alembic.config import Config

FIRST_TERMS = "1.0"
RESEALED_AT_ONCE = 100
MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
"""The revision that the code of this version needs."""
VERSION_TABLE = "alembic_version"
"""Where Alembic keeps which one the tables have."""


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the tables to ``revision`` (Alembic); forward only."""
    from alembic import command  # only setup needs it, and it is large

    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), revision)


def revision(session: Session) -> str:
    """The revision that the tables have, such as ``0027``."""
    return str(session.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def alembic_config(connection: object) -> "Config":
    """Alembic's configuration, on a connection of ours."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def setup(portal: Portal) -> None:
    """Everything a new portal needs: keys, tables, CA, push topic, first terms. Safe to repeat.

    At every start it also renews the profile signer in time.
    """
    settings = portal.settings
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds keys and personal data
    if not vault.read_keys(settings.secret_keys, settings.data):
        vault.write_keys(settings.data, [vault.new_key()])
    migrate(portal.database)
    portal.forget()
    with portal.database.transaction() as session:
        lock_name(session, "setup")
        audit.make_key(session, portal.vault, settings.data)
    with portal.database.transaction() as session:
        lock_name(session, "setup")
        now = clock.now()
        try:
            held = authority.load(session, portal.vault)
            if authority.renew_signer(session, portal.vault, held, settings.company.name, now):
                Editor(session, portal.vault, Actor.COMMAND, now).record(Event.SIGNER_RENEWED)
        except authority.AuthorityMissing:
            authority.create(session, portal.vault, settings.company.name, now)
        if session.get(PortalState, TOPIC) is None:
            session.add(PortalState(name=TOPIC, value=f"com.apple.mgmt.External.{uuid.uuid4()}"))
        try:
            terms.current_version(session)
        except terms.TermsMissing:
            terms.publish(Editor(session, portal.vault, Actor.SETUP, now), FIRST_TERMS, _first_terms(settings))


def rotate_keys(portal: Portal, drop_old: bool = False) -> int:
    """Make a new key and seal every stored secret with it; returns how many.

    The new key is written before anything is sealed with it, and the old ones stay readable until the end. With
    ``drop_old`` they are then gone: nothing that was made with them is believed any more. While a process runs that
    still seals with them, that would lose what it seals, so nothing else may run. Keys that come from the configuration
    are made and dropped there.
    """
    settings = portal.settings
    configured = bool(settings.secret_keys)
    if configured:
        keys = list(settings.secret_keys)
    else:
        keys = [vault.new_key(), *vault.read_keys((), settings.data)]
        vault.write_keys(settings.data, keys)
    portal.forget()
    now = clock.now()
    count = _reseal(portal.database, portal.vault)
    with portal.database.transaction() as session:
        session.merge(PortalState(name=KEYS_ROTATED, value=now.isoformat()))
        editor = Editor(session, portal.vault, Actor.COMMAND, now)
        editor.record(Event.KEYS_ROTATED, "dropped_old" if drop_old else None, count=count)
    if drop_old and not configured:
        vault.write_keys(settings.data, keys[:1])
        portal.forget()
    return count if not configured or len(keys) > 1 else 0


def _reseal(database: Database, keys: vault.Vault) -> int:
    """In portions, each row locked: whoever serves meanwhile does not wait long, and loses nothing that they write."""
    count = 0
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if not isinstance(column.type, LargeBinary) or not column.name.endswith("sealed"):
                continue
            key = list(table.primary_key.columns)
            with database.session() as reading:
                rows = reading.execute(select(*key).where(column.is_not(None)).order_by(*key)).all()
            for first in range(0, len(rows), RESEALED_AT_ONCE):
                with database.transaction() as session:
                    for row in rows[first : first + RESEALED_AT_ONCE]:
                        its_row = [part == value for part, value in zip(key, row, strict=True)]
                        sealed = session.scalar(select(column).where(*its_row).with_for_update())
                        if sealed is not None:  # else it is gone meanwhile
                            session.execute(update(table).where(*its_row).values({column: keys.reseal(sealed)}))
                            count += 1
    return count


def _first_terms(settings: Settings) -> dict[str, str]:
    return {
        path.stem: texts.render(f"terms/{path.name}", path.stem, company=settings.company)
        for path in sorted((texts.TEMPLATES / "terms").glob("*.txt"))
    }
