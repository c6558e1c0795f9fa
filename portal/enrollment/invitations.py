"""Inviting people: a request with its link and passcode, sent again, extended, texted, handed over.

Functions on a request that exists take its locked case; ``invite`` and ``for_self_enrollment`` make one.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from portal import people
from portal.enrollment import passcode
from portal.enrollment.case import Case
from portal.enrollment.errors import (
    LinkUnusable,
    NoManagedAppleAccount,
    NoPhone,
    RequestEnded,
    SelfEnrollmentOff,
    TooManyDevices,
    UnknownPerson,
)
from portal.events import Actor, Event
from portal.models import EnrollmentRequest, Person, RequestLink
from portal.notifications import messages, outbox
from portal.settings import Settings
from portal.vault import Vault, token_hash

TOKEN_BYTES = 20
LONGEST_NOTE = 500
LONGEST_TOKEN = 128
SELF = "self"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who invites: for the trail ``actor`` (a code, no name), for the mail ``name``.

    ``language``: of the employee's own browser, where they invite themselves.
    """

    actor: str
    name: str = ""
    language: str | None = None


@dataclass(frozen=True)
class Invitation:
    """A fresh request with what the employee needs; link and passcode exist nowhere else in the clear."""

    request: EnrollmentRequest
    token: str
    passcode: str


class Services(Protocol):
    """What of a running portal inviting needs."""

    @property
    def settings(self) -> Settings:
        """As they are now."""
        ...

    @property
    def vault(self) -> Vault:
        """Opens and seals."""
        ...


class Cases(Protocol):
    """What inviting asks of where cases are kept (``portal.storage.cases``)."""

    now: datetime
    services: Services

    def new(self, request: EnrollmentRequest, person: Person) -> Case:
        """Keep a request that is made now."""
        ...

    def open_of(self, person: Person) -> Case | None:
        """The newest request of ``person`` that can still be walked, locked."""
        ...

    def by_token(self, token: str) -> EnrollmentRequest | None:
        """The request behind a link."""
        ...

    def one_at_a_time(self, person: Person) -> None:
        """Let nobody else make a request for ``person`` until the transaction ends."""
        ...

    def managed_devices(self, person: Person) -> int:
        """How many devices of ``person`` are managed."""
        ...

    def account_of(self, person: Person, settings: Settings) -> str | None:
        """The Managed Apple Account of ``person``."""
        ...

    def refused(self, person: Person, reason: str, actor: str) -> None:
        """Tell helpdesk that ``person`` could not be invited."""
        ...


def has_enough(managed: int, settings: Settings) -> bool:
    """Whether somebody with so many managed devices may have no other."""
    most = settings.enrollment.devices_per_person
    return bool(most) and managed >= most


def invite(cases: Cases, person: Person, source: str, by: Asker, message: str = "") -> Invitation:
    """Invite ``person``: a request, its link and passcode, and the mail that carries them.

    ``source`` is helpdesk, admin, self, command or import. ``message`` opens the mail.
    Raises UnknownPerson for a disabled person, TooManyDevices, and NoManagedAppleAccount (recorded for helpdesk).
    """
    settings, vault, now = cases.services.settings, cases.services.vault, cases.now
    if person.disabled_at is not None:
        raise UnknownPerson
    if has_enough(cases.managed_devices(person), settings):
        raise TooManyDevices
    account = cases.account_of(person, settings)
    if not account:
        cases.refused(person, "no_managed_apple_account", by.actor)
        raise NoManagedAppleAccount
    request = EnrollmentRequest(
        person_id=person.id,
        source=source,
        created_by=by.actor,
        created_at=now,
        expires_at=now + timedelta(days=settings.enrollment.request_lifetime_days),
        managed_apple_account=account,
        language=by.language,
        passcode_secret_sealed=passcode.new_secret(vault),
        passcode_counter=0,
        passcode_tries=0,
        passcode_sends=1,
    )
    case = cases.new(request, person)
    case.record(Event.REQUEST_CREATED, source, actor=by.actor)
    if source == SELF:
        return Invitation(request, "", mail_passcode(case))
    return _send_invitation(case, by.name, message)


def for_self_enrollment(cases: Cases, person: Person, language: str) -> Case:
    """The person's open request, or a new one of their own; ``language``: of their browser.

    Raises NoManagedAppleAccount, TooManyDevices or SelfEnrollmentOff.
    """
    cases.one_at_a_time(person)
    existing = cases.open_of(person)
    if existing is not None:
        return existing
    if not cases.services.settings.enrollment.may_start(person.username, person.email):
        raise SelfEnrollmentOff
    invite(cases, person, SELF, Asker(Actor.EMPLOYEE, language=language))
    made = cases.open_of(person)
    assert made is not None
    return made


def by_token(cases: Cases, token: str, walked: str | None = None) -> EnrollmentRequest:
    """The open request behind a link. Raises LinkUnusable, in the same way whatever is wrong with it.

    ``walked``: the id of the request that this browser's owner signed in to; its link leads them back there, whatever
    became of it. Changes nothing.
    """
    request = cases.by_token(token) if len(token) <= LONGEST_TOKEN else None
    if request is None or (request.id != walked and not request.can_enroll(cases.now)):
        raise LinkUnusable
    return request


def add_link(case: Case, purpose: str) -> str:
    """One more link to the request (links are only kept as hashes, so each showing makes its own)."""
    token = secrets.token_hex(TOKEN_BYTES)  # hex survives every mail program
    request_id = case.request.id
    case.store.add(
        RequestLink(token_hash=token_hash(token), request_id=request_id, purpose=purpose, created_at=case.now)
    )
    return token


def mail_passcode(case: Case) -> str:
    """A new passcode, sent by mail; the one before is dead."""
    code = passcode.renew(case.request, case.vault, case.now)
    case.send("passcode", messages.new_passcode(case.settings, case.request, code))
    return code


def _send_invitation(case: Case, asked_by: str, message: str) -> Invitation:
    """A fresh link and passcode, and the mail that carries them."""
    code = passcode.renew(case.request, case.vault, case.now)
    token = add_link(case, "mail")
    url = case.settings.url(f"/e/{token}")
    case.send("invitation", messages.invitation(case.settings, case.request, url, code, asked_by, message))
    return Invitation(case.request, token, code)


def resend(case: Case, by: Asker, message: str = "") -> Invitation:
    """Send the invitation again with a new link and passcode; the old passcode is dead. Raises RequestEnded."""
    case.must_be_open()
    case.request.passcode_sends = 1
    case.record(Event.REQUEST_SENT_AGAIN, actor=by.actor)
    return _send_invitation(case, by.name, message)


def show_qr(case: Case, actor: str) -> str:
    """A link of its own for a QR code that staff shows. Raises RequestEnded."""
    case.must_be_open()
    case.record(Event.REQUEST_QR_SHOWN, actor=actor)
    return add_link(case, "qr")


def new_passcode(case: Case, actor: str, *, shown: bool = False) -> str:
    """Staff has another passcode sent by mail, however many were sent; the old one is dead. Raises RequestEnded.

    Returned for staff to read out only if an admin allows it (``shown``, recorded as such), else an empty string.
    """
    case.must_be_open()
    code = mail_passcode(case)
    case.request.passcode_sends = 1
    seen = shown and case.settings.passcode.shown_to_helpdesk
    case.record(Event.PASSCODE_SENT, "shown" if seen else "by_staff", actor=actor)
    return code if seen else ""


def send_text(case: Case, actor: str) -> None:
    """Send the link as a text message; the passcode stays the mailed one. Raises RequestEnded, NoPhone."""
    case.must_be_open()
    if not case.request.person.phone or case.settings.sms.transport == "none":
        raise NoPhone
    url = case.settings.url(f"/e/{add_link(case, 'sms')}")
    case.send(outbox.TEXT, messages.text_invitation(case.settings, case.request, url))
    case.record(Event.REQUEST_TEXTED, actor=actor)


def unlock(case: Case, actor: str) -> None:
    """The employee may have passcodes sent by themselves again. Raises RequestEnded."""
    case.must_be_open()
    case.request.passcode_sends = 0
    case.record(Event.REQUEST_UNLOCKED, actor=actor)


def extend(case: Case, actor: str) -> None:
    """Give a request, also one that ran out, its whole lifetime again from now. Raises RequestEnded if it is closed."""
    request = case.request
    if not request.is_unfinished:
        raise RequestEnded
    lifetime = timedelta(days=case.settings.enrollment.request_lifetime_days)
    request.expires_at = max(request.expires_at, case.now + lifetime)
    case.record(Event.REQUEST_EXTENDED, actor=actor)


def hand_over(case: Case, colleague: Person, note: str, actor: str) -> None:
    """Ask a colleague to go on with a request; the note stays with it. Raises UnknownPerson."""
    if colleague.role not in people.STAFF_ROLES or colleague.disabled_at is not None:
        raise UnknownPerson
    request = case.request
    request.handed_to, request.handed_note = colleague.id, note.strip()[:LONGEST_NOTE]
    case.record(Event.REQUEST_HANDED_OVER, actor=actor, detail={"to": colleague.id, "note": request.handed_note})
