"""Outages: a clear page, nothing lost, and everything goes on afterwards."""

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from portal import jobs
from tests import databases
from tests.pages import Browser


def test_a_full_disk_refuses_writes_in_words_and_keeps_reading(app, browser, company, portal):
    """SQLite is limited to its present size; PostgreSQL is made read-only, as it is when it cannot write."""
    invitation = company.invite(company.person())
    browser.walk_to("privacy", invitation)
    engine = portal.database.engine
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()

        def fill(connection, _record):
            connection.execute(f"PRAGMA max_page_count={pages}")
    else:

        def fill(connection, _record):
            connection.execute("SET default_transaction_read_only = on")
            connection.commit()

    engine.dispose()
    event.listen(engine, "connect", fill)
    try:
        statuses = []
        while 503 not in statuses and len(statuses) < 200:  # SQLite fills what is left of its last pages first
            stranger = Browser(app).open_link(invitation).submit(username=f"nobody{len(statuses)}", password="wrong")
            statuses.append(stranger.status)
        assert stranger.status == 503
        assert stranger.heading == "We cannot go on right now"
        assert browser.get("/enroll/privacy").heading == "What IT can and cannot see"
    finally:
        event.remove(engine, "connect", fill)
        engine.dispose()
    browser.get("/enroll/privacy").submit(acknowledge="yes")
    assert browser.path == "/enroll/passcode"


def test_a_failing_statement_is_logged_without_the_values_in_it(portal):
    with pytest.raises(DBAPIError) as error, portal.database.transaction() as session:
        session.execute(text("INSERT INTO people (id) VALUES (:id)"), {"id": "somebody-secret"})
    assert "somebody-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("who", "path"),
    [("employee", "/enroll/privacy"), ("staff", "/helpdesk"), ("staff", "/admin/people"), ("staff", "/staff/passkeys")],
)
def test_a_database_that_is_away_is_told_in_words_to_whoever_is_signed_in(
    app, browser, company, portal, clock, who, path
):
    company.person("ada", "admin")
    if who == "employee":
        browser.walk_to("privacy", company.invite(company.person()))
    else:
        browser.staff_sign_in("ada", clock())

    def away(*_what):
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    event.listen(portal.database.engine, "before_cursor_execute", away)
    try:
        browser.get(path)
        assert (browser.status, browser.heading) == (503, "We cannot go on right now")
    finally:
        event.remove(portal.database.engine, "before_cursor_execute", away)
    assert browser.get(path).status == 200


def test_a_restarted_database_is_found_again_without_a_restart(app, browser, company, portal):
    invitation = company.invite(company.person())
    browser.walk_to("privacy", invitation)
    if databases.SERVER:
        name = portal.database.engine.url.database
        databases.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'").result()
    else:
        portal.database.engine.dispose()
    browser.submit(acknowledge="yes")
    assert browser.path == "/enroll/passcode"


def test_a_worker_queue_out_of_reach_fails_no_page(app, browser, company, monkeypatch):
    monkeypatch.setattr(jobs, "_nudging", lambda _settings: 1 / 0)
    company.person()
    browser.get("/enroll").sign_in()
    assert browser.path == "/enroll/ownership"
