"""Access tokens of account-driven devices: granted at the end of the web view, shown with every message since.

A token fetches its profile any number of times until a device is enrolled with it, so that a lost answer costs
nothing; then it lives with the enrollment. What is refused is answered with a new challenge: the person signs in again
in Settings and nothing is lost. Facts: Apple, "Implementing the simple authentication account-driven enrollment flow".
"""

import secrets
from datetime import datetime, timedelta
from typing import NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.enrollment import profile as profiles
from portal.enrollment import requests
from portal.enrollment.errors import ProfileUnavailable, RequestEnded, TokenRefused, WrongPerson
from portal.enrollment.journey import Walk, Way
from portal.events import Actor, Event
from portal.models import AccessToken, Device, EnrollmentRequest, IssuedProfile, Person
from portal.settings import AccountDriven
from portal.vault import Vault, token_hash

LONGEST_TOKEN = 8000
"""Characters; ours have 32, those of an identity provider may be signed and long."""


def grant(session: Session, press: profiles.Press, request_id: str, walk: Walk, now: datetime, token: str = "") -> str:
    """A token for the device whose owner walked the journey; the profile it will fetch is made now.

    ``token``: one that an identity provider gave to the device (apple-oauth2); else a fresh one of ours.
    Raises what ``profile.issue`` raises. The profile or token before it is dead.
    """
    token = profiles.issue(session, press, request_id, walk, now, Way.ACCOUNT, token)
    request = session.get_one(EnrollmentRequest, request_id)
    assert request.profile_id is not None
    _add(session, token, request.profile_id, request.id, press.settings.account_driven, now)
    return token


def grant_again(
    session: Session, profile_id: str, person: Person, rules: AccountDriven, now: datetime, token: str = ""
) -> str:
    """A new token for a device that was asked to have its owner sign in again; ``token`` as in ``grant``.

    Raises ProfileUnavailable, RequestEnded, or WrongPerson (recorded).
    """
    request_id = owner_signs_in(session, profile_id, person, now)
    token = token or secrets.token_urlsafe(profiles.SECRET_BYTES)
    _add(session, token, profile_id, request_id, rules, now)
    _event(session, request_id, Event.TOKEN_GRANTED, now, "again", actor=Actor.EMPLOYEE)
    return token


def owner_signs_in(session: Session, profile_id: str, person: Person, now: datetime) -> str:
    """The request of a device whose owner was asked to sign in again.

    Raises ProfileUnavailable, RequestEnded, or WrongPerson (recorded).
    """
    profile = session.get(IssuedProfile, profile_id)
    if profile is None or profile.way != Way.ACCOUNT.value:
        raise ProfileUnavailable
    request = requests.lock(session, profile.request_id)
    if request.person_id != person.id:
        _event(session, request.id, Event.SIGN_IN_REFUSED, now, "wrong_person")
        raise WrongPerson
    if request.ended_at is not None or profile.superseded_at is not None:
        raise RequestEnded
    return request.id


def known(session: Session, token: str) -> bool:
    """Whether ``token`` was granted, whatever became of it."""
    return len(token) <= LONGEST_TOKEN and session.get(AccessToken, token_hash(token)) is not None


def fetch(session: Session, vault: Vault, token: str, now: datetime) -> tuple[str, bytes]:
    """(profile id, signed bytes) for a token, the same each time. Raises TokenRefused (recorded if it is known)."""
    found = session.get(AccessToken, token_hash(token)) if len(token) <= LONGEST_TOKEN else None
    if found is None:
        raise TokenRefused("unknown_token")
    reason = _problem(found, now)
    if reason is None and found.confirmed_at is not None:
        reason = "token_used"
    try:
        content = profiles.fetch(session, vault, token, now, Way.ACCOUNT)
    except ProfileUnavailable:
        reason = reason or "token_used"
    if reason:
        _refuse(session, found.request_id, reason, now)
    return content


def check(
    session: Session, token: str | None, profile_id: str, request_id: str, rules: AccountDriven, now: datetime
) -> AccessToken:
    """The token a device showed, if it is good for the profile it enrolled with. Raises TokenRefused (recorded)."""
    if not token or len(token) > LONGEST_TOKEN:
        _refuse(session, request_id, "no_token", now)
    found = session.get(AccessToken, token_hash(token or ""), with_for_update=True)
    if found is None:
        reason: str | None = "unknown_token"
    elif found.profile_id != profile_id:
        reason = "token_of_another"
    else:
        reason = _problem(found, now) or _age_problem(found, rules, now)
    if found is None or reason:
        _refuse(session, request_id, reason or "unknown_token", now)
    return found


def confirm(session: Session, token: AccessToken, now: datetime) -> None:
    """A managed device spoke with ``token``: from now on it lives with the enrollment and replaces those before it."""
    if token.confirmed_at is not None:
        return
    device = session.scalar(select(Device).where(Device.profile_id == token.profile_id))
    if device is None or device.enrolled_at is None:
        return
    token.confirmed_at = now
    _revoke(session, token.profile_id, "replaced", now, keep=token.token_hash)


def ask_to_sign_in_again(session: Session, request_id: str, actor: str, now: datetime) -> bool:
    """Helpdesk wants the device's owner to sign in again; the enrollment stays. False if there is nothing to revoke."""
    request = requests.lock(session, request_id)
    if request.profile_id is None or request.ended_at is not None or request.enrolled_at is None:
        return False
    if not _revoke(session, request.profile_id, "asked_by_helpdesk", now):
        return False
    _event(session, request.id, Event.TOKEN_REVOKED, now, "asked_by_helpdesk", actor=actor)
    return True


def _add(session: Session, token: str, profile_id: str, request_id: str, rules: AccountDriven, now: datetime) -> None:
    session.add(
        AccessToken(
            token_hash=token_hash(token),
            profile_id=profile_id,
            request_id=request_id,
            granted_at=now,
            expires_at=now + timedelta(minutes=rules.token_minutes),
        )
    )


def _problem(token: AccessToken, now: datetime) -> str | None:
    if token.revoked_at is not None:
        return "token_revoked"
    return "token_expired" if token.confirmed_at is None and now >= token.expires_at else None


def _age_problem(token: AccessToken, rules: AccountDriven, now: datetime) -> str | None:
    days = rules.sign_in_again_days
    return "token_too_old" if days and now >= token.granted_at + timedelta(days=days) else None


def _revoke(session: Session, profile_id: str, reason: str, now: datetime, keep: str = "") -> int:
    living = (
        select(AccessToken)
        .where(AccessToken.profile_id == profile_id, AccessToken.revoked_at.is_(None), AccessToken.token_hash != keep)
        .with_for_update()
    )
    tokens = session.scalars(living).all()
    for token in tokens:
        token.revoked_at, token.revoked_reason = now, reason
    return len(tokens)


def _refuse(session: Session, request_id: str, reason: str, now: datetime) -> NoReturn:
    """Tell it once in a row: a device may ask again and again until its owner signs in."""
    newest = audit.newest(session, audit.request_chain(request_id))
    if newest is None or (newest.kind, newest.reason) != (Event.TOKEN_REFUSED, reason):
        _event(session, request_id, Event.TOKEN_REFUSED, now, reason)
    raise TokenRefused(reason)


def _event(
    session: Session, request_id: str, event: Event, now: datetime, reason: str, actor: str | None = None
) -> None:
    audit.record(session, audit.request_chain(request_id), event, now, reason=reason, actor=actor)
