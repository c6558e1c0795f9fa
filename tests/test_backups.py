"""What a backup promises: everything comes back, on either database, and one that is not whole changes nothing."""

import stat

import pytest
from alembic import command
from cryptography.fernet import Fernet
from sqlalchemy import select

from portal import audit, backups, create_app, installation
from portal.models import Base, PortalState, SettingsVersion, WebSession
from portal.vault import Vault
from tests import databases
from tests.conftest import START
from tests.factories import Company, phone
from tests.pages import Browser


@pytest.fixture
def elsewhere(template, tmp_path):
    """Makes portals that were never set up, by default on a database of the kind under test."""
    made = []

    def make(url=None, **overrides):
        folder = tmp_path / f"elsewhere-{len(made)}"
        name = databases.create() if databases.SERVER and url is None else ""
        app = create_app(template.settings(folder, databases.named(name) if name else url or "", **overrides))
        made.append((app, name))
        return app

    yield make
    for app, name in made:
        app.extensions["portal"].database.engine.dispose()
        if name:
            databases.drop(name)


@pytest.fixture
def lived_in(app, browser, company, portal):
    """A portal where something happened; returns who was invited, and the phone that enrolled."""
    invitation = company.invite(company.person())
    iphone = phone(app)
    iphone.install(browser.walk_to("profile", invitation).download())
    waiting = company.invite(company.person("otto", name="Otto Ω \N{SNOWMAN}"))
    settings_saved(portal, {"a": [None, "Ω"]})
    return waiting, iphone


def settings_saved(portal, changes):
    with portal.database.transaction() as session:
        version = SettingsVersion(at=START, actor="admin:1", page="backend", changes=changes, before_sealed=b"\0\xff")
        session.add(version)


def rows_of(portal):
    with portal.database.session() as session:
        return {
            table.name: session.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in Base.metadata.sorted_tables
            if table.name not in backups.LEFT_OUT
        }


def restored(app, file):
    portal = app.extensions["portal"]
    return portal, backups.restore(portal, file)


def test_everything_comes_back_but_who_was_signed_in(lived_in, portal, elsewhere, tmp_path):
    settings_saved(portal, None)  # JSON's own null, which is not nothing
    before = rows_of(portal)
    made = backups.create(portal, tmp_path / "b")
    again, told = restored(elsewhere(), tmp_path / "b")
    after = rows_of(again)
    news = [row for row in after["audit_events"] if row not in before["audit_events"]]
    assert [(row.kind, row.actor) for row in news] == [("backup.restored", "command")]
    for name in ("audit_events", "audit_heads"):  # which the restore itself goes on writing
        before.pop(name), after.pop(name)
    assert after == before
    assert made == told
    assert (made.rows > 30, made.made_at) == (True, START)
    with again.database.session() as session, portal.database.session() as old:
        one = select(WebSession.id).limit(1)
        assert (bool(old.scalar(one)), session.scalar(one)) == (True, None)
    assert audit.broken_links(again.database) == []


def test_what_is_restored_goes_on(lived_in, portal, elsewhere, tmp_path):
    waiting, _ = lived_in
    backups.create(portal, tmp_path / "b")
    app = elsewhere()
    again, _ = restored(app, tmp_path / "b")
    installation.setup(again)  # as every start does
    company = Company(again)
    Browser(app).walk_to("profile", waiting)
    invited_since = company.invite(company.person("new"))  # the next numbers come after those that came back
    phone(app).install(Browser(app).walk_to("profile", invited_since).download())
    assert company.status(invited_since) == "enrolled"
    assert audit.broken_links(again.database) == []


def test_it_goes_from_one_kind_of_database_into_the_other(lived_in, portal, elsewhere, tmp_path):
    backups.create(portal, tmp_path / "b")
    lite, _ = restored(elsewhere(f"sqlite:///{tmp_path}/moved.sqlite3"), tmp_path / "b")
    assert {name: rows for name, rows in rows_of(lite).items() if not name.startswith("audit")} == {
        name: rows for name, rows in rows_of(portal).items() if not name.startswith("audit")
    }
    backups.create(lite, tmp_path / "back")
    again, _ = restored(elsewhere(), tmp_path / "back")
    assert rows_of(again)["devices"] == rows_of(portal)["devices"]
    assert audit.broken_links(again.database) == []


def test_it_is_of_one_moment_however_long_it_takes(lived_in, company, portal, monkeypatch, elsewhere, tmp_path):
    monkeypatch.setattr(backups, "ROWS_A_SHEET", 3)
    write = backups._write

    def write_slowly(out, vault, told, contents):
        def meanwhile():
            for number, sheet in enumerate(contents):
                yield sheet
                if number < 3:
                    company.invite(company.person(f"later{number}"))

        return write(out, vault, told, meanwhile())

    monkeypatch.setattr(backups, "_write", write_slowly)
    before = rows_of(portal)
    backups.create(portal, tmp_path / "b")
    assert rows_of(portal) != before
    again, _ = restored(elsewhere(), tmp_path / "b")
    assert rows_of(again)["people"] == before["people"]
    assert rows_of(again)["enrollment_requests"] == before["enrollment_requests"]
    assert audit.broken_links(again.database) == []


def test_one_of_an_earlier_version_is_brought_to_this_one(lived_in, portal, elsewhere, tmp_path):
    before = rows_of(portal)["devices"]
    with portal.database.engine.connect() as connection:
        command.downgrade(installation.alembic_config(connection), "0025")
    backups.create(portal, tmp_path / "b")
    installation.migrate(portal.database)
    again, told = restored(elsewhere(), tmp_path / "b")
    assert told.revision == "0025"
    assert rows_of(again)["devices"] == before == rows_of(portal)["devices"]


def test_nobody_else_reads_it(lived_in, portal, tmp_path):
    backups.create(portal, tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    text = (tmp_path / "b").read_bytes()
    assert b"erika" not in text
    assert [each.name for each in tmp_path.glob("b*")] == ["b"]


def test_the_one_before_stays_until_the_new_one_is_whole(portal, monkeypatch, tmp_path):
    backups.create(portal, tmp_path / "b")
    before = (tmp_path / "b").read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(backups, "_write", full)
    with pytest.raises(OSError, match="No space"):
        backups.create(portal, tmp_path / "b")
    assert [(each.name, each.read_bytes()) for each in tmp_path.glob("b*")] == [("b", before)]


def lines_of(file):
    return file.read_bytes().splitlines(keepends=True)


SPOILED = {
    "its end is missing": lambda ours, _: ours[:-1],
    "Line 3 belongs elsewhere": lambda ours, _: [*ours[:2], *ours[3:]],
    "Line 4 belongs elsewhere": lambda ours, _: [*ours[:3], *ours[2:]],
    "Line 2 belongs elsewhere": lambda ours, other: [ours[0], *other[1:]],
    "Line 3 is damaged": lambda ours, _: [*ours[:2], ours[2][:40] + b"AAAA" + ours[2][44:], *ours[3:]],
    "Line 5 is damaged": lambda ours, _: [*ours[:4], ours[4][: len(ours[4]) // 2]],
    "None of the secret keys here opens it": lambda ours, _: [b"PK\x03\x04" + b"\xff" * 200],
    "is cut off": lambda *_: [],
}


def test_one_that_is_not_whole_changes_nothing(lived_in, portal, elsewhere, tmp_path):
    for name in ("b", "other"):
        backups.create(portal, tmp_path / name)
    app, ours, other = elsewhere(), lines_of(tmp_path / "b"), lines_of(tmp_path / "other")
    for why, spoil in SPOILED.items():
        (tmp_path / "spoiled").write_bytes(b"".join(spoil(ours, other)))
        with pytest.raises(backups.BackupRefused, match=why):
            restored(app, tmp_path / "spoiled")
    again, _ = restored(app, tmp_path / "b")  # the database is still empty
    assert rows_of(again)["devices"] == rows_of(portal)["devices"]


def test_a_database_in_use_is_left_alone(lived_in, portal, tmp_path):
    backups.create(portal, tmp_path / "b")
    before = rows_of(portal)
    with pytest.raises(backups.BackupRefused, match="not empty"):
        backups.restore(portal, tmp_path / "b")
    assert rows_of(portal) == before


def test_other_keys_do_not_open_it(portal, elsewhere, tmp_path):
    backups.create(portal, tmp_path / "b")
    with pytest.raises(backups.BackupRefused, match="None of the secret keys"):
        restored(elsewhere(secret_keys=(Fernet.generate_key().decode(),)), tmp_path / "b")
    with pytest.raises(backups.BackupRefused, match="have to be in place first"):
        restored(elsewhere(secret_keys=()), tmp_path / "b")


def test_a_later_version_is_not_guessed_at(portal, elsewhere, tmp_path, monkeypatch):
    backups.create(portal, tmp_path / "b")
    monkeypatch.setattr(installation, "NEWEST", "0001")
    with pytest.raises(backups.BackupRefused, match="later version"):
        restored(elsewhere(), tmp_path / "b")


def test_a_change_of_keys_does_not_lock_out_of_older_backups(template, portal, elsewhere, tmp_path):
    backups.create(portal, tmp_path / "b")
    newer = Fernet.generate_key().decode()
    again, _ = restored(elsewhere(secret_keys=(newer, *template.keys)), tmp_path / "b")
    with again.database.session() as session:
        sealed = session.scalars(select(PortalState.sealed).where(PortalState.sealed.is_not(None))).first()
    assert Vault(template.keys).open(sealed)


def test_the_commands_say_what_became_of_it(lived_in, app, elsewhere, tmp_path):
    file, other = str(tmp_path / "b"), elsewhere()

    def run(of, *arguments, code):
        result = of.test_cli_runner().invoke(args=["backup", *arguments])
        assert result.exit_code == code
        return result.output

    assert run(app, "create", file, code=0).endswith("keep them, elsewhere.\n")
    missing = run(app, "create", str(tmp_path / "missing" / "b"), code=1)
    assert missing == f"{tmp_path}/missing/b cannot be written: No such file or directory.\n"
    assert "as they were at 2026-03-02 09:00 UTC" in run(other, "restore", file, code=0)
    assert run(other, "restore", file, code=1).startswith("The database is not empty")
