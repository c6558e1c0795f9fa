"""Declarative management with the simulated iPhone: told once, fetched once, reported, and never by somebody else."""

import json
import plistlib
from dataclasses import replace

import pytest
from sqlalchemy import select

from portal.declarations import speaking
from portal.models import Command, DeclarativeState, EnrollmentRequest
from portal.people import erasure
from portal.simulator.iphone import CHECKIN_TYPE, IPhone
from portal.storage.cases import Cases
from tests.account_driven.steps import enroll
from tests.factories import phone
from tests.pages import Browser


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def held(app, company, invitation):
    made = phone(app)
    made.install(company.profile(invitation))
    return made


def state(company, invitation):
    with company.portal.database.session() as session:
        return session.get(DeclarativeState, company.device(invitation).id)


def check_in(held: IPhone, **message):
    body = plistlib.dumps({"MessageType": "DeclarativeManagement", "EnrollmentID": held.enrollment_id, **message})
    headers = {"Content-Type": CHECKIN_TYPE, "Mdm-Signature": held.signature(body)}
    return held.http.put(held.mdm["CheckInURL"], content=body, headers=headers)


def announce(company, invitation):
    with company.portal.database.transaction() as session:
        return speaking.announce(Cases(session, company.portal).of_device(company.device(invitation).id))


def test_an_iphone_reports_by_itself_right_after_it_enrolled(company, invitation, held):
    known = state(company, invitation).known
    assert known["values"]["passcode.is-present"] is True
    assert known["values"]["device.model.marketing-name"] == "iPhone 13"
    assert {each["valid"] for each in known["declarations"].values()} == {"valid"}
    assert held.declared.fetched == ["activation", "subscriptions", "organization"]


def test_nothing_is_told_or_fetched_twice(company, invitation, held):
    assert announce(company, invitation) is False
    assert held.connect() == []
    held.declared.synchronize(None)
    assert held.declared.fetched == ["activation", "subscriptions", "organization"]


def test_what_changed_is_fetched_and_nothing_else(company, invitation, held, configure):
    configure(company__name="Musterwerk")
    assert announce(company, invitation) is True
    assert announce(company, invitation) is False
    assert held.connect() == ["DeclarativeManagement"]
    assert held.declared.fetched[3:] == ["organization"]
    assert held.declared.held["management", "organization"]["Payload"]["Name"] == "Musterwerk"


def test_a_change_of_passcode_is_seen_without_asking(company, invitation, held, app, clock):
    held.declared.values["passcode.is-present"] = False
    held.declared.report()
    company.person("helen", "helpdesk")
    staff = Browser(app).staff_sign_in("helen", clock())
    staff.get(f"/helpdesk/devices/{company.device(invitation).id}")
    assert "Has a passcode no" in staff.text
    assert "Reported by itself just now" in staff.text


def test_a_device_that_can_tell_less_is_asked_for_less(company, invitation, held):
    held.declared.values.pop("passcode.is-compliant")
    held.declared.report(full=True)
    assert "passcode.is-compliant" not in state(company, invitation).known["values"]


def test_an_update_of_ios_is_known_and_asked_for_what_it_brings(company, invitation, held):
    held.declared.model = replace(held.model, os_version="27.0")
    held.declared.values["device.operating-system.version"] = "27.0"
    held.declared.report(full=True)
    assert company.device(invitation).os_version == "27.0"
    assert held.connect() in ([], ["DeclarativeManagement"])


def test_an_old_ios_is_told_nothing(app, company, invitation):
    made = phone(app)
    made.model = replace(made.model, os_version="14.8")
    made.install(company.profile(invitation))
    assert state(company, invitation) is None or state(company, invitation).announced is None


def test_a_room_that_is_closed_tells_nothing(app, company, invitation, configure):
    configure(mdm__declarative=False)
    made = phone(app)
    made.install(company.profile(invitation))
    assert made.declared.fetched == []


def test_from_settings_it_works_with_the_access_token(app, company, invitation):
    made = enroll(app, invitation).phone
    made.connect()
    assert state(company, invitation).known["values"]["passcode.is-present"] is True


@pytest.mark.parametrize("endpoint", ["declaration/configuration/other", "declaration/asset/subscriptions", "",
                                      "nonsense",
                                      "declaration/x", "declaration/configuration/subscriptions/x"])  # fmt: skip
def test_what_is_not_declared_is_not_found(held, endpoint):
    assert check_in(held, Endpoint=endpoint).status_code in (400, 404)
    assert check_in(held, Endpoint="tokens").status_code == 200


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", "text", 7, None])
def test_a_report_of_no_use_is_refused_and_changes_nothing(company, invitation, held, data):
    before = state(company, invitation).known
    message = {"Endpoint": "status"} | ({"Data": data} if data is not None else {})
    assert check_in(held, **message).status_code == 400
    assert state(company, invitation).known == before


def test_another_device_gets_and_tells_nothing(app, company, invitation, held):
    other = phone(app, 1)
    other.install(company.profile(company.invite(company.person("max"))))
    own = other.enrollment_id
    other.enrollment_id = held.enrollment_id
    assert check_in(other, Endpoint="tokens").status_code == 403
    other.enrollment_id = own
    held.remove()
    assert check_in(held, Endpoint="status", Data=b"{}").status_code in (401, 403)


def connected(held, **answer):
    """What the phone gets for one report on a command."""
    body = plistlib.dumps({"EnrollmentID": held.enrollment_id, **answer})
    return held.http.put(held.mdm["ServerURL"], content=body, headers={"Mdm-Signature": held.signature(body)})


def test_a_command_that_was_not_taken_is_given_again_with_the_next_report(company, invitation, held, configure, clock):
    configure(company__name="Musterwerk")
    announce(company, invitation)
    held.mood = {"DeclarativeManagement": "Error"}
    held.connect()
    held.mood = {}
    clock.forward(hours=2)
    held.declared.report()
    assert held.connect() == ["DeclarativeManagement"]
    assert held.declared.held["management", "organization"]["Payload"]["Name"] == "Musterwerk"


def test_a_late_command_brings_what_is_declared_when_it_comes(company, invitation, held, configure):
    for name in ("First", "Second"):
        configure(company__name=name)
        announce(company, invitation)
    assert held.connect() == ["DeclarativeManagement"]
    assert held.declared.held["management", "organization"]["Payload"]["Name"] == "Second"


def test_a_device_that_changes_its_mind_makes_no_commands_pile_up(company, invitation, held):
    for turn in range(10):
        held.declared.values["passcode.is-present"] = bool(turn % 2)
        held.declared.model = replace(held.model, os_version="16.0" if turn % 2 else "17.6")
        held.declared.report(full=True)
        held.connect()
    with company.portal.database.session() as session:
        kinds = [each.request_type for each in session.scalars(select(Command))]
    assert kinds.count("DeclarativeManagement") == 1


def test_who_only_reports_is_still_asked_how_it_is(company, invitation, held, clock):
    before = company.device(invitation).last_seen_at
    clock.forward(hours=23)
    held.declared.report()
    assert company.device(invitation).last_seen_at == before


def test_a_closed_room_is_emptied_and_takes_nothing(company, invitation, held, configure):
    configure(mdm__declarative=False)
    assert announce(company, invitation) is True
    held.connect()
    assert held.declared.held == {}
    known = state(company, invitation).known
    held.declared.values["passcode.is-present"] = False
    held.declared.report(full=True)
    assert state(company, invitation).known == known
    assert announce(company, invitation) is False


def test_who_begins_anew_is_told_anew(company, invitation, held):
    held.authenticate()
    held.token_update()
    assert announce(company, invitation) is True


@pytest.mark.parametrize("version", ["17.", "\u00b2", "x" * 300])
def test_an_odd_version_stops_nothing(company, invitation, held, version):
    told = {"StatusItems": {"device": {"operating-system": {"version": version}}}}
    assert check_in(held, Endpoint="status", Data=json.dumps(told).encode()).status_code == 200
    assert company.device(invitation).os_version == "17.6.1"


def test_answers_are_json(held):
    for endpoint in ("tokens", "declaration-items", "declaration/management/organization"):
        assert check_in(held, Endpoint=endpoint).headers["content-type"] == "application/json"


def test_erasing_forgets_what_was_reported(company, invitation, held, portal):
    held.remove()
    with portal.database.transaction() as session:
        erasure.of_requests(session, select(EnrollmentRequest.id))
    assert state(company, invitation).known == {}
