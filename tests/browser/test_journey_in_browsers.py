"""From the link to the finish page in two engines, with the simulated iPhone doing its part; a picture of each page."""

import re
import urllib.request

import pyotp
import pytest

from portal.simulator.iphone import IPhone
from tests.browser import engines
from tests.browser.conftest import needs_chromium, needs_webkit
from tests.browser.engines import Engine
from tests.servers import Cast


def walk(engine: Engine, cast: Cast, username: str) -> None:
    """Every page of the journey, each with a picture and an accessibility check."""
    account, invitation = cast.accounts[username], cast.invite(username)

    def page(name: str, heading: str) -> None:
        engine.wait_for_heading(heading)
        engine.picture(name)

    engine.open(invitation["url"])
    page("1-sign-in", "Sign in to begin")
    engine.fill("username", username)
    engine.fill("password", account["password"])
    engine.tap("main button[type=submit]")
    page("2-ownership", "Whose device is this?")
    engine.tap("button[value=corporate]")
    page("2-corporate", "This is set up another way")
    engine.tap("button[value=employee]")
    page("3-privacy", "What IT can and cannot see")
    engine.tap("button[name=acknowledge]")
    page("4-passcode", "Enter the passcode from the e-mail")
    engine.fill("passcode", "000000" if invitation["passcode"] != "000000" else "111111")
    engine.tap("button[form=enter]")
    page("4-passcode-wrong", "Enter the passcode from the e-mail")
    assert engine.run("return document.activeElement.className") == "summary"
    engine.fill("passcode", invitation["passcode"])
    engine.tap("button[form=enter]")
    page("5-overview", "Three things happen now")
    engine.tap("button[name=continue]")
    page("6-terms", "License terms")
    engine.tap("button[name=accept]")
    page("7-profile", "Download the profile")
    profile = download(engine, cast)
    page("7-profile-downloaded", "Profile downloaded")
    assert re.fullmatch(r"[0-7]:[0-5]\d", engine.run("return document.querySelector('.clock').textContent"))
    engine.tap("a[href='/enroll/finish']")
    page("8-waiting", "Waiting for your device")
    phone = IPhone()
    phone.install(profile)
    page("8-finish", "You are ready for work")
    assert cast.status(invitation)["status"] == "enrolled"
    phone.remove()
    engine.open(f"{cast.server.url}/enroll/finish")
    page("8-removed", "The work side was removed")


def download(engine: Engine, cast: Cast) -> bytes:
    """Fetch what the download button points to, with this browser's session, as the browser's download would."""
    if isinstance(engine, engines.Chromium):
        with engine.page.expect_download() as waiting:
            engine.tap("main a.button")
        return waiting.value.path().read_bytes()
    address = engine.run("return fetch('/enroll/profile.mobileconfig').then(a => a.url)")
    return urllib.request.urlopen(address, timeout=10).read()


@needs_chromium
def test_the_journey_in_chromium(cast):
    with engines.chromium() as engine:
        walk(engine, cast, "employee1")
        assert engine.problems == []


@needs_webkit
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_journey_in_webkit(cast, scheme):
    with engines.webkit(scheme) as engine:
        walk(engine, cast, "employee2" if scheme == "light" else "employee4")


@needs_chromium
def test_the_journey_without_javascript(cast):
    """The same way with scripts off; the finish page refreshes itself."""
    account, invitation = cast.accounts["employee1"], cast.invite("employee1")
    with engines.chromium() as engine:
        context = engine.page.context.browser.new_context(
            user_agent=engines.SAFARI, java_script_enabled=False, locale="en-GB"
        )
        plain = engines.Chromium(context.new_page())
        plain.open(invitation["url"])
        plain.fill("username", "employee1")
        plain.fill("password", account["password"])
        plain.tap("main button[type=submit]")
        for button in ("button[value=employee]", "button[name=acknowledge]"):
            plain.tap(button)
        plain.fill("passcode", invitation["passcode"])
        for button in ("button[form=enter]", "button[name=continue]", "button[name=accept]"):
            plain.tap(button)
        with plain.page.expect_download() as waiting:
            plain.tap("main a.button")
        profile = waiting.value.path().read_bytes()
        plain.tap("text=I have downloaded it")
        assert plain.heading() == "Profile downloaded"
        assert "minutes" in plain.page.locator(".clock").inner_text()
        plain.tap("a[href='/enroll/finish']")
        IPhone().install(profile)
        # Chromium hides <noscript> when a driver switches scripts off, so its refresh is done by hand here.
        plain.page.reload()
        plain.wait_for_heading("You are ready for work")


@needs_chromium
def test_staff_pages(cast):
    account, invitation = cast.accounts["helpdesk1"], cast.invite("employee1")
    with engines.chromium() as engine:
        engine.open(f"{cast.server.url}/staff/sign-in")
        engine.picture("staff-sign-in")
        engine.fill("username", "helpdesk1")
        engine.fill("password", account["password"])
        engine.fill("code", pyotp.TOTP(account["totp_secret"]).now())
        engine.tap("main button[type=submit]")
        engine.wait_for_heading("Enrollment requests")
        engine.picture("helpdesk-list")
        engine.open(f"{cast.server.url}/helpdesk/requests/{invitation['id']}")
        engine.wait_for_heading("Demo Employee One")
        engine.picture("helpdesk-request")
        engine.tap("form[action$='/qr'] button")
        engine.page.wait_for_selector("svg.qr")
        engine.picture("helpdesk-qr")
        engine.open(f"{cast.server.url}/staff/outbox")
        engine.picture("staff-outbox")
        assert engine.problems == []
