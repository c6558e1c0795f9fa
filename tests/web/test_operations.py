"""What monitoring reads, who may read it, and that nobody who asks holds those who serve pages."""

import threading

import pytest
from sqlalchemy import text

from portal.credentials import reachable
from portal.credentials.base import SourceUnavailable
from portal.credentials.reachable import Reachable
from tests import databases
from tests.pages import BASE


class Hanging:
    """A directory that does not answer for a while."""

    def __init__(self):
        self.answers, self.asked = threading.Event(), 0

    def probe(self, _username):
        self.asked, self.asking = self.asked + 1, threading.current_thread()
        assert self.answers.wait(60)
        yield "connected"


@pytest.mark.parametrize(("address", "told"), [("127.0.0.1", True), ("::1", True), ("203.0.113.7", False), ("", False)])
def test_only_configured_networks_read_what_is_wrong(app, address, told):
    answer = app.test_client().get("/readyz", base_url=BASE, environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 200
    assert answer.json["status"] == "degraded"  # no push certificate
    assert ("problems" in answer.json) == told


def test_whoever_asks_while_a_source_hangs_is_not_held(monkeypatch):
    monkeypatch.setattr(reachable, "WAIT_SECONDS", 0.05)
    source = Hanging()
    looked = Reachable(source, ())
    told = []

    def ask():
        with pytest.raises(SourceUnavailable) as refusal:
            looked.check()
        told.append(refusal.value.reason)

    asking = [threading.Thread(target=ask) for _ in range(20)]
    for each in asking:
        each.start()
    for each in asking:
        each.join(30)
    assert (source.asked, told) == (1, ["timeout"] * 20)  # all were told while it still hangs
    source.answers.set()
    source.asking.join(30)
    looked.check()  # it answered meanwhile


def test_what_was_seen_is_kept_for_a_while(monkeypatch):
    source = Hanging()
    source.answers.set()
    looked = Reachable(source, ())
    for _ in range(5):
        looked.check()
    assert source.asked == 1
    monkeypatch.setattr(reachable, "KEPT_SECONDS", 0)
    looked.check()
    assert source.asked == 2


def test_tables_of_another_version_are_not_ready(app, portal):
    with portal.database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    answer = app.test_client().get("/readyz", base_url=BASE)
    assert (answer.status_code, answer.json["problems"]["database"]) == (503, "not_migrated")


def test_while_a_later_version_is_brought_in_this_one_serves_on(app, portal):
    with portal.database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert app.test_client().get("/readyz", base_url=BASE).status_code == 200


@pytest.mark.each_database
def test_a_server_that_takes_nothing_is_not_ready(app, portal):
    """As after a failover to a replica; a file is never one."""
    if databases.SERVER:
        with portal.database.transaction() as session:
            name = session.execute(text("SELECT current_database()")).scalar_one()
            session.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        portal.database.engine.dispose()
    answer = app.test_client().get("/readyz", base_url=BASE)
    expected = (503, "read_only") if databases.SERVER else (200, None)
    assert (answer.status_code, answer.json["problems"].get("database")) == expected
