"""Identities for work from the portal's own authority: issued by a policy, for one device, and revoked with it."""

import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select

from portal.declarations import addresses
from portal.enrollment import management
from portal.models import AuditEvent, WorkCertificate
from portal.policies import accepting, own_authority
from portal.policies.content import new_part
from portal.simulator import scep_client
from portal.simulator.scep_client import InstallationFailed
from portal.storage import work_certificates
from portal.storage.cases import Cases
from portal.web.apple import work_scep
from tests.factories import BASE, phone_key
from tests.pages import Browser
from tests.policies.conftest import wifi

SCEP = "com.apple.security.scep"


def identity(**more):
    """A part that asks the portal itself."""
    content = {"URL": "portal", "Keysize": 2048, "Key Usage": 5,
               "Subject": [[["O", "Example"]], [["CN", "{username}"]]],
               "SubjectAltName": {"rfc822Name": "{email}"}}  # fmt: skip
    return new_part(SCEP, {"PayloadContent": content | more})


@pytest.fixture(autouse=True)
def always_looked(monkeypatch, portal):
    monkeypatch.setattr(portal.work_revocations, "seconds", 0.0)


@pytest.fixture
def given(held_policies, enrolled):
    """Two people whose iPhones have one identity each, used by a Wi-Fi network."""
    part = identity()
    by_it = wifi("Secure", "", EncryptionType="None", PayloadCertificateUUID=part.uuid)
    policy = held_policies.make("Secure Wi-Fi", part, by_it)
    phones = {name: enrolled(name, number) for number, name in enumerate(("erika", "max"))}
    return held_policies, policy, part, phones


def held_by(phone, part):
    return phone.declared.identities[part.uuid].certificate


def revoked(app):
    """The serial numbers on the list, which its authority signed."""
    client = app.test_client()
    ca = x509.load_der_x509_certificate(client.get("/work-ca.cer", base_url=BASE).data)
    told = x509.load_der_x509_crl(client.get("/work-ca.crl", base_url=BASE).data)
    assert told.is_signature_valid(ca.public_key())
    return {each.serial_number for each in told}


def test_who_begins_anew_has_none_of_what_was_issued_before(given, app):
    _, _, part, phones = given
    phone, _ = phones["erika"]
    issued = held_by(phone, part).serial_number
    phone.authenticate()
    assert revoked(app) == {issued}


def test_an_identity_is_revoked_with_its_policy_however_often_its_device_begins_anew(
    held_policies, enrolled, app, session
):
    part = identity()
    by_it = wifi("Secure", "", EncryptionType="None", PayloadCertificateUUID=part.uuid)
    policy = held_policies.make("Secure Wi-Fi", part, by_it)
    old_ios, _ = enrolled("erika", 0, ios="14.8")
    held_policies.round()
    old_ios.connect()
    issued = int(session.scalars(select(WorkCertificate.serial)).one(), 16)
    old_ios.authenticate()  # once more, and then nothing
    held_policies.audience(policy)  # nobody gets it any more
    held_policies.round()
    assert revoked(app) == {issued}


def test_each_device_gets_one_of_its_own_for_whom_it_is(given, app):
    held_policies, policy, part, phones = given
    found = {name: held_by(phone, part) for name, (phone, _) in phones.items()}
    assert held_policies.states(phones["erika"][1]) == {policy: ("applied", None)}
    certificate = found["erika"]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "erika"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["erika@example.com"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name[0].value == f"{BASE}/work-ca.crl"
    ca = x509.load_der_x509_certificate(app.test_client().get("/work-ca.cer", base_url=BASE).data)
    certificate.verify_directly_issued_by(ca)
    assert found["max"].serial_number != certificate.serial_number
    assert revoked(app) == set()


def test_the_trail_says_that_it_was_issued(given, company):
    with company.portal.database.session() as session:
        kinds = session.scalars(select(AuditEvent.kind).where(AuditEvent.kind == "work.identity")).all()
    assert len(kinds) == 2


def test_it_never_speaks_for_a_device(given, app, company):
    _, _, part, phones = given
    held, _ = phones["erika"]
    with pytest.raises(ValueError, match=r"Issuer name|not match|subject"):
        held_by(held, part).verify_directly_issued_by(company.portal.authority.ca.certificate)
    body = b"<plist/>"
    held.identity = held.declared.identities[part.uuid]
    answer = app.test_client().put(
        "/mdm/connect", data=body, headers={"Mdm-Signature": held.signature(body)}, base_url=BASE
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("way", ["policy", "leaves", "audience"])
def test_it_is_revoked_when_it_is_over(given, app, company, way):
    held_policies, policy, part, phones = given
    held, _ = phones["erika"]
    serials = {held_by(phone, part).serial_number for phone, _ in phones.values()}
    if way == "leaves":
        held.remove()
        assert revoked(app) == {held_by(held, part).serial_number}
        return
    if way == "policy":
        held_policies.publish(policy, wifi("Open"))
    else:
        held_policies.audience(policy)
    held_policies.round()
    assert revoked(app) == serials


def test_it_is_renewed_in_time_and_the_old_one_revoked(given, app, clock):
    held_policies, policy, part, phones = given
    held, device = phones["erika"]
    first = held_by(held, part)
    assert first.not_valid_after_utc - clock() == timedelta(days=own_authority.VALID_DAYS)
    clock.forward(days=299)
    held_policies.round()
    held.connect()
    assert held_by(held, part) == first
    clock.forward(days=2)
    assert held_policies.round()[1] == 2
    held.connect()
    assert held_by(held, part) != first
    assert revoked(app) == {first.serial_number}
    assert held_policies.states(device) == {policy: ("applied", None)}


def settings_of(given, name):
    """The SCEP settings in the profile that somebody's phone got last."""
    _, policy, _, phones = given
    payloads = phones[name][0].declared.profiles[f"policy.{policy}"]["profile"]["PayloadContent"]
    return next(each["PayloadContent"] for each in payloads if each["PayloadType"] == SCEP)


def test_a_challenge_is_for_one_request_one_device_and_an_hour(given, clock):
    held, device = given[3]["erika"]
    settings = settings_of(given, "erika")
    assert len(settings["Challenge"]) <= 255
    other = phone_key(3)
    with pytest.raises(InstallationFailed, match="SCEP refused"):  # used by the phone already
        scep_client.obtain(held.http, settings, other)
    vault = given[0].portal.vault
    reference = addresses.read(vault, settings["Challenge"], clock())
    assert reference.device_id == device
    forged = settings | {"Challenge": settings["Challenge"][:-2] + "xx"}
    with pytest.raises(InstallationFailed, match="SCEP refused"):
        scep_client.obtain(held.http, forged, other)
    fresh = settings | {"Challenge": addresses.sign(vault, reference, clock() + timedelta(seconds=5))}
    clock.forward(hours=2)
    with pytest.raises(InstallationFailed, match="SCEP refused"):
        scep_client.obtain(held.http, fresh, other)


def test_the_same_request_gets_the_same_again_and_its_subject_does_not_count(given, clock, portal):
    held, device = given[3]["erika"]
    settings = settings_of(given, "erika")
    reference = addresses.read(portal.vault, settings["Challenge"], clock())
    fresh = settings | {
        "Challenge": addresses.sign(portal.vault, reference, clock() + timedelta(seconds=5)),
        "Subject": [[["CN", "the boss"]]],
    }
    made = [scep_client.obtain(held.http, fresh, phone_key(3)).certificate for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "erika"
    with portal.database.session() as session:
        theirs = session.scalars(select(WorkCertificate).where(WorkCertificate.device_id == device)).all()
        living = [each for each in theirs if each.revoked_at is None]
        assert len(living) == 1
        assert len(work_certificates.revoked(session, clock())) == 1


def test_an_address_of_a_profile_is_no_challenge_and_the_other_way_round(given, app, clock, portal):
    held, _ = given[3]["erika"]
    settings = settings_of(given, "erika")
    assert app.test_client().get(f"/mdm/declared/{settings['Challenge']}", base_url=BASE).status_code == 404
    url = held.declared.held["configuration", f"policy.{given[1]}"]["Payload"]["ProfileURL"]
    with pytest.raises(InstallationFailed, match="SCEP refused"):
        scep_client.obtain(held.http, settings | {"Challenge": url.rpartition("/")[2]}, phone_key(3))


def test_who_is_disabled_or_lost_the_policy_gets_none(given, clock, portal):
    held_policies, policy, _, phones = given
    held, _ = phones["erika"]
    settings = settings_of(given, "erika")
    reference = addresses.read(portal.vault, settings["Challenge"], clock())
    held_policies.audience(policy)
    fresh = settings | {"Challenge": addresses.sign(portal.vault, reference, clock())}
    with pytest.raises(InstallationFailed, match="SCEP refused"):
        scep_client.obtain(held.http, fresh, phone_key(3))


@pytest.mark.each_database
def test_an_old_ios_gets_it_too(held_policies, enrolled, app):
    part = identity()
    policy = held_policies.make("Identity", part)
    _held, device = enrolled(ios="14.8")
    assert held_policies.states(device) == {policy: ("applied", None)}
    with held_policies.portal.database.session() as session:
        assert len(session.scalars(select(WorkCertificate)).all()) == 1


def test_an_admin_reads_where_the_network_finds_it_and_it_is_there_at_once(held_policies, app, company, clock):
    policy = held_policies.make("Basics", wifi())
    company.person("ada", "admin")
    admin = Browser(app).staff_sign_in("ada", clock())
    address = f"/admin/policies/{policy}/parts/new/{SCEP}"
    admin.get(address)
    assert f"{BASE}/work-ca.cer" in admin.text
    assert f"{BASE}/work-ca.crl" in admin.text
    admin.post(address, admin.filled())
    assert "Saved as a draft" in admin.text
    assert revoked(app) == set()


def test_nothing_is_there_before_anybody_needs_it(app):
    for path in ("/scep/work?operation=GetCACaps", "/work-ca.crl", "/work-ca.cer"):
        assert app.test_client().get(path, base_url=BASE).status_code == 404


def test_a_subject_of_several_parts_without_what_it_cannot_say():
    subject = [[["X", "odd"]], [["CN", "first.last"]], [["O", "Ü"], ["OU", "Ö"]]]
    values = {"PayloadContent": {"Subject": subject, "SubjectAltName": {"rfc822Name": ["a@example.com"]}}}
    names = own_authority.names(values)
    assert (names.subject.rfc4514_string(), names.emails) == ("O=Ü+OU=Ö,CN=first.last", ("a@example.com",))
    assert own_authority.names({}).subject.public_bytes()


@pytest.mark.parametrize(
    "content",
    [
        {"Subject": [[["CN", "a" * 65]]]},
        {"Subject": [[["CN", "ß" * 33]]]},
        {"Subject": [[["2.5.4.5", "ü"]]]},
        {"SubjectAltName": {"rfc822Name": "Erika <erika@example.com>"}},
        {"SubjectAltName": {"rfc822Name": "ü@example.com"}},
    ],
)
def test_what_no_certificate_can_say_is_refused_and_never_shortened(content):
    part = identity(**content)
    with pytest.raises(ValueError):  # noqa: PT011
        own_authority.names(part.values)
    assert not accepting.usable(accepting.problems([part]))


def test_a_name_that_no_certificate_can_hold_fails_for_that_person_alone(held_policies, enrolled, company):
    policy = held_policies.make("Identity", identity(Subject=[[["CN", "{name}"]]]))
    _held, device = enrolled(person=company.person("long", name="ß" * 40))
    _other, fine = enrolled("max", 1)
    assert held_policies.states(device)[policy][0] == "failed"
    assert held_policies.states(fine) == {policy: ("applied", None)}


@pytest.mark.each_database
def test_openssl_believes_it_whatever_the_person_is_called(held_policies, enrolled, company, app, tmp_path):
    part = identity()
    held_policies.make("Identity", part)
    held, _ = enrolled(person=company.person("erika.muster"))
    paths = [tmp_path / name for name in ("ca.pem", "leaf.pem", "crl.pem")]
    client = app.test_client()
    ca = x509.load_der_x509_certificate(client.get("/work-ca.cer", base_url=BASE).data)
    told = x509.load_der_x509_crl(client.get("/work-ca.crl", base_url=BASE).data)
    for path, each in zip(paths, (ca, held_by(held, part), told), strict=True):
        path.write_bytes(each.public_bytes(Encoding.PEM))
    now = str(int(held_policies.ticks().timestamp()))
    command = ["openssl", "verify", "-purpose", "sslclient", "-crl_check", "-attime", now,
               "-CAfile", paths[0], "-CRLfile", paths[2], paths[1]]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("way", ["asked", "disabled"])
def test_who_is_on_the_way_out_is_on_the_list_before_the_phone_comes(given, app, portal, company, way, clock):
    held, device = given[3]["erika"]
    with portal.database.transaction() as session:
        case = Cases(session, portal).of_device(device)
        if way == "asked":
            management.remove_work_data(case, case.device.called, "helpdesk:test")
        else:
            case.request.person.disabled_at = clock()
    assert revoked(app) == {held_by(held, given[2]).serial_number}


def test_the_list_is_looked_at_no_more_often_than_that_whoever_asks(given, app, portal, monkeypatch):
    held, _ = given[3]["erika"]
    assert revoked(app) == set()
    monkeypatch.setattr(portal.work_revocations, "seconds", 1000.0)
    held.remove()
    assert revoked(app) == set()
    monkeypatch.setattr(portal.work_revocations, "seconds", 0.0)
    assert revoked(app) == {held_by(held, given[2]).serial_number}


def test_a_device_gets_no_more_than_some_a_day(given, clock, portal):
    held, _ = given[3]["erika"]
    settings = settings_of(given, "erika")
    reference = addresses.read(portal.vault, settings["Challenge"], clock())
    made = 0
    for number in range(work_scep.MOST_A_DAY + 2):
        fresh = settings | {
            "Challenge": addresses.sign(portal.vault, reference, clock() + timedelta(seconds=number + 1))
        }
        try:
            scep_client.obtain(held.http, fresh, phone_key(3))
            made += 1
        except InstallationFailed:
            pass
    assert made == work_scep.MOST_A_DAY - 1  # the phone has one already


def test_the_fingerprint_is_that_of_the_authority(given, app):
    ca = x509.load_der_x509_certificate(app.test_client().get("/work-ca.cer", base_url=BASE).data)
    assert settings_of(given, "erika")["CAFingerprint"] == ca.fingerprint(hashes.SHA1())
