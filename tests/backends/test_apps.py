"""Work apps reach phones with every backend that the portal gives them to, and go with their licenses."""

import time
from datetime import timedelta

import pytest

from portal import clock
from portal.apps import deciding
from portal.apps.behaviour import Behaviour
from portal.simulator import apps_and_books
from portal.storage import app_intake, apps, licensing
from portal.storage.apps import Origin
from portal.storage.audiences import Line
from tests.backends import houses
from tests.tools import needs_nanomdm

pytestmark = pytest.mark.each_database
PATIENCE_SECONDS = 60
EVERYBODY = (Line("in", "everybody"),)


@pytest.fixture
def apple():
    with apps_and_books.serving() as location:
        yield location


@pytest.fixture(params=["embedded", pytest.param("nanomdm", marks=needs_nanomdm)])
def house(request, make_app, tmp_path, apple, monkeypatch):
    monkeypatch.setattr(licensing, "GIVEN_BACK_AFTER", timedelta(0))
    monkeypatch.setattr(deciding, "LOOK_SOON", timedelta(seconds=1))
    settings = {"enabled": True, **apple.settings()}
    with houses.HOUSES[request.param](make_app, tmp_path, apps=settings) as made:
        token = apple.token()
        app_intake.take_token(made.portal.database, made.portal, token, "admin:test")
        yield made


def add(house, asset):
    """An app for everybody; its id."""
    app_id = app_intake.add(house.portal.database, house.portal, Origin(adam_id=asset.adam_id), "admin:test")
    change(house, app_id, lambda session, app: apps.set_audience(session, app, EVERYBODY, "admin:test", clock.now()))
    return app_id


def change(house, app_id, act):
    with house.portal.database.transaction() as session:
        act(session, apps.locked(session, app_id))


def phone_with_store(house, apple, invitation, number=0):
    phone = house.enrolled(invitation, number)
    phone.apps.store = lambda adam_id: apple.assets[adam_id].bundle_id
    phone.apps.licensed = lambda adam_id: phone.work_account in apple.holders(apple.assets[adam_id])
    return phone


def until(house, holds, *phones):
    """Worker and phones go on until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        house.worker.give_apps()
        house.work()
        for phone in phones:
            house.connect(phone)
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.2)


def states(house, invitation):
    with house.portal.database.session() as session:
        return {app.name: each.state for app, each in apps.on_device(session, house.device(invitation).id)}


def test_given_configured_and_taken_away(house, apple):
    asset = apple.add("Mail", 5)
    app_id = add(house, asset)
    invitation = house.invite()
    phone = phone_with_store(house, apple, invitation)
    until(house, lambda: states(house, invitation) == {"Mail": "Managed"}, phone)
    assert apple.holders(asset) == {phone.work_account}
    wanted = Behaviour(configuration={"user": "{email}"})
    vault = house.portal.vault
    change(house, app_id, lambda db, app: apps.set_behaviour(db, vault, app, wanted, "admin:test", clock.now()))
    until(house, lambda: phone.apps.configurations[asset.bundle_id] == {"user": "erika@example.com"}, phone)
    change(house, app_id, lambda session, app: apps.set_audience(session, app, (), "admin:test", clock.now()))
    until(house, lambda: not phone.apps.states, phone)
    until(house, lambda: not apple.given, phone)
    assert (states(house, invitation), apple.twice) == ({}, [])


def test_who_leaves_gives_the_license_back(house, apple):
    asset = apple.add("Mail", 1)
    add(house, asset)
    invitation = house.invite()
    phone = phone_with_store(house, apple, invitation)
    until(house, lambda: states(house, invitation) == {"Mail": "Managed"}, phone)
    phone.remove()
    until(house, lambda: house.company.status(invitation) == "removed")
    until(house, lambda: not apple.given)
    assert apple.twice == []


def test_what_its_owner_has_already_stays_theirs(house, apple):
    asset = apple.add("Mail")
    add(house, asset)
    invitation = house.invite()
    phone = phone_with_store(house, apple, invitation)
    phone.apps.personal.add(asset.bundle_id)
    until(house, lambda: states(house, invitation) == {"Mail": "UserInstalledApp"}, phone)
    until(house, lambda: not apple.given, phone)
    assert phone.apps.states == {}
