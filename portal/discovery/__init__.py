"""Service discovery: how an iPhone finds this portal from the domain of a Managed Apple Account.

Facts: Apple, "Implementing the simple authentication account-driven enrollment flow", step 2; the answers' schema is
mdm/errors/well-known.failed.yaml. Nothing is stored when a device asks, and no answer depends on whether an account
exists: only its domain and the kind of device count (but see ``is_handed_over``).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import people
from portal.models import DiscoveryCheck, EnrollmentRequest, IssuedProfile, Person
from portal.people import accounts
from portal.settings import Settings

PATH = "/.well-known/com.apple.remotemanagement"
BASE_PATH = "/apple/enroll"
VERSION = "mdm-byod"
FAMILIES = {"iPhone", "iPad"}
FROM_APPLE = "apple"
"""``via=apple`` in the address registered with Apple Business Manager: Apple matched the account's organization."""
LONGEST_IDENTIFIER = 254


class Refusal(StrEnum):
    """Why a device is sent away."""

    NO_IDENTIFIER = "no-identifier"
    OTHER_DOMAIN = "other-domain"
    OTHER_DEVICE = "other-device"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device asks with; empty strings for what it left out."""

    identifier: str
    family: str
    via: str = ""


def judge(asked: Asked, domains: frozenset[str]) -> Refusal | None:
    """None if the device may enroll here."""
    if asked.family and asked.family not in FAMILIES:
        return Refusal.OTHER_DEVICE
    if asked.via == FROM_APPLE and not asked.identifier:
        return None
    if not asked.identifier or len(asked.identifier) > LONGEST_IDENTIFIER:
        return Refusal.NO_IDENTIFIER
    return None if domain_of(asked.identifier) in domains else Refusal.OTHER_DOMAIN


def domain_of(account: str) -> str:
    """The part after the last @, folded; the empty string if there is none."""
    return people.fold_username(account).rpartition("@")[2] if "@" in account else ""


def domains(session: Session, settings: Settings) -> frozenset[str]:
    """Whose accounts may enroll: the configured domains, else those of the people's Managed Apple Accounts."""
    if settings.account_driven.domains:
        return frozenset(domain.casefold() for domain in settings.account_driven.domains)
    known = select(Person.managed_apple_account, Person.username, Person.email).where(Person.erased_at.is_(None))
    found: set[str] = set()
    for account, username, email in session.execute(known):
        derived = account or accounts.derive(settings.managed_apple_account, username, email, None)
        if derived is None and settings.enrollment.email_as_managed_apple_account:
            derived = email
        found.add(domain_of(derived or ""))
    return frozenset(found - {""})


def is_handed_over(session: Session, identifier: str, now: datetime) -> bool:
    """Whether somebody with this account did everything here, and may enroll with another server now.

    The one answer here that depends on an account: who asks for somebody else's within those minutes learns that they
    are about to enroll, and nothing more.
    """
    account = accounts.normal(identifier)
    handed = (
        IssuedProfile.server.is_not(None),
        IssuedProfile.superseded_at.is_(None),
        IssuedProfile.refused_at.is_(None),
        IssuedProfile.expires_at > now,
    )
    query = (
        select(IssuedProfile.id)
        .join(EnrollmentRequest, EnrollmentRequest.profile_id == IssuedProfile.id)
        .where(*handed, EnrollmentRequest.can_enroll(now), EnrollmentRequest.managed_apple_account == account)
    )
    return account is not None and session.scalar(query.limit(1)) is not None


def is_verified(session: Session, account: str) -> bool:
    """Whether the domain of ``account`` answered rightly when it was last checked from outside."""
    check = session.get(DiscoveryCheck, domain_of(account))
    return check is not None and check.problem is None


def record(session: Session, domain: str, problem: str | None, detail: str, now: datetime) -> None:
    """Keep the outcome of a check."""
    session.merge(DiscoveryCheck(domain=domain, checked_at=now, problem=problem, detail=detail[:400]))
