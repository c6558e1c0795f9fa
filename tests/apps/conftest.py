"""Work apps by hand: a location of licenses, a catalogue, phones with a store, and what the worker makes of it."""

from dataclasses import replace
from functools import partial

import httpx
import pytest
from sqlalchemy import event, select

from portal import clock
from portal.apps.behaviour import Behaviour
from portal.apps.origin import Origin
from portal.apps_and_books import content_token, store
from portal.apps_and_books.client import Client
from portal.apps_and_books.store import Described
from portal.lifecycle import closing
from portal.models import DeviceApp, LicenseRequest, LicenseSeat, Person
from portal.people.audiences import Line
from portal.simulator.apps_and_books import FakeAppsAndBooks
from portal.storage import app_intake, app_rounds, apple_content, apps, policy_rounds
from portal.storage.cases import Cases, CaseServices
from portal.storage.licenses import exchanging
from tests.factories import editing, phone

EVERYBODY = (Line("in", "everybody"),)
OFFERED = (Line("offered", "everybody"),)
AWAY = "away"


class Apple(httpx.BaseTransport):
    """The way to the fake location; ``away``: nobody answers."""

    def __init__(self, location: FakeAppsAndBooks) -> None:
        self._wsgi, self.away = httpx.WSGITransport(app=location), False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("nobody answers")
        return self._wsgi.handle_request(request)


class Apps:
    """What an admin does with work apps, and what the worker makes of it."""

    def __init__(self, portal, ticks):
        self.portal, self.ticks = portal, ticks
        self.location = FakeAppsAndBooks("http://127.0.0.1:9")
        self.apple = Apple(self.location)
        self.manifests: dict[str, str] = {}
        self._written = 0
        event.listen(portal.database.engine, "before_cursor_execute", self._count)

    # --- the admin ---------------------------------------------------------------------------------------------------

    def client(self, settings, token, own, uid) -> Client:
        return Client(settings.apps.service, token, own, uid, transport=self.apple, sleep=lambda seconds: None)

    def upload(self, days=300) -> bytes:
        """A content token, claimed for this portal."""
        written = self.location.token(days=days, now=clock.now())
        given = content_token.read(written, clock.now())
        with self.portal.database.transaction() as session:
            own = apple_content.own_id(session)
        where = self.client(self.portal.settings, given.text, own, "").claim("Portal")
        address = apple_content.address_of(self.portal.settings.apps.service, self.portal.settings.apps.store)
        with self.portal.database.transaction() as session:
            app_intake.keep_token(editing(self.portal, session), given, address, where)
        return written

    def add(self, name, total=1000, audience=EVERYBODY, *, behaviour=None, **more):
        """An app with licenses, for these people; its id and the licenses."""
        asset = self.location.add(name, total, **more)
        app_id = self._add(Origin(adam_id=asset.adam_id), asset.bundle_id, name, asset.minimum_ios, audience, behaviour)
        return app_id, asset

    def add_own(self, name, manifest_url, audience=EVERYBODY):
        """An in-house app; its id."""
        bundle_id = f"com.example.{name.lower()}"
        self.manifests[manifest_url] = bundle_id
        return self._add(Origin(manifest_url=manifest_url), bundle_id, name, "", audience, None)

    def _add(self, origin, bundle_id, name, minimum_ios, audience, behaviour):
        with self.portal.database.transaction() as session:
            described = Described(bundle_id, name, minimum_ios)
            by = editing(self.portal, session)
            made = apps.add(by, origin, described, None)
            apps.set_audience(by, made, audience)
            if behaviour is not None:
                apps.set_behaviour(by, made, behaviour)
            return made.id

    def audience(self, app_id, *lines):
        """Who gets it."""
        self._change(app_id, lambda by, app: apps.set_audience(by, app, lines))

    def behave(self, app_id, **wanted):
        """How it behaves."""
        self._change(app_id, lambda by, app: apps.set_behaviour(by, app, Behaviour(**wanted)))

    def end(self, app_id):
        """It is taken out."""
        self._change(app_id, apps.archive)

    def _change(self, app_id, act):
        self.ticks.forward(seconds=1)
        with self.portal.database.transaction() as session:
            act(editing(self.portal, session), apps.locked(session, app_id))

    def erase(self, username):
        """Somebody is erased."""
        with self.portal.database.transaction() as session:
            person = session.scalar(select(Person).where(Person.username == username))
            closing.erase(Cases(session, self.portal), person, "admin:test")

    # --- the worker --------------------------------------------------------------------------------------------------

    def work(self, seconds=3):
        """The worker comes by, some seconds later."""
        self.ticks.forward(seconds=seconds)
        database, settings, now = self.portal.database, self.portal.settings, clock.now()
        services = CaseServices(settings, self.portal.vault)
        app_rounds.mark_devices(database, settings, now)
        policy_rounds.tell_devices(database, services, now)
        app_rounds.go_on(database, services, now)
        exchanging.exchange(database, services, now, self.client, partial(store.look_up, transport=self.apple))
        app_rounds.go_on(database, services, now)
        policy_rounds.tell_devices(database, services, now)

    def until_settled(self, *phones):
        """The worker and the phones go on for twelve minutes, or for twice that if it did not come to rest."""
        if not self.go_on(*phones, minutes=12):
            self.go_on(*phones, minutes=12)

    def go_on(self, *phones, minutes):
        """The same for some minutes, in longer strides while nothing happens; whether it came to rest."""
        left, stride = minutes, 1
        while left > 0:
            before = self._written, len(self.location.calls)
            stride = min(stride, left)
            self.work(60 * stride)
            asked = (self._written, len(self.location.calls)) != before
            told = [held.connect() for held in phones]
            left -= stride
            stride = 1 if asked or any(told) else stride * 2
        return stride > 1

    def _count(self, _connection, _cursor, statement, *_rest):
        self._written += statement.split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE")

    # --- what there is -----------------------------------------------------------------------------------------------

    def states(self, device_id):
        """By app: its state on a device."""
        with self.portal.database.session() as session:
            rows = session.scalars(select(DeviceApp).where(DeviceApp.device_id == device_id))
            return {each.app_id: each.state for each in rows}

    def reasons(self, device_id):
        """By app: why."""
        with self.portal.database.session() as session:
            rows = session.scalars(select(DeviceApp).where(DeviceApp.device_id == device_id))
            return {each.app_id: each.reason for each in rows}

    def seats(self):
        """How many licenses are in which state."""
        with self.portal.database.session() as session:
            states = list(session.scalars(select(LicenseSeat.state)))
            return {each: states.count(each) for each in states}

    def open_requests(self):
        """How many requests to Apple are not over."""
        with self.portal.database.session() as session:
            return len(list(session.scalars(select(LicenseRequest.id))))

    def known(self):
        """What is known of the token."""
        with self.portal.database.session() as session:
            return apple_content.known(session)


@pytest.fixture
def held_apps(company, configure, clock):
    """The room, open, with a token."""
    made = Apps(company.portal, clock)
    configure(apps__enabled=True, **{f"apps__{key}": value for key, value in made.location.settings().items()})
    made.upload()
    return made


@pytest.fixture
def enrolled(app, company, held_apps):
    """Enrolls somebody's phone, whose store knows the location; the phone and its device."""

    def enroll(username="erika", number=0, ios=None, person=None):
        invitation = company.invite(person or company.person(username))
        held = phone(app, number)
        held.model = replace(held.model, os_version=ios) if ios else held.model
        location = held_apps.location
        account = f"{username}@work.example.com"
        held.apps.store = lambda adam_id: location.assets[adam_id].bundle_id
        held.apps.manifests = held_apps.manifests
        held.apps.licensed = lambda adam_id: account in location.holders(location.assets[adam_id])
        held.install(company.profile(invitation))
        return held, company.device(invitation).id

    return enroll
