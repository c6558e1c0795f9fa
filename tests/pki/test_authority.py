"""The portal's CA: what it issues, what it can never vouch for, how it is kept."""

import ipaddress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select

from portal import installation
from portal.models import PortalState
from portal.pki import cms
from portal.pki.authority import CertificateRejected
from tests.factories import phone_key


def test_the_root_cannot_vouch_for_any_website(portal):
    constraints = portal.authority.ca.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert x509.DNSName("") in constraints.value.excluded_subtrees
    assert x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")) in constraints.value.excluded_subtrees


def test_an_identity_is_for_client_authentication_only(portal, clock):
    certificate = portal.authority.issue(phone_key().public_key(), "abc", "Example", 30, clock())
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "abc"
    portal.authority.check(certificate, clock())


def test_certificates_out_of_date_or_of_another_ca_are_rejected(portal, clock):
    certificate = portal.authority.issue(phone_key().public_key(), "abc", "Example", 30, clock())
    with pytest.raises(CertificateRejected, match="out_of_date"):
        portal.authority.check(certificate, clock() + timedelta(days=31))
    foreign = portal.authority.signer.certificate
    key = phone_key(1)
    self_signed = (
        x509.CertificateBuilder()
        .subject_name(foreign.issuer)
        .issuer_name(foreign.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(clock())
        .not_valid_after(clock() + timedelta(days=1))
    )
    with pytest.raises(CertificateRejected, match="foreign"):
        portal.authority.check(self_signed.sign(key, hashes.SHA256()), clock())


def test_clocks_two_minutes_apart_reject_nothing(portal, clock):
    certificate = portal.authority.issue(phone_key().public_key(), "abc", "Example", 30, clock())
    portal.authority.check(certificate, clock() - timedelta(minutes=2))


def test_private_keys_are_stored_sealed(portal, session):
    for state in session.scalars(select(PortalState).where(PortalState.sealed.is_not(None))):
        assert b"PRIVATE" not in state.sealed
        assert not state.sealed.startswith(b"\x30")
        assert "PRIVATE" not in (state.value or "")


def test_nothing_outlives_the_ca(portal, clock):
    ends = portal.authority.ca.certificate.not_valid_after_utc
    issued = portal.authority.issue(phone_key(1).public_key(), "x", "Example Company", 5000, clock())
    assert issued.not_valid_after_utc == ends


def test_the_profile_signer_is_renewed_at_a_start_within_its_last_year(portal, clock, browser, company):
    first = portal.authority.signer.certificate
    installation.setup(portal)
    assert portal.authority.signer.certificate == first
    clock.forward(days=500)
    installation.setup(portal)
    portal.forget()
    second = portal.authority.signer.certificate
    assert second != first
    assert second.not_valid_after_utc - clock() > timedelta(days=800)
    second.verify_directly_issued_by(portal.authority.ca.certificate)
    signed = browser.walk_to("profile", company.invite(company.person())).download()
    assert cms.verify(signed).signer == second
    assert [event.kind for event in company.all_events()].count("signer.renewed") == 1
