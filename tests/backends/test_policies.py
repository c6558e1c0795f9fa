"""Policies reach phones with every backend that the portal gives them to, whatever is cut off, and when."""

import contextlib
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import update

from portal import clock
from portal.database import Database
from portal.enrollment import management
from portal.jobs import Worker
from portal.models import Command
from portal.storage.cases import Cases
from tests.backends import fleets
from tests.pages import Browser
from tests.policies.conftest import Policies, mail, passcode, wifi
from tests.tools import needs_nanomdm

MOST_CUTS = 40


class Ticks:
    """The clock ticks by itself here."""

    def forward(self, **_by):
        pass


class Killed(BaseException):
    """The process is gone: nothing after this point happens, and nobody catches it."""


@pytest.fixture(params=["embedded", pytest.param("nanomdm", marks=needs_nanomdm)])
def fleet(request, make_app, tmp_path):
    with fleets.FLEETS[request.param](make_app, tmp_path, policies={"enabled": True}) as made:
        yield made


@pytest.fixture
def made(fleet):
    return Policies(fleet.portal, Ticks())


def settle(fleet, *phones):
    """The worker's minute comes round, and each phone is woken as long as there is something."""
    fleet.worker.find_new_policies()
    for phone in phones:
        fleet.connect(phone)


def has(phone, policy):
    """The Wi-Fi that a policy gave a phone."""
    installed = phone.declared.profiles.get(f"policy.{policy}")
    return installed["profile"]["PayloadContent"][0]["SSID_STR"] if installed else None


def test_given_changed_and_taken_away(fleet, made):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    policy = made.make("Basics", wifi("One"), mail(), passcode())
    settle(fleet, phone)
    assert has(phone, policy) == "One"
    assert made.states(fleet.device(invitation).id) == {policy: ("applied", None)}
    assert len(phone.declared.credentials) == 2
    before = len(phone.declared.fetched)
    made.publish(policy, wifi("Two"), mail(), passcode())
    settle(fleet, phone)
    assert has(phone, policy) == "Two"
    assert before < len(phone.declared.fetched)
    made.audience(policy)
    settle(fleet, phone)
    assert (has(phone, policy), phone.declared.credentials) == (None, {})
    assert made.states(fleet.device(invitation).id) == {}
    before = len(fleet.commands())
    settle(fleet, phone)
    assert len(fleet.commands()) == before


def test_what_a_phone_refuses_is_known_and_can_be_sent_again(fleet, made):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    policy = made.make("Basics", wifi("One"))
    phone.declared.invalid.add(f"policy.{policy}")
    settle(fleet, phone)
    device = fleet.device(invitation).id
    assert made.states(device) == {policy: ("failed", "Error.ConfigurationCannotBeApplied")}
    phone.declared.invalid.clear()
    settle(fleet, phone)
    assert made.states(device)[policy][0] == "failed"
    fleet.company.person("otto", "helpdesk")
    helpdesk = Browser(fleet.app).staff_sign_in("otto", clock.now())
    helpdesk.get(f"/helpdesk/devices/{device}")
    helpdesk.submit(f"/helpdesk/devices/{device}/policies")
    assert "The policies are sent again." in helpdesk.text
    settle(fleet, phone)
    assert made.states(device) == {policy: ("applied", None)}


def test_a_phone_that_was_off_gets_what_is_so_then_and_nothing_twice(fleet, made):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    policy = made.make("Basics", wifi("One"))
    for ssid in ("Two", "Three", "Four"):
        fleet.worker.find_new_policies()
        fleet.work()
        made.publish(policy, wifi(ssid))
    fleet.worker.find_new_policies()
    before = len(phone.declared.fetched)
    looks = [each for each in fleet.commands("queued", "sent") if each.request_type == "DeclarativeManagement"]
    assert len(looks) == 1
    fleet.connect(phone)
    assert has(phone, policy) == "Four"
    assert phone.declared.fetched[before:].count(f"policy.{policy}") == 1


@pytest.mark.each_database
def test_an_old_ios_gets_profiles_and_a_newer_one_declarations_instead(fleet, made):
    policy = made.make("Basics", wifi("One"), passcode())
    invitation = fleet.invite()
    phone = fleet.prepared(invitation)
    phone.model = replace(phone.model, os_version="14.8")
    phone.authenticate()
    phone.token_update()
    fleet.until(lambda: fleet.company.status(invitation) == "enrolled")
    fleet.connect(phone)
    settle(fleet, phone)
    device = fleet.device(invitation).id
    assert sorted(each.split(".", 3)[-1] for each in phone.profiles) == ["passcode", f"policy.{policy}"]
    assert made.states(device) == {policy: ("applied", None)}
    phone.model = replace(phone.model, os_version="17.6.1")
    with fleet.portal.database.transaction() as session:
        management.ask_how_it_is(Cases(session, fleet.portal).of_device(device))
    settle(fleet, phone)
    assert phone.profiles == {}
    assert has(phone, policy) == "One"
    assert made.states(device) == {policy: ("applied", None)}


# --- cut off --------------------------------------------------------------------------------------------------------


class Scissors:
    """A phone's way to anybody; the request with the chosen number does not arrive, or its answer does not."""

    def __init__(self, phone):
        self._http, phone.http = phone.http, self
        self.set(-1)

    def set(self, at, before=True):
        """From now on requests are counted from 0; ``before``: the request is lost, else the answer."""
        self._at, self._before, self.number = at, before, 0

    @property
    def happened(self):
        return 0 <= self._at < self.number

    def get(self, url):
        return self._send(lambda: self._http.get(url))

    def put(self, url, **said):
        return self._send(lambda: self._http.put(url, **said))

    def _send(self, send):
        self.number += 1
        if self.number - 1 != self._at:
            return send()
        if not self._before:
            send()
        raise httpx.ConnectError("cut off")


@pytest.mark.parametrize("before", [True, False], ids=["what it says", "what it is told"])
def test_a_phone_cut_off_at_any_message_has_in_the_end_what_it_should(fleet, made, before):
    invitation = fleet.invite()
    phone = fleet.enrolled(invitation)
    scissors = Scissors(phone)
    policy = made.make("Basics", wifi("First"), mail(), passcode())
    settle(fleet, phone)
    for at in range(MOST_CUTS):
        made.publish(policy, wifi(f"Number {at}"), mail(), passcode())
        fleet.worker.find_new_policies()
        fleet.until(lambda: not fleet.commands("queued") or fleet.name == "embedded")
        scissors.set(at, before)
        with contextlib.suppress(httpx.HTTPError):
            phone.connect()
        happened = scissors.happened
        scissors.set(-1)
        fleet.until(lambda: fleet.pending() == 0)
        fleet.heal()
        settle(fleet, phone)
        assert has(phone, policy) == f"Number {at}"
        assert made.states(fleet.device(invitation).id) == {policy: ("applied", None)}
        assert not fleet.commands("queued", "sent")
        if not happened:
            break
    assert 7 <= at < MOST_CUTS - 1


@pytest.mark.each_database
@pytest.mark.parametrize("saved", [False, True], ids=["undone", "saved"])
def test_a_worker_killed_at_any_moment_goes_on_where_it_was(fleet, made, monkeypatch, saved):
    """Before or after each thing it saves, it is gone; another one begins."""
    invitations = [fleet.invite(f"person{number}") for number in range(2)]
    phones = [fleet.enrolled(each, number) for number, each in enumerate(invitations)]
    policy = made.make("Basics", wifi("First"), passcode())
    settle(fleet, *phones)
    for at in range(MOST_CUTS):
        made.publish(policy, wifi(f"Number {at}"), passcode())
        with killing(monkeypatch, at, saved) as counted:
            fleet.worker.find_new_policies()
            fleet.work()
        fleet.worker.database.engine.dispose()
        fleet.worker = Worker(fleet.portal.live.base)
        if fleet.portal.backend.keeps_queue:  # what was claimed when it died is handed over after the lease
            release(fleet)
        before = [len(phone.declared.fetched) for phone in phones]
        settle(fleet, *phones)
        for phone, invitation, number in zip(phones, invitations, before, strict=True):
            assert has(phone, policy) == f"Number {at}"
            assert made.states(fleet.device(invitation).id) == {policy: ("applied", None)}
            assert phone.declared.fetched[number:] == [f"policy.{policy}"]
        if counted[0] <= at:
            break
    assert 3 <= at < MOST_CUTS - 1


@contextlib.contextmanager
def killing(monkeypatch, at, saved):
    """Transactions are counted; the process dies with the one with number ``at``, before or after it is committed."""
    counted = [0]
    plain = Database.transaction

    @contextlib.contextmanager
    def transaction(self, *arguments, **named):
        number, counted[0] = counted[0], counted[0] + 1
        with plain(self, *arguments, **named) as session:
            yield session
            if number == at and not saved:
                raise Killed
        if number == at:
            raise Killed

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Database, "transaction", transaction)
        yield counted


def release(fleet):
    """The lease of commands is over."""
    with fleet.portal.database.transaction() as session:
        session.execute(update(Command).where(Command.handed_at.is_(None)).values(next_attempt_at=clock.now()))
