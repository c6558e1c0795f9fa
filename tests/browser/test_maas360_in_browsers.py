"""The pages of a portal that hands people over to MaaS360: for the employee, the helpdesk and admins, with pictures."""

from collections.abc import Iterator

import pyotp
import pytest

from portal.simulator import maas360
from portal.simulator.iphone import IPhone
from portal.simulator.maas360 import FakeMaaS360
from portal.simulator.model import MODELS
from portal.simulator.settings_app import SettingsApp
from tests.backends.maas360.tenancy import IOS_14
from tests.browser import engines
from tests.browser.conftest import needs_chromium
from tests.browser.engines import Engine
from tests.servers import Cast, portal_server


@pytest.fixture(scope="module")
def tenant() -> Iterator[FakeMaaS360]:
    with maas360.serving() as made:
        yield made


@pytest.fixture(scope="module")
def cast(tenant, tmp_path_factory) -> Iterator[Cast]:
    chosen = {f"PORTAL_MAAS360_{key.upper()}": value for key, value in tenant.settings().items()}
    with portal_server(tmp_path_factory.mktemp("maas360"), {"PORTAL_MDM_BACKEND": "maas360", **chosen}) as server:
        yield Cast(server)


def walk(engine: Engine, cast: Cast, username: str, address: str) -> dict[str, str]:
    """Every question, to the page after the terms; the invitation."""
    invitation = cast.invite(username)
    engine.open(address or invitation["url"])
    engine.fill("username", username)
    engine.fill("password", cast.password(username))
    engine.tap("main button[type=submit]")
    for button in ("button[value=employee]", "button[name=acknowledge]"):
        engine.tap(button)
    engine.fill("passcode", invitation["passcode"])
    for button in ("button[form=enter]", "button[name=continue]", "button[name=accept]"):
        engine.tap(button)
    return invitation


@needs_chromium
def test_from_the_last_question_to_the_device_and_what_helpdesk_sees(cast, tenant):
    with engines.chromium(MODELS[18].user_agent()) as engine:
        invitation = walk(engine, cast, "employee1", "")
        engine.wait_for_heading("Set up your device")
        engine.picture("maas360-begin")
        engine.tap("button[name=continue]")
        engine.wait_for_heading("Your device cannot be set up yet")
        engine.picture("maas360-unknown")
        tenant.add_user(cast.accounts["employee1"]["managed_apple_account"])
        engine.tap("main a.button")
        engine.tap("button[name=continue]")
        engine.wait_for_heading("Finish in Settings")
        engine.picture("maas360-settings")
        tenant.enroll(cast.accounts["employee1"]["managed_apple_account"])
        engine.wait_for_heading("You are ready for work")
        assert [each for each in engine.problems if "status of 403" not in each] == []
    _staff(cast, invitation)


@needs_chromium
def test_an_older_iphone_is_led_to_maas360_in_safari(cast, tenant):
    tenant.add_user(cast.accounts["employee2"]["managed_apple_account"])
    with engines.chromium(IOS_14) as engine:
        walk(engine, cast, "employee2", "")
        engine.tap("button[name=continue]")
        engine.wait_for_heading("Finish in MaaS360")
        engine.picture("maas360-safari")
        assert engine.problems == []


@needs_chromium
def test_who_begins_in_settings_is_told_to_sign_in_once_more(cast, tenant):
    account = cast.accounts["employee4"]["managed_apple_account"]
    tenant.add_user(account)
    settings_app = SettingsApp(IPhone(model=MODELS[18]))
    begun = settings_app.begin(settings_app.discover(account, cast.server.url))
    with engines.chromium(MODELS[18].user_agent()) as engine:
        walk(engine, cast, "employee4", f"{begun['url']}?user-identifier={account}")
        engine.wait_for_heading("Now once more")
        engine.picture("maas360-once-more")
        assert engine.problems == []
    assert settings_app.discover(account, cast.server.url) == tenant.settings()["discovery_url"]


def _staff(cast: Cast, invitation: dict[str, str]) -> None:
    admin = next(each for each in cast.accounts.values() if each["role"] == "admin")
    device = cast.status(invitation)["device"]
    with engines.chromium() as engine:
        engine.open(f"{cast.server.url}/staff/sign-in")
        engine.fill("username", admin["username"])
        engine.fill("password", admin["password"])
        engine.fill("code", pyotp.TOTP(admin["totp_secret"]).now())
        engine.tap("main button[type=submit]")
        engine.wait_for_heading("Enrollment requests")
        for path, heading, name in (
            (f"/helpdesk/devices/{device['id']}", "iPhone 14 · Demo Employee One", "maas360-device"),
            ("/admin/device-management", "Device management", "maas360-device-management"),
            ("/admin/settings/maas360", "MaaS360", "maas360-admin"),
        ):
            engine.open(cast.server.url + path)
            engine.wait_for_heading(heading)
            engine.picture(name, desk=True)
        assert engine.problems == []
