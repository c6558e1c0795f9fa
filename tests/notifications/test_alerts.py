"""Helpdesk is told by mail what needs a person: what an admin chose, each event once."""

import pytest

from portal import audit, jobs
from portal.events import Event
from portal.models import OutboxMessage, PortalState
from portal.notifications import alerts
from tests.pages import Browser


@pytest.fixture
def choose(app, company, clock):
    company.person("adam", role="admin")
    admin = Browser(app).staff_sign_in("adam", clock())

    def run(*names):
        admin.get("/admin/settings/notifications")
        values = {key: value for key, value in admin.filled().items() if not key.startswith("notifications.")}
        admin.post(
            "/admin/settings/notifications", values | {f"notifications.helpdesk.{name}": "yes" for name in names}
        )
        assert "Saved" in admin.text

    return run


@pytest.fixture
def told(portal, session, clock):
    """Subjects of the mails that helpdesk got, after one more round of the worker."""

    def run():
        clock.forward(seconds=10)
        jobs.Worker(portal.live.base).every_minute()
        jobs.Worker(portal.live.base).deliver()
        files = sorted((portal.settings.data / "outbox").glob("*.eml"))
        mails = [path.read_text() for path in files]
        return sorted(
            line.removeprefix("Subject: ")
            for mail in mails
            if "To: helpdesk@example.com" in mail
            for line in mail.splitlines()
            if line.startswith("Subject: ")
        )

    return run


def test_what_was_chosen_is_mailed_once_with_the_request_s_address(app, choose, told, company, browser, portal):
    told()  # from now on
    choose("corporate", "passcode_locked")
    locked, corporate = company.invite(company.person()), company.invite(company.person("max"))
    browser.walk_to("passcode", locked)
    for _ in range(5):
        browser.submit(passcode="000000")
    Browser(app).walk_to("ownership", corporate).submit(ownership="corporate")
    assert told() == ["Passcode locked: Erika", "Says: company device: Max"]
    assert told() == ["Passcode locked: Erika", "Says: company device: Max"]
    mails = [path.read_text() for path in (portal.settings.data / "outbox").glob("*.eml")]
    assert any(f"/helpdesk/requests/{corporate.request.id}" in mail for mail in mails)


def test_nobody_is_told_of_what_was_not_chosen_or_happened_before(choose, told, company, browser):
    invitation = company.invite(company.person())
    browser.walk_to("passcode", invitation)
    for _ in range(5):
        browser.submit(passcode="000000")
    assert told() == []
    choose("passcode_locked")
    assert told() == []
    choose("corporate")
    assert told() == []


def test_somebody_without_an_account_is_told_of_by_username(app, choose, told, company):
    told()
    choose("no_managed_apple_account")
    company.person("nomaa", managed_apple_account=None)
    Browser(app).get("/enroll").sign_in("nomaa")
    assert told() == ["No Managed Apple Account: nomaa"]


def test_a_flood_is_told_in_portions_and_nothing_is_left_out(choose, told, company, portal, monkeypatch, clock):
    told()
    choose("device_refused")
    monkeypatch.setattr(alerts, "BATCH_SIZE", 3)
    invitation = company.invite(company.person())
    with portal.database.transaction() as session:
        for _ in range(7):
            audit.record(session, audit.request_chain(invitation.request.id), Event.DEVICE_REFUSED, clock(), reason="x")
    assert [len(told()) for _ in range(4)] == [3, 6, 7, 7]
    with portal.database.session() as session:
        assert session.query(OutboxMessage).filter_by(kind="alert").count() == 7


def mails(portal):
    found = [path.read_text() for path in sorted((portal.settings.data / "outbox").glob("*.eml"))]
    return sorted(
        (line_of(mail, "To: "), line_of(mail, "Subject: "))
        for mail in found
        if "helpdesk@" not in line_of(mail, "To: ")
    )


def line_of(mail, name):
    return next(line.removeprefix(name) for line in mail.splitlines() if line.startswith(name))


SECURITY = {
    "second_factor.locked": (
        "The second factor of Helen is locked after 20 wrong codes",
        "Your second factor is locked",
    ),
    "second_factor.forgotten": ("The second factor of Helen was reset", "Your second factor was reset"),
    "second_factor.replaced": ("The second factor of Helen was replaced", "Your second factor was replaced"),
    "passkey.added": ("Helen has a new passkey", "A passkey was added to your account"),
    "passkey.removed": (None, "A passkey was removed from your account"),
    "password.changed": (None, "Your password was changed"),
    "person.role_changed": ("Helen is an admin now", "Your role was changed"),
    "person.added": ("A new admin was added: Helen", None),
    "api_token.made": ("A new API token was made: Helen", None),
    "keys.rotated": ("The portal's old secret keys were dropped", None),
    "backup.restored": ("The portal was restored from a backup", None),
}


@pytest.mark.parametrize("kind", SECURITY)
def test_who_gets_in_is_told_to_every_admin_and_to_the_person(company, portal, told, clock, kind):
    company.person("ada", "admin")
    company.person("bob", "admin")
    helen = company.person("helen", "helpdesk")
    told()
    reason = {"person.role_changed": "admin", "person.added": "admin", "keys.rotated": "dropped_old"}.get(kind)
    with portal.database.transaction() as session:
        audit.record(session, audit.SETTINGS, Event(kind), clock(), reason=reason, detail={"person": helen.id})
    told()
    to_admins, to_person = SECURITY[kind]
    expected = [(f"{name}@example.com", to_admins) for name in ("ada", "bob") if to_admins]
    expected += [("helen@example.com", to_person)] if to_person else []
    assert mails(portal) == sorted(expected)
    told()
    assert len(mails(portal)) == len(expected)  # once


def test_what_is_no_matter_of_security_is_told_to_nobody_else(company, portal, told, clock):
    company.person("ada", "admin")
    told()
    with portal.database.transaction() as session:
        for kind, reason in (("person.added", "employee"), ("person.role_changed", "helpdesk"), ("keys.rotated", None)):
            audit.record(session, audit.SETTINGS, Event(kind), clock(), reason=reason, detail={})
    told()
    assert mails(portal) == []


def test_a_flood_for_helpdesk_keeps_nobody_from_hearing_that_somebody_got_in(
    choose, told, company, portal, monkeypatch, clock
):
    told()
    choose("device_refused")
    monkeypatch.setattr(alerts, "BATCH_SIZE", 3)
    company.person("ada", "admin")
    told()
    before = mails(portal)
    invitation = company.invite(company.person())
    with portal.database.transaction() as session:
        for _ in range(9):
            audit.record(session, audit.request_chain(invitation.request.id), Event.DEVICE_REFUSED, clock(), reason="x")
        audit.record(session, audit.SETTINGS, Event.API_TOKEN_MADE, clock(), detail={"name": "Helen"})
    assert len(told()) == 3
    assert [each for each in mails(portal) if each not in before and each[0] == "ada@example.com"]


def test_after_an_upgrade_everything_is_told_once(choose, told, company, portal, clock):
    """Both kinds of mail were one, with one mark."""
    company.person("ada", "admin")
    told()
    with portal.database.transaction() as session:
        session.delete(session.get_one(PortalState, alerts.ADMINS))
        audit.record(session, audit.SETTINGS, Event.API_TOKEN_MADE, clock(), detail={"name": "Helen"})
    told()
    told()
    assert mails(portal).count(("ada@example.com", "A new API token was made: Helen")) == 1


def test_one_employee_s_new_passwords_keep_no_admin_from_hearing_who_got_in(told, company, portal, clock, monkeypatch):
    monkeypatch.setattr(alerts, "BATCH_SIZE", 3)
    ada, mallory = company.person("ada", "admin"), company.person("mallory")
    told()
    with portal.database.transaction() as session:
        for _ in range(9):
            audit.record(session, audit.SETTINGS, Event.PASSWORD_CHANGED, clock(), detail={"person": mallory.id})
        audit.record(session, audit.SETTINGS, Event.PASSKEY_ADDED, clock(), detail={"person": ada.id})
    told()
    assert ("ada@example.com", "Ada has a new passkey") in mails(portal)
