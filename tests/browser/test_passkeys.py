"""Passkeys of staff with a real browser and its virtual authenticator (a passkey needs a name, so localhost)."""

import json

import pytest

from portal.models import Passkey, Person, SecondFactor
from tests.browser.conftest import needs_chromium
from tests.factories import totp_code

pytestmark = needs_chromium
AUTHENTICATOR = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                 "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip


@pytest.fixture
def at(scene):
    """Staff before the passkeys page, with an authenticator in the browser."""
    made = scene(host="localhost")
    made.company.person("helen", "helpdesk")
    devtools = made.engine.page.context.new_cdp_session(made.engine.page)
    devtools.send("WebAuthn.enable")
    made.authenticator = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})[
        "authenticatorId"
    ]
    made.devtools = devtools
    return made


def sign_in(at, code=""):
    at.open("/staff/sign-in")
    at.engine.fill("code", code)
    at.sign_in("helen")


def add_passkey(at, clock):
    sign_in(at, totp_code(clock()))
    at.engine.wait_for_heading("Enrollment requests")
    at.open("/staff/passkeys")
    at.engine.page.fill("#passkey-name", "Work laptop")
    at.engine.tap("[data-passkey] button")
    at.engine.page.wait_for_selector("text=Work laptop")


def answer_of(at, address, body):
    """Send JSON as the page's script would."""
    headers = "{'Content-Type': 'application/json', 'X-CSRFToken': t}"
    script = (
        "const t = document.querySelector('[data-passkey]').dataset.token;"
        f"return fetch('{address}', {{method: 'POST', headers: {headers}, body: JSON.stringify({json.dumps(body)})}})"
        ".then(a => a.status)"
    )
    return at.engine.run(script)


@pytest.mark.each_database
def test_a_passkey_replaces_the_code_of_the_app(at, clock):
    add_passkey(at, clock)
    at.engine.picture("staff-passkeys")
    at.engine.tap("details.own summary")
    at.engine.tap("form[action$='sign-out'] button")
    sign_in(at)
    at.engine.wait_for_heading("One more thing to prove")
    at.engine.picture("staff-second-factor-passkey")
    at.engine.tap("[data-passkey] button")
    at.engine.wait_for_heading("Enrollment requests")
    with at.portal.database.session() as session:
        (passkey,) = session.query(Passkey).all()
        assert passkey.last_used_at is not None
    assert at.engine.problems == []


def test_another_authenticator_does_not_sign_in_and_the_code_still_does(at, clock):
    add_passkey(at, clock)
    at.engine.tap("details.own summary")
    at.engine.tap("form[action$='sign-out'] button")
    at.devtools.send("WebAuthn.clearCredentials", {"authenticatorId": at.authenticator})
    sign_in(at)
    at.engine.tap("[data-passkey] button")
    at.engine.page.wait_for_selector("[role=alert]:not([hidden])")
    clock.forward(seconds=60)
    at.engine.fill("code", totp_code(clock()))
    at.engine.tap("main form button[type=submit]")
    at.engine.wait_for_heading("Enrollment requests")


@pytest.mark.each_database
def test_made_up_answers_and_used_challenges_are_refused(at, clock):
    add_passkey(at, clock)
    with at.portal.database.session() as session:
        credential_id = session.query(Passkey).one().credential_id
    at.engine.tap("details.own summary")
    at.engine.tap("form[action$='sign-out'] button")
    sign_in(at)
    at.engine.wait_for_heading("One more thing to prove")
    fake = {"id": credential_id, "rawId": credential_id, "type": "public-key",
            "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}}  # fmt: skip
    bodies = [{}, [], {"credential": 5}, {"credential": {}}, {"credential": fake}, {"credential": {**fake, "id": "x"}}]
    for body in bodies:
        assert answer_of(at, "/staff/second-factor/options", {}) == 200
        assert answer_of(at, "/staff/second-factor/passkey", body) == 400, body
    assert answer_of(at, "/staff/second-factor/passkey", {"credential": fake}) == 400  # no challenge is left
    at.open("/helpdesk")
    at.engine.wait_for_heading("Staff sign-in")


def test_a_removed_passkey_no_longer_signs_in(at, clock):
    add_passkey(at, clock)
    at.engine.tap("form[action*='/remove'] button")
    at.engine.page.wait_for_selector("text=You have none yet.")
    at.engine.tap("details.own summary")
    at.engine.tap("form[action$='sign-out'] button")
    sign_in(at)
    assert at.engine.page.locator("[data-passkey]").count() == 0


def test_a_passkey_is_a_fresh_proof_and_what_was_typed_goes_on(at, clock):
    """An admin with a passkey alone confirms with it; nothing has to be typed again."""
    with at.portal.database.transaction() as session:
        session.query(Person).one().role = "admin"
    add_passkey(at, clock)
    with at.portal.database.transaction() as session:
        session.query(SecondFactor).delete()
    for _ in range(3):
        clock.forward(minutes=5)
        at.open("/admin/tokens")
    at.engine.page.fill("#name", "Robot")
    at.engine.page.check("[id='scope.metrics']")
    at.engine.page.click("form.sheet button.button")
    at.engine.wait_for_heading("Confirm that it is you")
    at.engine.picture("staff-confirm-passkey")
    at.engine.tap("[data-passkey] button")
    at.engine.page.wait_for_selector("#token")
    assert "Robot" in at.engine.page.inner_text("main")


def test_adding_a_passkey_after_a_while_leads_over_the_proof(at, clock):
    sign_in(at, totp_code(clock()))
    at.engine.wait_for_heading("Enrollment requests")
    for _ in range(3):
        clock.forward(minutes=5)
        at.open("/staff/passkeys")
    at.engine.tap("[data-passkey] button")
    at.engine.wait_for_heading("Confirm that it is you")
    at.engine.picture("staff-confirm")
    at.engine.page.fill("#proof_code", totp_code(clock()))
    at.engine.page.click("#held button")
    at.engine.wait_for_heading("Your passkeys")
    at.engine.page.fill("#passkey-name", "Work laptop")
    at.engine.tap("[data-passkey] button")
    at.engine.page.wait_for_selector("text=Work laptop")
    at.open("/staff/sessions")
    at.sees("staff-sessions", "Your sign-ins")
