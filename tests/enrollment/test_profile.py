"""The profile's content, key by key."""

import plistlib
import uuid

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from portal.enrollment import profile as profiles
from portal.pki import cms
from tests.factories import Company
from tests.pages import BASE, Browser

FORBIDDEN_ANYWHERE = {"AccessRights", "PayloadRemovalDisallowed", "EnrollmentMode", "AssignedManagedAppleID"}


@pytest.fixture
def signed(browser, company):
    return browser.walk_to("profile", company.invite(company.person())).download()


@pytest.fixture
def profile(signed):
    return plistlib.loads(cms.verify(signed).content, fmt=plistlib.FMT_XML)


def payload(profile, kind):
    return next(each for each in profile["PayloadContent"] if each["PayloadType"] == kind)


def test_the_top_level_says_what_it_is_and_asks_for_consent(profile):
    assert profile["PayloadType"] == "Configuration"
    assert profile["PayloadVersion"] == 1
    assert profile["PayloadOrganization"] == "Example Company"
    assert profile["PayloadIdentifier"] == "com.example.enrollment"
    assert profile["TargetDeviceType"] == 1
    assert "cannot see your personal apps" in profile["ConsentText"]["default"]
    assert {"default", "en", "de"} == set(profile["ConsentText"])


def test_the_mdm_payload_is_a_user_enrollment(profile, app):
    mdm = payload(profile, "com.apple.mdm")
    assert mdm["ManagedAppleID"] == "erika@work.example.com"
    assert mdm["ServerURL"] == "https://portal.example.com/mdm/connect"
    assert mdm["CheckInURL"] == "https://portal.example.com/mdm/checkin"
    assert mdm["Topic"].startswith("com.apple.mgmt.")
    assert mdm["SignMessage"] is True
    assert mdm["CheckOutWhenRemoved"] is True
    assert mdm["IdentityCertificateUUID"] == payload(profile, "com.apple.security.scep")["PayloadUUID"]
    assert not FORBIDDEN_ANYWHERE & (set(profile) | set(mdm))


def test_the_scep_payload_is_for_this_download_alone(profile, portal, company):
    scep = payload(profile, "com.apple.security.scep")["PayloadContent"]
    assert scep["URL"] == "https://portal.example.com/scep"
    assert (scep["Keysize"], scep["Key Type"], scep["Key Usage"]) == (2048, "RSA", 5)
    assert scep["KeyIsExtractable"] is False
    assert scep["AllowAllAppsAccess"] is False
    assert scep["CAFingerprint"] == portal.authority.ca.certificate.fingerprint(hashes.SHA1())
    assert len(scep["Challenge"]) >= 22


def test_every_payload_has_its_own_identifier_and_uuid(profile):
    payloads = [profile, *profile["PayloadContent"]]
    for key in ("PayloadIdentifier", "PayloadUUID"):
        assert len({each[key] for each in payloads}) == len(payloads)
    for each in payloads:
        uuid.UUID(each["PayloadUUID"])


def test_the_demos_root_comes_last_and_verifies_the_signature(profile, signed, portal):
    root = profile["PayloadContent"][-1]
    assert root["PayloadType"] == "com.apple.security.root"
    assert root["PayloadContent"] == portal.authority.ca.certificate.public_bytes(Encoding.DER)
    cms.verify_chain(cms.verify(signed).certificates, portal.authority.ca.certificate)


def test_two_downloads_share_no_secret_and_no_uuid(browser, company):
    browser.walk_to("profile", company.invite(company.person()))
    first, second = (plistlib.loads(cms.verify(browser.download()).content) for _ in range(2))
    assert first["PayloadUUID"] != second["PayloadUUID"]
    challenges = {payload(each, "com.apple.security.scep")["PayloadContent"]["Challenge"] for each in (first, second)}
    assert len(challenges) == 2


def test_a_profile_without_managed_apple_account_cannot_be_built(portal):
    contents = profiles.Contents(
        "id", "com.example", "Example", "n", "d", {}, "", portal.backend.management(""), "u", "c",
        portal.authority.ca.certificate,
    )  # fmt: skip
    with pytest.raises(ValueError, match="whole device"):
        profiles.build(contents)


def signing_files(portal, folder):
    signer = portal.authority.signer
    chain = signer.certificate.public_bytes(Encoding.PEM) + portal.authority.ca.certificate.public_bytes(Encoding.PEM)
    (folder / "chain.pem").write_bytes(chain)
    key = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "signer.key").write_bytes(key)


def test_a_configured_chain_signs_with_its_intermediates_and_without_the_root_payload(make_app, portal, tmp_path):
    signing_files(portal, tmp_path)
    options = {"lifetime_minutes": 8, "certificate_days": 365}
    files = {"signing_certificate": str(tmp_path / "chain.pem"), "signing_key": str(tmp_path / "signer.key")}
    app = make_app(profile={**options, **files})
    company = Company(app.extensions["portal"])
    signed = Browser(app).walk_to("profile", company.invite(company.person())).download()
    assert len(cms.verify(signed).certificates) == 2
    kinds = [each["PayloadType"] for each in plistlib.loads(cms.verify(signed).content)["PayloadContent"]]
    assert "com.apple.security.root" not in kinds


def test_a_profile_that_cannot_be_signed_is_not_sent(make_app, portal, tmp_path):
    signing_files(portal, tmp_path)
    (tmp_path / "signer.key").write_text("broken")
    options = {"lifetime_minutes": 8, "certificate_days": 365}
    files = {"signing_certificate": str(tmp_path / "chain.pem"), "signing_key": str(tmp_path / "signer.key")}
    app = make_app(profile={**options, **files})
    company = Company(app.extensions["portal"])
    invitation = company.invite(company.person())
    browser = Browser(app).walk_to("profile", invitation)
    answer = browser.client.get("/enroll/profile.mobileconfig", base_url=BASE, headers=browser.headers)
    assert answer.status_code == 503
    assert "Nothing you did is lost" in answer.get_data(as_text=True)
    assert company.step(invitation) == "profile"
    assert browser.client.get("/readyz", base_url=BASE).status_code == 503
