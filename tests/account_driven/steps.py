"""What the tests of account-driven enrollment do again and again."""

import plistlib

from cryptography import x509
from sqlalchemy import func, select

from portal.models import Base
from portal.pki import cms
from portal.simulator import scep_client
from portal.simulator.model import MODELS
from portal.simulator.settings_app import SettingsApp
from tests.factories import BASE, PASSWORD, owner, phone, phone_key
from tests.pages import Browser

ACCOUNT = "erika@work.example.com"
IOS_18 = MODELS[18].user_agent()


def walking(app, invitation=None, username="erika", employee=None):
    """An owner who answers everything the web view asks."""
    walker = employee or owner(app)
    return lambda url: walker.walk_web_view(url, username, PASSWORD, lambda: invitation.passcode)


def token_of(settings_app, invitation, app):
    """(BaseURL, access token) at the end of the web view."""
    base_url = settings_app.discover(ACCOUNT, BASE)
    return base_url, settings_app.ask_owner(settings_app.begin(base_url), ACCOUNT, walking(app, invitation))


def enroll(app, invitation, number=0, ios=18):
    """The Settings app of a phone that enrolled."""
    settings_app = SettingsApp(phone(app, number, ios))
    settings_app.sign_in(ACCOUNT, walking(app, invitation), BASE)
    return settings_app


def web_view(app, url, identifier=ACCOUNT):
    """A browser at the beginning of the web view."""
    browser = Browser(app, IOS_18)
    return browser.get(url.removeprefix(BASE) + f"?user-identifier={identifier}")


def rows(portal):
    """How many rows there are in all tables."""
    with portal.database.session() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables
        }


def post(app, body=b"", **headers):
    """One post of Settings."""
    sent = {"Content-Type": "application/pkcs7-signature", "User-Agent": "DeviceManagementClient/1.0", **headers}
    return app.test_client().post("/apple/enroll", data=body, base_url=BASE, headers=sent)


def signed(**info):
    """MachineInfo in a signature, as a phone with iOS 18 would send it unless told otherwise."""
    content = {**MODELS[18].machine_info("en"), **info}
    name = x509.Name([])
    body = plistlib.dumps({key: value for key, value in content.items() if value is not None})
    return cms.sign(body, phone_key(), scep_client.self_signed(name, phone_key()))


def begin(app):
    """The address of the web view."""
    return post(app, signed()).headers["WWW-Authenticate"].split('"')[3]


def raw(held, url, message, body=None, signature=None, token=None):
    """A message of the phone, with parts of it spoilt."""
    body = plistlib.dumps({"EnrollmentID": held.enrollment_id, **message}) if body is None else body
    headers = {"Mdm-Signature": held.signature(body) if signature is None else signature}
    shown = held.token if token is None else token
    if shown:
        headers["Authorization"] = f"Bearer {shown}"
    return held.http.put(held.mdm[url], content=body, headers=headers)
