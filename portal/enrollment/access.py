"""Access tokens of account-driven devices: granted at the end of the web view, shown with every message since.

A token fetches its profile any number of times until a device is enrolled with it, so that a lost answer costs
nothing; then it lives with the enrollment. What is refused is answered with a new challenge: the person signs in again
in Settings and nothing is lost. Facts: Apple, "Implementing the simple authentication account-driven enrollment flow".
"""

import secrets
from datetime import timedelta
from typing import NoReturn

from portal.enrollment import profile as profiles
from portal.enrollment.case import TOLD_AGAIN_AFTER, Case
from portal.enrollment.errors import ProfileUnavailable, RequestEnded, TokenRefused, WrongPerson
from portal.enrollment.journey import Way
from portal.events import Actor, Event
from portal.models import AccessToken, Person
from portal.vault import token_hash

LONGEST_TOKEN = 8000
"""Characters; ours have 32, those of an identity provider may be signed and long."""


def grant(case: Case, issuer: profiles.ProfileIssuer, token: str = "") -> str:
    """A token for the device whose owner walked the journey; the profile it will fetch is made now.

    ``token``: one that an identity provider gave to the device (apple-oauth2); else a fresh one of ours.
    Raises what ``profile.issue`` raises. The profile or token before it is dead.
    """
    token = profiles.issue(case, issuer, Way.ACCOUNT, token)
    assert case.request.profile_id is not None
    _add(case, token, case.request.profile_id)
    return token


def grant_again(case: Case, person: Person, token: str = "") -> str:
    """A new token for a device that was asked to have its owner sign in again; ``token`` as in ``grant``.

    Raises ProfileUnavailable, RequestEnded, or WrongPerson (recorded).
    """
    owner_signs_in(case, person)
    assert case.profile is not None
    token = token or secrets.token_urlsafe(profiles.SECRET_BYTES)
    _add(case, token, case.profile.id)
    case.record(Event.TOKEN_GRANTED, "again", actor=Actor.EMPLOYEE)
    return token


def owner_signs_in(case: Case, person: Person) -> None:
    """The owner of the device with ``case.profile`` was asked to sign in again.

    Raises ProfileUnavailable, RequestEnded, or WrongPerson (recorded).
    """
    profile = case.profile
    if profile is None or profile.way != Way.ACCOUNT.value:
        raise ProfileUnavailable
    if case.request.person_id != person.id:
        case.record_once(Event.SIGN_IN_REFUSED, "wrong_person", within=TOLD_AGAIN_AFTER)
        raise WrongPerson
    if case.request.ended_at is not None or profile.superseded_at is not None:
        raise RequestEnded


def fetch(case: Case, token: AccessToken) -> tuple[str, bytes]:
    """(profile id, signed bytes) for a token, the same each time. Raises TokenRefused (recorded)."""
    reason = _problem(case, token)
    assert case.profile is not None
    if reason is None and (token.confirmed_at is not None or token.token_hash != case.profile.ticket_hash):
        reason = "token_used"  # or granted to a device that has the profile and only had its owner sign in again
    try:
        content = profiles.content(case, Way.ACCOUNT)
    except ProfileUnavailable:
        reason = reason or "token_used"
    if reason:
        _refuse(case, reason)
    return content


def check(case: Case, token: str | None) -> AccessToken:
    """The token a device showed, if it is good for the profile it enrolled with. Raises TokenRefused (recorded)."""
    assert case.profile is not None
    if not token or len(token) > LONGEST_TOKEN:
        _refuse(case, "no_token")
    shown = token_hash(token)
    living = (each for each in case.store.living_tokens(case.profile.id) if each.token_hash == shown)
    found = next(living, None) or case.store.token(shown)
    if found is None:
        _refuse(case, "unknown_token")
    if found.profile_id != case.profile.id:
        _refuse(case, "token_of_another")
    reason = _problem(case, found) or _age_problem(case, found)
    if reason:
        _refuse(case, reason)
    return found


def confirm(case: Case, token: AccessToken) -> None:
    """A managed device spoke with ``token``: from now on it lives with the enrollment and replaces those before it."""
    if token.confirmed_at is not None or case.device is None or case.device.enrolled_at is None:
        return
    token.confirmed_at = case.now
    for other in case.store.living_tokens(token.profile_id):
        if other is not token:
            other.revoked_at, other.revoked_reason = case.now, "replaced"


def ask_to_sign_in_again(case: Case, actor: str) -> bool:
    """Helpdesk wants the device's owner to sign in again; the enrollment stays. False if there is nothing to revoke."""
    request = case.request
    if request.profile_id is None or request.ended_at is not None or request.enrolled_at is None:
        return False
    living = case.store.living_tokens(request.profile_id)
    for token in living:
        token.revoked_at, token.revoked_reason = case.now, "asked_by_helpdesk"
    if living:
        case.record(Event.TOKEN_REVOKED, "asked_by_helpdesk", actor=actor)
    return bool(living)


def _add(case: Case, token: str, profile_id: str) -> None:
    minutes = case.settings.account_driven.token_minutes
    case.store.add(
        AccessToken(
            token_hash=token_hash(token),
            profile_id=profile_id,
            request_id=case.request.id,
            granted_at=case.now,
            expires_at=case.now + timedelta(minutes=minutes),
        )
    )


def _problem(case: Case, token: AccessToken) -> str | None:
    if token.revoked_at is not None:
        return "token_revoked"
    return "token_expired" if token.confirmed_at is None and case.now >= token.expires_at else None


def _age_problem(case: Case, token: AccessToken) -> str | None:
    days = case.settings.account_driven.sign_in_again_days
    return "token_too_old" if days and case.now >= token.granted_at + timedelta(days=days) else None


def _refuse(case: Case, reason: str) -> NoReturn:
    """Tell it once in a row: a device may ask again and again until its owner signs in."""
    case.record_once(Event.TOKEN_REFUSED, reason)
    raise TokenRefused(reason)
