"""Ways to sign in, with pictures: a directory, choosing a password, staff's second factor, single sign-on's buttons."""

from urllib.parse import urlsplit

import pyotp
import pytest
from sqlalchemy import delete

from portal.credentials import passwords
from portal.credentials import sign_in as corporate
from portal.models import SecondFactor
from portal.simulator.iphone import IPhone
from tests.browser.conftest import needs_chromium
from tests.factories import PASSWORD, editing, phone_key
from tests.peers.slapd import PASSWORD as DIRECTORY_PASSWORD
from tests.peers.slapd import Slapd, needs_slapd

pytestmark = needs_chromium
PROVIDER = {"name": "sso", "title": "Company SSO", "issuer": "https://sso.example.com", "client_id": "portal"}


@needs_slapd
def test_somebody_of_the_directory_gets_from_the_link_to_the_finish_page(scene, clock, tmp_path):
    slapd = Slapd(tmp_path / "slapd")
    try:
        at = scene(ldap=slapd.settings())
        dora = corporate.look_up(at.portal.database, at.portal.sources, at.portal.settings, "dora", clock())
        invitation = at.company.invite(dora)
        at.open(f"/e/{invitation.token}")
        at.sign_in("dora", DIRECTORY_PASSWORD)
        at.engine.wait_for_heading("Whose device is this?")
        for selector in ("button[value=employee]", "button[name=acknowledge]"):
            at.engine.tap(selector)
        at.engine.wait_for_heading("Enter the passcode from the e-mail")
        at.engine.fill("passcode", invitation.passcode)
        for selector in ("button[form=enter]", "button[name=continue]", "button[name=accept]"):
            at.engine.tap(selector)
        with at.engine.page.expect_download() as waiting:
            at.engine.tap("main a.button")
        IPhone(key=phone_key()).install(waiting.value.path().read_bytes())
        at.open("/enroll/finish")
        at.engine.wait_for_heading("You are ready for work")
        at.portal.directory.close()
    finally:
        slapd.kill()


def test_choosing_a_password(scene, clock):
    at = scene()
    person = at.company.person()
    with at.portal.database.transaction() as session:
        by = editing(at.portal, session, clock())
        address = passwords.new_link(by, session.merge(person), at.portal.settings)
    at.open(urlsplit(address).path)
    at.sees("account-password", "Choose your password")
    at.engine.fill("new", "short")
    at.engine.fill("again", "short")
    at.engine.tap("main button[type=submit]")
    at.sees("account-password-refused", "Choose your password")
    at.engine.fill("new", "violet tractor hums loudly")
    at.engine.fill("again", "violet tractor hums loudly")
    at.engine.tap("main button[type=submit]")
    at.sees("account-password-done", "Your password is changed")
    at.open("/account/password")
    at.sees("account-password-change", "Change your password")
    at.open(urlsplit(address).path)
    at.sees("account-link-used", "This link no longer works")


def test_staff_set_up_their_second_factor(scene, clock):
    at = scene()
    at.company.person("helen", "helpdesk")
    with at.portal.database.transaction() as session:
        session.execute(delete(SecondFactor))
    at.open("/staff/sign-in")
    at.sign_in("helen")
    at.sees("staff-second-factor", "Set up your second factor")
    secret = at.engine.page.locator(".account").inner_text()
    at.engine.fill("code", pyotp.TOTP(secret).at(clock()))
    at.engine.tap("main button[type=submit]")
    at.sees("staff-recovery-codes", "Keep these recovery codes")
    at.open("/admin/discovery")
    at.sees("error-forbidden", "Only admins can open this page")


@pytest.mark.parametrize("domains", [[], ["example.com"]])
def test_single_sign_on_is_offered_or_found_by_the_domain(scene, domains):
    at = scene(oidc={"providers": [{**PROVIDER, "domains": domains}]})
    at.open("/enroll")
    at.sees("1-sign-in-username-first" if domains else "1-sign-in-with-buttons", "Sign in to begin")
    assert at.engine.page.locator("input[type=password]").count() == (0 if domains else 1)


def test_a_sign_in_that_was_stopped(scene):
    at = scene(oidc={"providers": [PROVIDER]})
    at.open("/sign-in/sso/callback?state=unknown&code=x")
    at.sees("error-single-sign-on", "The sign-in did not work")
    assert PASSWORD not in at.engine.page.content()
