"""Enrollment requests: create, send again, cancel, find by link."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from portal import audit, people
from portal.credentials import throttle
from portal.database import lock_name
from portal.enrollment import journey, passcode
from portal.enrollment.errors import (
    LinkUnusable,
    NoManagedAppleAccount,
    NoPhone,
    RequestEnded,
    SelfEnrollmentOff,
    TooManyDevices,
    UnknownPerson,
)
from portal.enrollment.journey import Walk
from portal.events import Actor, Event
from portal.models import AccessToken, Certificate, Device, EnrollmentRequest, IssuedProfile, Person, RequestLink
from portal.notifications import messages, outbox
from portal.people import accounts
from portal.settings import Settings
from portal.vault import Vault, token_hash

TOKEN_BYTES = 20
LONGEST_NOTE = 500
LONGEST_TOKEN = 128


@dataclass(frozen=True)
class Invitation:
    """A fresh request with what the employee needs; link and passcode exist nowhere else in the clear."""

    request: EnrollmentRequest
    token: str
    passcode: str


def lock(session: Session, request_id: str) -> EnrollmentRequest:
    """The request, locked until the transaction ends. Raises LinkUnusable if there is none."""
    request = session.scalar(_LOCKED, {"id": request_id})
    if request is None:
        raise LinkUnusable
    audit.locked(session, request)
    return request


_LOCKED = (
    select(EnrollmentRequest)
    .where(EnrollmentRequest.id == bindparam("id"))
    .with_for_update(of=EnrollmentRequest)
    .execution_options(populate_existing=True)
)
"""Asked at every step, so built once."""


def create(
    session: Session,
    vault: Vault,
    settings: Settings,
    person: Person,
    source: str,
    now: datetime,
    *,
    asked_by: str = "",
    actor: str,
    message: str = "",
) -> Invitation:
    """Invite ``person``: a request, its link and passcode, and the mail that carries them.

    ``source`` is helpdesk, admin, self, command or import. ``message`` opens the mail, which says ``asked_by``; the
    trail says ``actor`` (a code, no name).
    Raises UnknownPerson for a disabled person, TooManyDevices, and NoManagedAppleAccount (recorded for helpdesk).
    """
    if person.disabled_at is not None:
        raise UnknownPerson
    _check_devices(session, settings, person)
    request = EnrollmentRequest(
        person_id=person.id,
        source=source,
        created_by=actor,
        created_at=now,
        expires_at=now + timedelta(days=settings.enrollment.request_lifetime_days),
        managed_apple_account=_account_or_refuse(session, settings, person, actor, now),
        passcode_secret_sealed=passcode.new_secret(vault),
        passcode_counter=0,
        passcode_tries=0,
        passcode_sends=1,
    )
    session.add(request)
    session.flush()
    request.person = person
    _event(session, request, Event.REQUEST_CREATED, now, reason=source, actor=actor)
    if source != "self":
        return _send_invitation(session, vault, settings, request, asked_by, now, message)
    code = passcode.renew(request, vault, now)
    outbox.put(session, vault, "passcode", messages.new_passcode(settings, request, code), request.id, now)
    return Invitation(request, "", code)


def _check_devices(session: Session, settings: Settings, person: Person) -> None:
    most = settings.enrollment.devices_per_person
    managed = (
        select(func.count())
        .select_from(Device)
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .where(EnrollmentRequest.person_id == person.id, Device.enrolled_at.is_not(None), Device.ended_at.is_(None))
    )
    if most and (session.scalar(managed) or 0) >= most:
        raise TooManyDevices


def _account_or_refuse(session: Session, settings: Settings, person: Person, actor: str, now: datetime) -> str:
    account = accounts.of(session, person, settings)
    if account:
        return account
    detail = {"person": person.id, "username": person.username}
    reason = "no_managed_apple_account"
    audit.record(session, people.PEOPLE_CHAIN, Event.REQUEST_REFUSED, now, reason=reason, actor=actor, detail=detail)
    raise NoManagedAppleAccount


def _send_invitation(
    session: Session,
    vault: Vault,
    settings: Settings,
    request: EnrollmentRequest,
    asked_by: str,
    now: datetime,
    message: str = "",
) -> Invitation:
    """A fresh link and passcode, and the mail that carries them."""
    code = passcode.renew(request, vault, now)
    token = add_link(session, request, "mail", now)
    mail = messages.invitation(settings, request, settings.url(f"/e/{token}"), code, asked_by, message)
    outbox.put(session, vault, "invitation", mail, request.id, now)
    return Invitation(request, token, code)


def add_link(session: Session, request: EnrollmentRequest, purpose: str, now: datetime) -> str:
    """One more link to ``request`` (links are only kept as hashes, so each showing makes its own)."""
    token = secrets.token_hex(TOKEN_BYTES)  # hex survives every mail program
    session.add(RequestLink(token_hash=token_hash(token), request_id=request.id, purpose=purpose, created_at=now))
    return token


def by_token(session: Session, token: str, now: datetime) -> EnrollmentRequest:
    """The open request behind a link. Raises LinkUnusable, in the same way whatever is wrong with it.

    Changes nothing. The look-up is by hash, so its time tells nothing about the token.
    """
    if len(token) > LONGEST_TOKEN:
        raise LinkUnusable
    link = session.get(RequestLink, token_hash(token))
    request = session.get(EnrollmentRequest, link.request_id) if link else None
    if request is None or request.enrolled_at or journey.of(request).over(now):
        raise LinkUnusable
    return request


def open_request_of(session: Session, person: Person, now: datetime) -> EnrollmentRequest | None:
    """The newest request of ``person`` that can still be walked."""
    query = (
        select(EnrollmentRequest)
        .where(
            EnrollmentRequest.person_id == person.id,
            EnrollmentRequest.ended_at.is_(None),
            EnrollmentRequest.enrolled_at.is_(None),
            EnrollmentRequest.expires_at > now,
        )
        .order_by(EnrollmentRequest.created_at.desc())
        .limit(1)
    )
    return session.scalar(query)


def for_self_enrollment(
    session: Session, vault: Vault, settings: Settings, person: Person, now: datetime
) -> EnrollmentRequest:
    """The person's open request, or a new one of their own.

    Raises NoManagedAppleAccount, TooManyDevices or SelfEnrollmentOff.
    """
    lock_name(session, f"requests of {person.id}")  # two phones at once still make one request
    existing = open_request_of(session, person, now)
    if existing is not None:
        return lock(session, existing.id)
    if not settings.enrollment.may_start(person.username, person.email):
        raise SelfEnrollmentOff
    return create(session, vault, settings, person, "self", now, actor=Actor.EMPLOYEE).request


def resend(
    session: Session,
    vault: Vault,
    settings: Settings,
    request_id: str,
    now: datetime,
    *,
    asked_by: str,
    actor: str,
    message: str = "",
) -> Invitation:
    """Send the invitation again with a new link and passcode; the old passcode is dead. Raises RequestEnded."""
    request = _open(session, request_id, now)
    request.passcode_sends = 1
    _event(session, request, Event.REQUEST_SENT_AGAIN, now, actor=actor)
    return _send_invitation(session, vault, settings, request, asked_by, now, message)


def show_qr(session: Session, request_id: str, actor: str, now: datetime) -> str:
    """A link of its own for a QR code that staff shows. Raises RequestEnded."""
    request = _open(session, request_id, now)
    _event(session, request, Event.REQUEST_QR_SHOWN, now, actor=actor)
    return add_link(session, request, "qr", now)


def send_passcode(
    session: Session, vault: Vault, settings: Settings, request_id: str, walk: Walk, now: datetime
) -> None:
    """The employee asks for another passcode. Raises PasscodeTooSoon, PasscodeSendsUsedUp, RequestEnded."""
    request = _open(session, request_id, now)
    if journey.current_step(journey.of(request, walk), now) is not journey.Step.PASSCODE:
        return
    passcode.check_resend(request, settings.passcode, now)
    code = passcode.renew(request, vault, now)
    request.passcode_sends += 1
    mail = messages.new_passcode(settings, request, code)
    outbox.put(session, vault, "passcode", mail, request.id, now)
    _event(session, request, Event.PASSCODE_SENT, now, actor=Actor.EMPLOYEE)


def new_passcode(
    session: Session,
    vault: Vault,
    settings: Settings,
    request_id: str,
    actor: str,
    now: datetime,
    *,
    shown: bool = False,
) -> str:
    """Staff has another passcode sent by mail, however many were sent; the old one is dead. Raises RequestEnded.

    Returned for staff to read out only if an admin allows it (``shown``, recorded as such), else an empty string.
    """
    request = _open(session, request_id, now)
    code = passcode.renew(request, vault, now)
    request.passcode_sends = 1
    mail = messages.new_passcode(settings, request, code)
    outbox.put(session, vault, "passcode", mail, request.id, now)
    seen = shown and settings.passcode.shown_to_helpdesk
    _event(session, request, Event.PASSCODE_SENT, now, reason="shown" if seen else "by_staff", actor=actor)
    return code if seen else ""


def send_text(session: Session, vault: Vault, settings: Settings, request_id: str, actor: str, now: datetime) -> None:
    """Send the link as a text message; the passcode stays the mailed one. Raises RequestEnded, NoPhone."""
    request = _open(session, request_id, now)
    if not request.person.phone or settings.sms.transport == "none":
        raise NoPhone
    url = settings.url(f"/e/{add_link(session, request, 'sms', now)}")
    outbox.put(session, vault, outbox.TEXT, messages.text_invitation(settings, request, url), request.id, now)
    _event(session, request, Event.REQUEST_TEXTED, now, actor=actor)


def unlock(session: Session, request_id: str, actor: str, now: datetime) -> EnrollmentRequest:
    """The employee may sign in and have passcodes sent by themselves again. Raises RequestEnded."""
    request = _open(session, request_id, now)
    throttle.clear(session, throttle.password_of(request.person))
    request.passcode_sends = 0
    _event(session, request, Event.REQUEST_UNLOCKED, now, actor=actor)
    return request


def extend(session: Session, settings: Settings, request_id: str, actor: str, now: datetime) -> EnrollmentRequest:
    """Give a request, also one that ran out, its whole lifetime again from now. Raises RequestEnded if it is closed."""
    request = lock(session, request_id)
    if request.ended_at is not None or request.enrolled_at is not None:
        raise RequestEnded
    request.expires_at = max(request.expires_at, now + timedelta(days=settings.enrollment.request_lifetime_days))
    _event(session, request, Event.REQUEST_EXTENDED, now, actor=actor)
    return request


def hand_over(session: Session, request_id: str, colleague: Person, note: str, actor: str, now: datetime) -> None:
    """Ask a colleague to go on with a request; the note stays with it. Raises LinkUnusable, UnknownPerson."""
    request = lock(session, request_id)
    if colleague.role not in people.STAFF_ROLES or colleague.disabled_at is not None:
        raise UnknownPerson
    request.handed_to, request.handed_note = colleague.id, note.strip()[:LONGEST_NOTE]
    audit.record(
        session, audit.request_chain(request.id), Event.REQUEST_HANDED_OVER, now,
        actor=actor, detail={"to": colleague.id, "note": request.handed_note},
    )  # fmt: skip


def cancel(session: Session, request_id: str, actor: str, now: datetime) -> None:
    """End an open request for good; a profile on its way dies with it. Repeating it changes nothing."""
    request = lock(session, request_id)
    if request.ended_at is not None or request.enrolled_at is not None:
        return
    request.ended_at, request.end_reason = now, "cancelled"
    retire_profile(session, request, now, "cancelled")
    _event(session, request, Event.REQUEST_CANCELLED, now, actor=actor)


def retire_profile(session: Session, request: EnrollmentRequest, now: datetime, reason: str) -> None:
    """The profile issued last, its access tokens and its certificate, if any, stop working."""
    profile = session.get(IssuedProfile, request.profile_id) if request.profile_id else None
    if profile is None:
        return
    profile.superseded_at = profile.superseded_at or now
    profile.content_sealed = None
    session.execute(
        update(AccessToken)
        .where(AccessToken.profile_id == profile.id, AccessToken.revoked_at.is_(None))
        .values(revoked_at=now, revoked_reason=reason)
    )
    issued = select(Certificate).where(Certificate.profile_id == profile.id, Certificate.revoked_at.is_(None))
    for certificate in session.scalars(issued):
        certificate.revoked_at, certificate.revoked_reason = now, reason


def _open(session: Session, request_id: str, now: datetime) -> EnrollmentRequest:
    request = lock(session, request_id)
    if request.enrolled_at is not None or journey.of(request).over(now):
        raise RequestEnded
    return request


def _event(
    session: Session,
    request: EnrollmentRequest,
    event: Event,
    now: datetime,
    *,
    reason: str | None = None,
    actor: str,
) -> None:
    audit.record(session, audit.request_chain(request.id), event, now, reason=reason, actor=actor)
