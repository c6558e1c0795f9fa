"""Work apps reach phones with every backend that the portal gives them to, and go with their licenses."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from portal import clock as portal_clock
from portal.apps import deciding, listening
from portal.apps.behaviour import Behaviour
from portal.apps.origin import Origin
from portal.people.audiences import Line
from portal.simulator import apps_and_books
from portal.storage import app_intake, apps
from portal.storage.licenses import needs
from tests.backends import fleets
from tests.factories import editing
from tests.tools import needs_nanomdm

PATIENCE_SECONDS = 60
"""Of the portal's clock, which goes ahead of the true one: nobody waits."""
EVERYBODY = (Line("in", "everybody"),)


@pytest.fixture
def apple():
    with apps_and_books.serving() as location:
        yield location


@pytest.fixture(params=["embedded", pytest.param("nanomdm", marks=needs_nanomdm)])
def fleet(request, make_app, tmp_path, apple, monkeypatch):
    monkeypatch.setattr(needs, "GIVEN_BACK_AFTER", timedelta(0))
    monkeypatch.setattr(deciding, "LOOK_SOON", timedelta(seconds=1))
    monkeypatch.setattr(listening, "NO_SOONER", timedelta(seconds=1))
    settings = {"enabled": True, **apple.settings()}
    with fleets.FLEETS[request.param](make_app, tmp_path, apps=settings) as made:
        token = apple.token()
        app_intake.take_token(made.portal.database, made.portal, token, "admin:test")
        yield made
        portal_clock.use(None)


def add(fleet, asset):
    """An app for everybody; its id."""
    app_id = app_intake.add(fleet.portal.database, fleet.portal, Origin(adam_id=asset.adam_id), "admin:test")
    change(fleet, app_id, lambda by, app: apps.set_audience(by, app, EVERYBODY))
    return app_id


def change(fleet, app_id, act):
    with fleet.portal.database.transaction() as session:
        act(editing(fleet.portal, session), apps.locked(session, app_id))


def phone_with_store(fleet, apple, invitation, number=0):
    phone = fleet.enrolled(invitation, number)
    phone.apps.store = lambda adam_id: apple.assets[adam_id].bundle_id
    phone.apps.licensed = lambda adam_id: phone.work_account in apple.holders(apple.assets[adam_id])
    return phone


def until(fleet, holds, *phones):
    """Worker and phones go on until it holds."""
    ahead = portal_clock.now() - datetime.now(UTC)
    for seconds in count():  # the clock goes a second ahead each time
        portal_clock.use(lambda: datetime.now(UTC) + ahead + timedelta(seconds=seconds))  # noqa: B023
        if holds():
            return
        fleet.worker.give_apps()
        fleet.work()
        for phone in phones:
            fleet.connect(phone)
        assert seconds < PATIENCE_SECONDS, "it did not come to that in time"


def states(fleet, invitation):
    with fleet.portal.database.session() as session:
        return {app.name: each.state for app, each in apps.on_device(session, fleet.device(invitation).id)}


def test_given_configured_and_taken_away(fleet, apple):
    asset = apple.add("Mail", 5)
    app_id = add(fleet, asset)
    invitation = fleet.invite()
    phone = phone_with_store(fleet, apple, invitation)
    until(fleet, lambda: states(fleet, invitation) == {"Mail": "Managed"}, phone)
    assert apple.holders(asset) == {phone.work_account}
    wanted = Behaviour(configuration={"user": "{email}"})
    change(fleet, app_id, lambda by, app: apps.set_behaviour(by, app, wanted))
    until(fleet, lambda: phone.apps.configurations[asset.bundle_id] == {"user": "erika@example.com"}, phone)
    change(fleet, app_id, lambda by, app: apps.set_audience(by, app, ()))
    until(fleet, lambda: not phone.apps.states, phone)
    until(fleet, lambda: not apple.given, phone)
    assert (states(fleet, invitation), apple.twice) == ({}, [])


def test_who_leaves_gives_the_license_back(fleet, apple):
    asset = apple.add("Mail", 1)
    add(fleet, asset)
    invitation = fleet.invite()
    phone = phone_with_store(fleet, apple, invitation)
    until(fleet, lambda: states(fleet, invitation) == {"Mail": "Managed"}, phone)
    phone.remove()
    until(fleet, lambda: fleet.company.status(invitation) == "removed")
    until(fleet, lambda: not apple.given)
    assert apple.twice == []


@pytest.mark.each_database
def test_what_its_owner_has_already_stays_theirs(fleet, apple):
    asset = apple.add("Mail")
    add(fleet, asset)
    invitation = fleet.invite()
    phone = phone_with_store(fleet, apple, invitation)
    phone.apps.personal.add(asset.bundle_id)
    until(fleet, lambda: states(fleet, invitation) == {"Mail": "UserInstalledApp"}, phone)
    until(fleet, lambda: not apple.given, phone)
    assert phone.apps.states == {}
