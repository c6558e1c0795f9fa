"""The web view of Settings and the pages that lead there, in two engines; a picture of each."""

import re
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from portal.simulator.employee import DEVICE_SCHEME, Employee
from portal.simulator.iphone import IPhone
from portal.simulator.model import MODELS
from portal.simulator.settings_app import SettingsApp
from tests.browser import engines
from tests.browser.conftest import needs_chromium, needs_webkit
from tests.browser.engines import Engine
from tests.servers import Cast


def walk_web_view(engine: Engine, cast: Cast, username: str) -> str:
    """Settings' web view, every page with its picture, to the address that hands over the access token."""
    account, invitation = cast.accounts[username], cast.invite(username)
    settings_app = SettingsApp(IPhone(model=MODELS[18]))
    identifier = account["managed_apple_account"]
    base_url = settings_app.discover(identifier, cast.server.url)

    def page(name: str, heading: str) -> None:
        engine.wait_for_heading(heading)
        engine.picture(f"web-view-{name}")

    engine.open(f"{settings_app.begin(base_url)['url']}?user-identifier={identifier}")
    page("1-sign-in", "Sign in to begin")
    engine.fill("username", username)
    engine.fill("password", account["password"])
    engine.tap("main button[type=submit]")
    page("2-ownership", "Whose device is this?")
    engine.tap("button[value=employee]")
    page("3-privacy", "What IT can and cannot see")
    engine.tap("button[name=acknowledge]")
    page("4-passcode", "Enter the passcode from the e-mail")
    engine.fill("passcode", invitation["passcode"])
    engine.tap("button[form=enter]")
    page("5-overview", "Three things happen now")
    engine.tap("button[name=continue]")
    page("6-terms", "License terms")
    ended = engine.ending_with(lambda: engine.tap("button[name=accept]"), DEVICE_SCHEME)
    token = parse_qs(urlsplit(ended).query)["access-token"][0]
    settings_app.phone.account, settings_app.phone.token = identifier, token
    payload = settings_app.phone.open_profile(settings_app.fetch_profile(base_url, token))
    settings_app.phone.obtain_identity(payload)
    settings_app.phone.authenticate()
    settings_app.phone.token_update()
    assert cast.status(invitation)["status"] == "enrolled"
    return token


@needs_chromium
def test_the_web_view_of_settings_in_chromium(cast):
    with engines.chromium(MODELS[18].user_agent()) as engine:
        walk_web_view(engine, cast, "employee4")
        assert [each for each in engine.problems if "ERR_UNKNOWN_URL_SCHEME" not in each] == []


@needs_webkit
def test_the_web_view_of_settings_in_webkit(cast):
    with engines.webkit("light") as engine:
        walk_web_view(engine, cast, "employee4")


@needs_chromium
@pytest.mark.parametrize(("ios", "may_copy"), [(18, True), (26, False)])
def test_finishing_in_settings(cast, ios, may_copy):
    """From the link in Safari to Settings, with the page in Safari seeing the device arrive.

    Where nothing may be copied for them, the account is selected.
    """
    username = "employee2"
    account, invitation = cast.accounts[username], cast.invite(username)
    identifier = account["managed_apple_account"]
    model = MODELS[ios]
    safari = Employee(cast.server.url, user_agent=model.user_agent())
    credentials = (username, account["password"], lambda: invitation["passcode"])
    with engines.chromium(model.user_agent()) as engine:
        if may_copy:
            engine.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        engine.open(invitation["url"])
        engine.fill("username", username)
        engine.fill("password", account["password"])
        engine.tap("main button[type=submit]")
        for button in ("button[value=employee]", "button[name=acknowledge]"):
            engine.tap(button)
        engine.fill("passcode", invitation["passcode"])
        engine.tap("button[form=enter]")
        engine.wait_for_heading("Three things happen now")
        engine.picture("5-overview-settings")
        for button in ("button[name=continue]", "button[name=accept]"):
            engine.tap(button)
        engine.wait_for_heading("Finish in Settings")
        engine.picture("7-settings")
        engine.tap("[data-copy=account]")
        told = "Copied" if may_copy else "Copy"
        engine.page.locator("[data-copy=account]", has_text=re.compile(f"^{told}$")).wait_for()
        taken = "navigator.clipboard.readText()" if may_copy else "getSelection().toString()"
        assert engine.run(f"return {taken}") == identifier
        settings_app = SettingsApp(IPhone(model=model))
        base_url = settings_app.discover(identifier, cast.server.url)
        token = settings_app.ask_owner(
            settings_app.begin(base_url), identifier, lambda url: safari.walk_web_view(url, *credentials)
        )
        phone = settings_app.phone
        phone.account, phone.token = identifier, token
        payload = phone.open_profile(settings_app.fetch_profile(base_url, token))
        engine.wait_for_heading("Waiting for your device")  # by itself
        engine.picture("8-waiting-settings")
        phone.obtain_identity(payload)
        phone.authenticate()
        phone.token_update()
        engine.wait_for_heading("You are ready for work")
        assert engine.problems == []


@needs_chromium
def test_another_account_than_ones_own_in_the_web_view(cast):
    account = cast.accounts["employee1"]
    with engines.chromium(MODELS[18].user_agent()) as engine:
        engine.open(f"{cast.server.url}/apple/sign-in?user-identifier=employee2@work.example")
        engine.fill("username", "employee1")
        engine.fill("password", account["password"])
        engine.tap("main button[type=submit]")
        engine.wait_for_heading("That account is not yours")
        engine.picture("error-wrong-account")


@needs_chromium
def test_the_admin_s_page_of_settings_enrollment(cast):
    account = cast.accounts["admin1"]
    with engines.chromium() as engine:
        engine.open(f"{cast.server.url}/staff/sign-in")
        engine.fill("username", "admin1")
        engine.fill("password", account["password"])
        engine.fill("code", pyotp.TOTP(account["totp_secret"]).now())
        engine.tap("main button[type=submit]")
        engine.wait_for_heading("Enrollment requests")
        engine.tap("text=Settings")
        engine.wait_for_heading("Settings")
        engine.tap("text=Service discovery")
        engine.wait_for_heading("Service discovery")
        engine.picture("admin-discovery")
        for server in ("apache", "iis", "cloudflare", "static"):
            engine.open(f"{cast.server.url}/admin/discovery?server={server}")
            engine.check_page()
        assert engine.problems == []
