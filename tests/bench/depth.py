"""How many files of the portal a reader opens who follows a request from its view on: those whose functions it runs.

What meets every request before its view (limits, language, who is signed in) is not counted: it is read once for all.
"""

import argparse
import base64
import hmac
import logging
import sys
from collections.abc import Callable

from flask import Flask

from portal import clock
from portal.settings import ROOT
from tests.backends.delegated import SECRET, SETTINGS, token_update
from tests.bench import own
from tests.factories import BASE, Company, phone
from tests.pages import Browser

PORTAL = str(ROOT / "portal") + "/"
EVERYWHERE = (
    "audit/links.py",
    "audit/writing.py",
    "clock.py",
    "settings/live.py",
    "database.py",
    "events.py",
    "extensions.py",
    "models/base.py",
    "services.py",
    "vault.py",
    "web/i18n.py",
    "web/own_texts.py",
    "web/rules.py",
    "web/security.py",
    "web/web_sessions.py",
    "wording.py",
)
"""Read once: services that nearly every view uses."""


def watched(app: Flask, endpoint: str, found: set[str]) -> None:
    """Have ``endpoint`` note every file of the portal that it runs code of."""
    view = app.view_functions[endpoint]

    def note(frame, event: str, _arg: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PORTAL) and frame.f_code.co_name != "<module>":
            found.add(name.removeprefix(PORTAL))

    def traced(**values: object) -> object:
        sys.setprofile(note)
        try:
            return view(**values)
        finally:
            sys.setprofile(None)

    app.view_functions[endpoint] = traced


def paths(app: Flask) -> dict[str, set[str]]:
    """The six requests, each with its files."""
    found: dict[str, set[str]] = {}
    company = Company(app.extensions["portal"])
    company.person("ada", role="admin")
    invitation = company.invite(company.person())
    browser, device = Browser(app), phone(app)
    browser.walk_to("passcode", invitation)

    def trace(name: str, endpoint: str, act: Callable[[], object]) -> None:
        before = app.view_functions[endpoint]
        watched(app, endpoint, found.setdefault(name, set()))
        act()
        app.view_functions[endpoint] = before

    trace("passcode", "employee.passcode", lambda: browser.submit(passcode=invitation.passcode))
    browser.submit(**{"continue": "yes"})
    browser.submit(accept="yes")
    answer = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    fetched: list[bytes] = []
    trace("profile ticket", "safari.ticket", lambda: fetched.append(browser.client.get(answer.location).data))
    payload = device.open_profile(fetched[0])
    device.obtain_identity(payload)
    device.authenticate()
    trace("TokenUpdate", "apple.checkin", device.token_update)
    staff = Browser(app).staff_sign_in("ada", clock.now())
    trace("helpdesk search", "helpdesk.request_list", lambda: staff.get("/helpdesk?q=erika"))
    staff.get("/admin/settings/sms")
    trace("saving a setting", "admin.save_settings", lambda: staff.send(**{"sms.to_field": "number"}))
    return found


def webhook(app: Flask) -> set[str]:
    """The files of a webhook that is stored."""
    found: set[str] = set()
    watched(app, "hooks.nanomdm", found)
    body = token_update("E-1", "reference")
    shown = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha256")).decode()
    headers = {"X-Hmac-Signature": shown}
    answer = app.test_client().post("/hooks/nanomdm", data=body, base_url=BASE, headers=headers)
    assert answer.text == "stored\n", answer.text
    return found


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.depth")
    parser.add_argument("--names", action="store_true", help="name the files")
    options = parser.parse_args()
    with own.portals() as make:
        logging.disable(logging.INFO)
        found = paths(make())
        found["webhook"] = webhook(make(**SETTINGS))
        for name, files in found.items():
            theirs = sorted(files - set(EVERYWHERE))
            print(f"{name:<20}{len(theirs):>3}  (with what every view uses: {len(files)})")
            if options.names:
                print("    " + ", ".join(theirs))


if __name__ == "__main__":
    main()
