"""The way as Apple documents it: posts, profile, check-ins."""

import base64
import plistlib
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from portal.pki import cms
from portal.simulator import scep_client
from portal.simulator.iphone import payload_of
from portal.simulator.model import MODELS
from tests.account_driven.steps import ACCOUNT, enroll, post, rows, signed, token_of, web_view
from tests.factories import BASE, phone_key


@pytest.mark.parametrize("ios", MODELS)
def test_an_iphone_enrolls_from_settings(app, company, invitation, ios):
    phone_ = enroll(app, invitation, ios=ios).phone
    device = company.device(invitation)
    assert company.status(invitation) == "enrolled"
    assert (device.way, device.os_version) == ("account", MODELS[ios].os_version)
    kinds = [kind for kind, _ in company.events(invitation)]
    for kind in ("sign_in.accepted", "privacy.acknowledged", "passcode.verified", "terms.accepted", "profile.issued",
                 "profile.downloaded", "certificate.issued", "device.authenticated", "device.enrolled"):  # fmt: skip
        assert kinds.count(kind) == 1, kind
    assert phone_.connect() == []
    phone_.remove()
    assert company.status(invitation) == "removed"


def test_the_first_post_is_answered_with_the_challenge_and_stores_nothing(app, portal, company):
    company.person()
    before = rows(portal)
    answer = post(app, signed())
    assert (answer.status_code, answer.data) == (401, b"")
    challenge = answer.headers["WWW-Authenticate"]
    found = re.fullmatch(
        r'Bearer method="apple-as-web", url="(https://portal\.example\.com/apple/sign-in/[^"?]+)"', challenge
    )
    assert found
    assert web_view(app, found[1]).heading == "Sign in to begin"
    assert rows(portal) == before


def test_the_profile_is_for_account_driven_enrollment_only(app, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    profile = plistlib.loads(cms.verify(settings_app.fetch_profile(base_url, token)).content)
    mdm = payload_of(profile, "com.apple.mdm")
    assert (mdm["EnrollmentMode"], mdm["AssignedManagedAppleID"]) == ("BYOD", ACCOUNT)
    assert not {"ManagedAppleID", "AccessRights"} & set(mdm)
    # Opened in Safari it would be something else: the token is no ticket for a download.
    assert app.test_client().get(f"/p/{token}.mobileconfig", base_url=BASE).status_code == 404


def test_the_profile_is_the_same_however_often_it_is_fetched(app, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    assert settings_app.fetch_profile(base_url, token) == settings_app.fetch_profile(base_url, token)


def test_a_check_in_whose_answer_got_lost_can_be_repeated(app, company, invitation, settings_app):
    base_url, token = token_of(settings_app, invitation, app)
    held = settings_app.phone
    held.account, held.token = ACCOUNT, token
    held.obtain_identity(held.open_profile(settings_app.fetch_profile(base_url, token)))
    for _ in range(2):
        held.authenticate()
    assert settings_app.fetch_profile(base_url, token)  # even now, as long as no device is enrolled
    for _ in range(2):
        held.token_update()
    assert company.status(invitation) == "enrolled"


@pytest.mark.parametrize(
    ("info", "status", "reason"),
    [
        ({"PRODUCT": "Mac15,3"}, 403, "only iPhone and iPad"),
        ({"PRODUCT": "AppleTV14,1"}, 403, "only iPhone and iPad"),
        ({"PRODUCT": "iPad14,1"}, 401, ""),
        ({"PRODUCT": None}, 400, "PRODUCT"),
        ({"VERSION": None}, 400, "VERSION"),
        ({"LANGUAGE": None}, 401, ""),
        ({"PRODUCT": 5}, 400, "PRODUCT"),
        # before iOS 17 only the build is told: 18 is iOS 14, 19 is iOS 15, 23 is iOS 26
        ({"OS_VERSION": None, "VERSION": "18H17", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": None}, 403, "iOS 15.0 or later"),
        ({"OS_VERSION": None, "VERSION": "19H386"}, 401, ""),
        ({"OS_VERSION": None, "VERSION": "23A341"}, 401, ""),
        ({"OS_VERSION": None, "VERSION": "mangled", "MDM_CAN_REQUEST_SOFTWARE_UPDATE": None}, 403, "iOS 15.0 or later"),
        ({"OS_VERSION": "15.0"}, 401, ""),
        ({"OS_VERSION": "x" * 40}, 401, ""),
        ({"OS_VERSION": "", "LANGUAGE": ""}, 401, ""),
        ({"UNKNOWN_KEY": {"deep": [1]}}, 401, ""),
    ],
)
def test_what_the_device_says_of_itself_decides(app, company, info, status, reason):
    answer = post(app, signed(**info))
    assert answer.status_code == status
    assert reason in answer.text


def test_an_ios_that_can_update_is_told_to(make_app):
    app = make_app(account_driven={"minimum_ios": "18.3"})
    answer = post(app, signed(OS_VERSION="18.2.1"))
    assert answer.status_code == 403
    assert answer.json["code"] == "com.apple.softwareupdate.required"
    assert answer.json["details"] == {"OSVersion": "18.3"}
    assert post(app, signed(OS_VERSION="18.3")).status_code == 401
    assert post(app, signed(OS_VERSION="26.0")).status_code == 401


def test_identifiers_of_the_hardware_are_dropped(app, company, invitation, caplog):
    caplog.set_level("DEBUG")
    secrets = {
        "UDID": "UDID-NEVER-KEPT",
        "SERIAL": "SERIAL-NEVER-KEPT",
        "IMEI": "IMEI-NEVER-KEPT",
        "MEID": "M-NEVER-KEPT",
    }
    answer = post(app, signed(**secrets))
    assert answer.status_code == 401
    browser = web_view(app, answer.headers["WWW-Authenticate"].split('"')[3])
    browser.sign_in()
    handle = answer.headers["WWW-Authenticate"].split("/sign-in/")[1].removeprefix("h").split(".")[0]
    known = base64.urlsafe_b64decode(handle + "=" * (-len(handle) % 4)).decode("latin-1")
    told = [str(event.detail) for event in company.all_events()]
    assert "NEVER-KEPT" not in known + caplog.text + " ".join(told)


def test_a_device_must_be_made_by_apple_where_that_is_configured(make_app, tmp_path):
    trusted = scep_client.self_signed(x509.Name([]), phone_key())
    roots = tmp_path / "roots.pem"
    roots.write_bytes(trusted.public_bytes(Encoding.PEM))
    app = make_app(account_driven={"device_roots": str(roots)})
    body = plistlib.dumps(MODELS[18].machine_info("en"))
    assert post(app, cms.sign(body, phone_key(), trusted)).status_code == 401
    other = scep_client.self_signed(x509.Name([]), phone_key(1))
    answer = post(app, cms.sign(body, phone_key(1), other))
    assert (answer.status_code, answer.text) == (403, "not signed by a device that Apple made\n")


@pytest.mark.parametrize("body", [b"", b"x", plistlib.dumps({"PRODUCT": "iPhone16,1"}), b"\x30\x80" + b"\x00" * 40],
                         ids=["empty", "garbage", "unsigned", "broken"])  # fmt: skip
def test_what_is_not_signed_is_refused(app, portal, body):
    before = rows(portal)
    assert post(app, body).status_code == 400
    assert rows(portal) == before


def test_a_body_that_was_changed_after_signing_is_refused(app):
    assert post(app, signed().replace(b"iPhone16,1", b"iPhone16,9")).status_code == 400


def test_a_body_of_two_megabytes_is_refused(app):
    assert post(app, b"x" * 2_000_000).status_code == 413


def test_no_part_of_an_address_begins_with_a_dot(app):
    """Proxies commonly refuse files whose names do; a long value is compressed, and then begins like that."""
    for language in ("en", "e" * 30):
        address = post(app, signed(LANGUAGE=language)).headers["WWW-Authenticate"].split('"')[3]
        assert "/." not in address
        assert web_view(app, address).status == 200
