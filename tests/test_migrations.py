"""Migrations run forward and back with data in the tables, and the models say what the tables are."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from portal import installation
from portal.models import Base
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
    for revision in revisions:  # from the newest down to the first
        with portal.database.engine.connect() as connection:
            config = installation.alembic_config(connection)
            command.downgrade(config, script.get_revision(revision).down_revision)
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
