"""The enrollment profile: building the plist (pure), issuing it to the browser that earned it, serving its bytes.

It is made for one of two ways: downloaded in Safari (ManagedAppleID makes it a user enrollment), or fetched by Settings
(EnrollmentMode BYOD does). One is never handed out as the other.

Facts: Apple's com.apple.mdm and com.apple.security.scep payloads, release iOS 18.1 of the published schema.
"""

import hashlib
import plistlib
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from portal.apple_business.vouching import CAPABILITY
from portal.enrollment import journey
from portal.enrollment.case import Case
from portal.enrollment.errors import NoManagedAppleAccount, ProfileUnavailable, RequestEnded, StepOutOfOrder
from portal.enrollment.journey import Step, Way
from portal.events import Actor, Event
from portal.models import IssuedProfile, new_id
from portal.pki import cms, scep
from portal.pki.authority import Authority, Identity
from portal.settings import Settings
from portal.vault import token_hash

MEDIA_TYPE = "application/x-apple-aspen-config"
SECRET_BYTES = 24
ONLY_THIS_DEVICE = 1
"""TargetDeviceType: iPhone and iPad, so that no "which device?" is asked."""


class ProfileNotSigned(Exception):
    """The profile cannot be signed (wrong certificate or key configured): it is not sent."""


@dataclass(frozen=True, slots=True)
class Management:
    """Where a profile sends the device: both addresses https, the topic ``com.apple.mgmt...``."""

    server_url: str
    checkin_url: str
    topic: str


@dataclass(frozen=True)
class Contents:
    """What goes into one profile."""

    profile_id: str
    identifier: str
    organization: str
    display_name: str
    description: str
    consent: Mapping[str, str]
    managed_apple_account: str
    management: Management
    scep_url: str
    challenge: str
    ca: x509.Certificate
    root: x509.Certificate | None = None
    way: Way = Way.PROFILE
    vouches: bool = False
    """Devices may ask for a token when their owner signs in with the account."""


def build(contents: Contents) -> bytes:
    """The unsigned XML plist. Raises ValueError without a Managed Apple Account: that would be a device enrollment."""
    if not contents.managed_apple_account:
        raise ValueError("a profile without a Managed Apple Account would enroll the whole device")
    scep = _scep_payload(contents)
    payloads = [scep, _mdm_payload(contents, str(scep["PayloadUUID"]))]
    if contents.root is not None:
        payloads.append(_root_payload(contents))
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": contents.identifier,
            "PayloadUUID": _uuid(),
            "PayloadDisplayName": contents.display_name,
            "PayloadDescription": contents.description,
            "PayloadOrganization": contents.organization,
            "TargetDeviceType": ONLY_THIS_DEVICE,
            "ConsentText": dict(contents.consent),
            "PayloadContent": payloads,
        }
    )


def _scep_payload(contents: Contents) -> dict[str, object]:
    return _payload(contents, "com.apple.security.scep", "scep", "Identity certificate") | {
        "PayloadContent": {
            **scep.client_settings(contents.scep_url, contents.challenge, scep.fingerprint_of(contents.ca)),
            "Name": contents.organization,
            "Subject": [[["O", contents.organization]], [["CN", contents.profile_id]]],
            "Retries": 3,
            "RetryDelay": 5,
            "KeyIsExtractable": False,
            "AllowAllAppsAccess": False,
        }
    }


def _mdm_payload(contents: Contents, identity_uuid: str) -> dict[str, object]:
    # AccessRights is left out, always: its presence can cancel a user enrollment.
    if contents.way is Way.ACCOUNT:
        user_enrollment = {"EnrollmentMode": "BYOD", "AssignedManagedAppleID": contents.managed_apple_account}
    else:
        user_enrollment = {"ManagedAppleID": contents.managed_apple_account}
    return _payload(contents, "com.apple.mdm", "mdm", "Device management") | {
        **user_enrollment,
        "IdentityCertificateUUID": identity_uuid,
        "Topic": contents.management.topic,
        "ServerURL": contents.management.server_url,
        "CheckInURL": contents.management.checkin_url,
        "SignMessage": True,
        "CheckOutWhenRemoved": True,
        **({"ServerCapabilities": [CAPABILITY]} if contents.vouches else {}),
    }


def _root_payload(contents: Contents) -> dict[str, object]:
    assert contents.root is not None
    return _payload(contents, "com.apple.security.root", "root", "Certificate authority") | {
        "PayloadContent": contents.root.public_bytes(Encoding.DER)
    }


def _payload(contents: Contents, kind: str, part: str, name: str) -> dict[str, object]:
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{contents.identifier}.{part}",
        "PayloadUUID": _uuid(),
        "PayloadDisplayName": f"{contents.organization}: {name}",
    }


def _uuid() -> str:
    return str(uuid.uuid4()).upper()


@dataclass(frozen=True)
class ProfileIssuer:
    """What issuing needs besides the request."""

    authority: Authority
    signer: Identity
    management: Callable[[str], Management]
    """By profile id."""
    display_name: str
    description: str
    consent: Mapping[str, str]
    vouches: bool = False
    """Whether the portal answers when Apple asks who manages the device."""


def account_for(case: Case) -> str:
    """That a device may enroll with this case now; the Managed Apple Account with which it does.

    Raises RequestEnded, StepOutOfOrder, and NoManagedAppleAccount (recorded).
    """
    if case.over or case.request.person.disabled_at is not None:
        raise RequestEnded
    if not journey.may_visit(Step.PROFILE, case.facts, case.now):
        raise StepOutOfOrder
    account = case.store.account_of(case.request.person, case.settings)
    if not account:
        case.record(Event.PROFILE_REFUSED, "no_managed_apple_account", actor=Actor.SYSTEM)
        raise NoManagedAppleAccount
    return account


def issue(case: Case, issuer: ProfileIssuer, way: Way = Way.PROFILE, ticket: str = "") -> str:
    """A new profile for the browser that earned it; the one before is dead. Returns its ticket (``ticket``, if given).

    Raises ProfileNotSigned, and what ``account_for`` raises.
    """
    account = account_for(case)
    request, now, rules = case.request, case.now, case.settings
    case.retire_profile("superseded")
    ticket, challenge = ticket or secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    profile_id = new_id()
    signed = _sign(issuer, rules, profile_id, account, challenge, way)
    minutes = rules.account_driven.token_minutes if way is Way.ACCOUNT else rules.profile.lifetime_minutes
    profile = IssuedProfile(
        id=profile_id,
        request_id=request.id,
        ticket_hash=token_hash(ticket),
        challenge_hash=token_hash(challenge),
        way=way.value,
        content_sealed=case.vault.seal(signed),
        issued_at=now,
        expires_at=now + timedelta(minutes=minutes),
    )
    case.store.add(profile)
    request.profile_id = profile_id
    digest = hashlib.sha256(signed).hexdigest()
    case.record(Event.PROFILE_ISSUED, "for_settings" if way is Way.ACCOUNT else None, detail={"sha256": digest})
    return ticket


def _sign(issuer: ProfileIssuer, rules: Settings, profile_id: str, account: str, challenge: str, way: Way) -> bytes:
    own_signer = issuer.signer == issuer.authority.signer
    contents = Contents(
        profile_id=profile_id,
        identifier=rules.enrollment_profile,
        organization=rules.company.name,
        display_name=issuer.display_name,
        description=issuer.description,
        consent=issuer.consent,
        managed_apple_account=account,
        management=issuer.management(profile_id),
        scep_url=rules.url("/scep"),
        challenge=challenge,
        ca=issuer.authority.ca.certificate,
        root=issuer.authority.ca.certificate if own_signer else None,
        way=way,
        vouches=issuer.vouches,
    )
    signer = issuer.signer
    try:
        return cms.sign(build(contents), signer.key, signer.certificate, signer.intermediates)
    except (ValueError, TypeError) as error:
        raise ProfileNotSigned(str(error)) from error


def content(case: Case, way: Way = Way.PROFILE) -> tuple[str, bytes]:
    """(id, signed bytes) of ``case.profile``, if it is of that way; the same for as long as it lives.

    Raises ProfileUnavailable.
    """
    profile = case.profile
    usable = profile is not None and profile.superseded_at is None and case.now < profile.expires_at
    if profile is None or profile.way != way.value or not usable or profile.content_sealed is None:
        raise ProfileUnavailable
    return profile.id, case.vault.open(profile.content_sealed)
