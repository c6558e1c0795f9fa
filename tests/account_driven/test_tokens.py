"""Access tokens and signing in again."""

import pytest
from sqlalchemy import select

from portal.enrollment import ending
from portal.lifecycle import closing
from portal.models import Base, Person
from portal.simulator.employee import Stuck
from portal.simulator.iphone import SignInAgain, Unenrolled
from portal.storage import rounds
from portal.storage.cases import Cases
from tests.account_driven.steps import ACCOUNT, enroll, post, signed, token_of, walking
from tests.factories import Company


def refused(app, token, body=None):
    """The status of a fetch, and that a fresh challenge came with it."""
    answer = post(app, body or signed(), Authorization=f"Bearer {token}")
    assert 'method="apple-as-web"' in answer.headers.get("WWW-Authenticate", "")
    return answer.status_code


@pytest.mark.parametrize("token", ["x", "", "x" * 5000, "ü".encode().decode("latin-1"), "a b c", "../../p"])
def test_an_unknown_token_gets_a_fresh_challenge(app, token):
    assert refused(app, token) == 401


def test_an_expired_token_gets_a_fresh_challenge(app, company, clock, invitation, settings_app):
    _, token = token_of(settings_app, invitation, app)
    clock.forward(minutes=10)
    assert refused(app, token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_expired")


def test_a_token_replayed_after_the_enrollment_gets_a_fresh_challenge(app, company, invitation):
    token = enroll(app, invitation).phone.token
    assert refused(app, token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_used")


@pytest.mark.each_database
def test_a_token_from_signing_in_again_fetches_no_profile(app, company, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    device = settings_app.phone
    device.account, device.token = ACCOUNT, token
    device.obtain_identity(device.open_profile(settings_app.fetch_profile(base_url, token)))
    device.token = "lost"
    with pytest.raises(SignInAgain) as asked:
        device.authenticate()
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert device.token not in ("lost", token)
    assert refused(app, device.token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_used")
    device.authenticate()
    device.token_update()
    assert company.status(invitation) == "enrolled"


def test_a_token_of_a_cancelled_request_gets_a_fresh_challenge(app, company, portal, clock, invitation, settings_app):
    _, token = token_of(settings_app, invitation, app)
    with portal.database.transaction() as session:
        ending.cancel(Cases(session, portal).lock(invitation.request.id), "helpdesk:test")
    assert refused(app, token) == 401
    assert company.events(invitation)[-1] == ("token.refused", "token_revoked")


def test_tokens_are_stored_only_as_hashes(app, portal, invitation, settings_app, caplog):
    caplog.set_level("DEBUG")
    _, token = token_of(settings_app, invitation, app)
    with portal.database.engine.connect() as connection:
        stored = [str(row) for table in Base.metadata.sorted_tables for row in connection.execute(select(table))]
    assert token not in "".join(stored) + caplog.text


def test_a_refusal_is_told_once_in_a_row(app, company, invitation):
    token = enroll(app, invitation).phone.token
    for _ in range(3):
        refused(app, token)
    assert company.events(invitation).count(("token.refused", "token_used")) == 1


def ask_again(browser, invitation, clock):
    """Helpdesk presses the button."""
    browser.staff_sign_in("helen", clock())
    browser.get(f"/helpdesk/requests/{invitation.request.id}")
    return browser.submit(f"/helpdesk/requests/{invitation.request.id}/sign-in-again")


def test_helpdesk_can_have_the_owner_sign_in_again(app, browser, company, clock, invitation):
    company.person("helen", "helpdesk")
    settings_app = enroll(app, invitation)
    held = settings_app.phone
    old = held.token
    page = ask_again(browser, invitation, clock)
    assert "asked to sign in again" in page.text
    with pytest.raises(SignInAgain) as asked:
        held.connect()
    assert company.status(invitation) == "enrolled"  # nothing is lost meanwhile
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert held.token != old
    assert held.connect() == []
    assert company.status(invitation) == "enrolled"
    kinds = [event for event in company.events(invitation) if event[0].startswith("token.")]
    assert kinds == [
        ("token.revoked", "asked_by_helpdesk"),
        ("token.refused", "token_revoked"),
        ("token.granted", "again"),
    ]
    held.token = old
    with pytest.raises(SignInAgain):
        held.connect()


def test_nobody_else_can_sign_in_again_for_a_device(app, browser, company, clock, invitation):
    company.person("helen", "helpdesk")
    company.person("other")
    settings_app = enroll(app, invitation)
    ask_again(browser, invitation, clock)
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    with pytest.raises(Stuck):
        settings_app.sign_in_again(asked.value, walking(app, invitation, "other"))
    assert company.events(invitation)[-1] == ("sign_in.refused", "wrong_person")


def test_a_disabled_person_s_device_removes_the_work_side_even_with_a_token_that_is_too_old(make_app, clock):
    app = make_app(account_driven={"sign_in_again_days": 30})
    portal, company = app.extensions["portal"], Company(app.extensions["portal"])
    invitation = company.invite(company.person())
    settings_app = enroll(app, invitation)
    with portal.database.transaction() as session:
        person = session.scalar(select(Person).where(Person.username == "erika"))
        closing.disable(Cases(session, portal), person, "admin:test")
        assert rounds.of_disabled_people(Cases(session, portal)) == 1
    clock.forward(days=31)
    assert settings_app.phone.connect() == ["RemoveProfile"]
    assert company.status(invitation) == "removed"
    assert ("device.left", "person_disabled") in company.events(invitation)
    with pytest.raises(Unenrolled):
        settings_app.phone.connect()


def test_devices_can_be_made_to_sign_in_again_after_some_days(make_app, clock):
    app = make_app(account_driven={"sign_in_again_days": 30})
    company = Company(app.extensions["portal"])
    invitation = company.invite(company.person())
    settings_app = enroll(app, invitation)
    clock.forward(days=29)
    assert settings_app.phone.connect() == []
    clock.forward(days=1)
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert settings_app.phone.connect() == []


def test_a_device_may_sign_in_again_days_after_it_was_asked(app, browser, company, clock, invitation):
    company.person("helen", "helpdesk")
    settings_app = enroll(app, invitation)
    ask_again(browser, invitation, clock)
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    clock.forward(days=20)
    settings_app.sign_in_again(asked.value, walking(app, invitation))
    assert settings_app.phone.connect() == []
