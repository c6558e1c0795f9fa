"""Account-driven user enrollment: from Settings, through the web view, to a managed device and beyond."""

import plistlib
import re
from datetime import timedelta

import pytest

from portal.enrollment import access
from portal.pki import cms
from portal.simulator.employee import Stuck
from portal.simulator.iphone import MODELS, InstallationFailed, SignInAgain, Unenrolled, payload_of
from portal.simulator.settings_app import SettingsApp
from tests.factories import BASE, PASSWORD, owner, phone

ACCOUNT = "erika@work.example.com"


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def settings_app(app):
    """The Settings app of an iPhone with iOS 18."""
    return SettingsApp(phone(app, ios=18))


def walking(app, invitation=None, username="erika", passcode=None, employee=None):
    """An owner who answers everything the web view asks."""
    walker = employee or owner(app)
    code = passcode or (lambda: invitation.passcode)
    return lambda url: walker.walk_web_view(url, username, PASSWORD, code)


def enrolled(app, invitation, number=0, ios=18):
    """(Settings app, phone) after an enrollment."""
    settings_app = SettingsApp(phone(app, number, ios))
    settings_app.sign_in(ACCOUNT, walking(app, invitation), BASE)
    return settings_app, settings_app.phone


@pytest.mark.parametrize("ios", MODELS)
def test_an_iphone_enrolls_from_settings(app, company, invitation, ios):
    settings_app = SettingsApp(phone(app, ios=ios))
    settings_app.sign_in(ACCOUNT, walking(app, invitation), BASE)
    device = company.device(invitation)
    assert company.status(invitation) == "enrolled"
    assert (device.way, device.os_version) == ("account", MODELS[ios].os_version)
    kinds = [kind for kind, _ in company.events(invitation)]
    for kind in ("sign_in.accepted", "privacy.acknowledged", "passcode.verified", "terms.accepted", "profile.issued",
                 "profile.downloaded", "certificate.issued", "device.authenticated", "device.enrolled"):  # fmt: skip
        assert kinds.count(kind) == 1, kind
    assert settings_app.phone.connect() == []
    settings_app.phone.remove()
    assert company.status(invitation) == "removed"


def test_the_profile_is_for_account_driven_enrollment_only(app, invitation, settings_app):
    base_url = settings_app.discover(ACCOUNT, BASE)
    token = settings_app.ask_owner(settings_app.begin(base_url), ACCOUNT, walking(app, invitation))
    profile = plistlib.loads(cms.verify(settings_app.fetch_profile(base_url, token)).content)
    mdm = payload_of(profile, "com.apple.mdm")
    assert (mdm["EnrollmentMode"], mdm["AssignedManagedAppleID"]) == ("BYOD", ACCOUNT)
    assert not {"ManagedAppleID", "AccessRights"} & set(mdm)
    # Opened in Safari it would be something else: the token is no ticket for a download.
    assert app.test_client().get(f"/p/{token}.mobileconfig", base_url=BASE).status_code == 404
