"""Migrations run forward and back with data in the tables, and the models say what the tables are."""

import json

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

from portal import audit, installation
from portal.events import Event
from portal.models import AuditEvent, Base, SettingsVersion
from tests.conftest import START
from tests.factories import phone


def test_the_tables_are_what_the_models_say(portal):
    with portal.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_every_migration_runs_back_and_forth_with_data(app, browser, company, portal):
    invitation = company.invite(company.person())
    phone(app).install(browser.walk_to("profile", invitation).download())
    script = ScriptDirectory.from_config(installation.alembic_config(None))
    revisions = [revision.revision for revision in script.walk_revisions()][:-1]
    for revision in revisions:  # from the newest down to the first, each twice
        for step in (command.downgrade, command.upgrade, command.downgrade):
            to = revision if step is command.upgrade else script.get_revision(revision).down_revision
            with portal.database.engine.connect() as connection:
                step(installation.alembic_config(connection), to)
    installation.migrate(portal.database)
    assert company.status(invitation) == "enrolled"


def test_the_first_migration_leaves_nothing_behind(portal):
    with portal.database.engine.connect() as connection:
        command.downgrade(installation.alembic_config(connection), "base")
    assert set(inspect(portal.database.engine).get_table_names()) <= {"alembic_version"}
    installation.migrate(portal.database)


@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_foreign_key_is_indexed_or_part_of_a_key(table):
    """Otherwise erasing a person or a request would read whole tables."""
    leading = {next(iter(index.columns)).name for index in table.indexes}
    leading |= {next(iter(table.primary_key.columns)).name}
    leading |= {column.name for column in table.columns if column.unique}
    keys = {next(iter(key.columns)).name for key in table.foreign_keys and table.foreign_key_constraints}
    assert keys - leading <= {"profile_id"}


def test_what_was_shown_of_long_secrets_is_forgotten(portal):
    """Before 0027 the history and the trail had the first 500 characters of a long secret."""
    shown, key = "K" * 500 + "…", "mdm.push_identity"
    with portal.database.transaction() as session:
        changes = {key: ["", shown], "oidc.providers": [[], [{"name": "corp", "client_secret": shown}]]}
        version = SettingsVersion(at=START, actor="admin:1", page="backend", changes=changes, before_sealed=b"")
        session.add(version)
        for detail in ({"changes": changes}, {"changes": {"company.name": ["a", "b" * 500 + "…"]}}):
            audit.record(session, audit.SETTINGS, Event.SETTINGS_CHANGED, START, actor="admin:1", detail=detail)
    with portal.database.engine.connect() as connection:
        command.downgrade(installation.alembic_config(connection), "0026")
    installation.migrate(portal.database)
    assert audit.broken_links(portal.database) == []
    with portal.database.session() as session:
        kept = json.dumps(session.scalars(select(SettingsVersion.changes)).all())
        kept += json.dumps(session.scalars(select(AuditEvent.detail).order_by(AuditEvent.id)).all())
    assert "KKK" not in kept
    assert "client_secret" in kept
    assert "bbb" in kept
