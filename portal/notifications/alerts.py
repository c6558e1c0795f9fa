"""Telling helpdesk, admins and the person concerned by mail what needs them: read from the trail, each event once."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.message import EmailMessage
from functools import partial

from sqlalchemy import ColumnElement, and_, false, func, or_, select
from sqlalchemy.orm import Session

from portal.database import lock_name
from portal.events import Event
from portal.models import AuditEvent, EnrollmentRequest, Person, PortalState
from portal.notifications import messages, outbox
from portal.settings import Settings
from portal.vault import Vault

KINDS: dict[str, tuple[str, str | None]] = {
    "corporate": (Event.OWNERSHIP_CHOSEN, "corporate"),
    "no_managed_apple_account": (Event.REQUEST_REFUSED, "no_managed_apple_account"),
    "passcode_locked": (Event.PASSCODE_REJECTED, "locked"),
    "device_refused": (Event.DEVICE_REFUSED, None),
    "mail_failed": (Event.MAIL_FAILED, None),
    "device_left": (Event.DEVICE_LEFT, "removed_on_device"),
}
"""What helpdesk can be told of: the event's kind and, where only one matters, its reason."""
TO_ADMINS: dict[str, tuple[str, str | None]] = {
    "factor_locked": (Event.SECOND_FACTOR_LOCKED, None),
    "factor_reset": (Event.SECOND_FACTOR_FORGOTTEN, None),
    "factor_replaced": (Event.SECOND_FACTOR_REPLACED, None),
    "passkey_added": (Event.PASSKEY_ADDED, None),
    "admin_added": (Event.PERSON_ADDED, "admin"),
    "admin_made": (Event.PERSON_ROLE_CHANGED, "admin"),
    "token_made": (Event.API_TOKEN_MADE, None),
    "removals_held": (Event.REMOVALS_HELD, None),
    "keys_dropped": (Event.KEYS_ROTATED, "dropped_old"),
    "backup_restored": (Event.BACKUP_RESTORED, None),
    "licenses_expiring": (Event.LICENSES_EXPIRING, None),
    "licenses_stopped": (Event.LICENSES_STOPPED, None),
}
"""What every admin is told of, always: who gets in, that many devices would lose their work data, that work apps get no
licenses any more, that all is as it was some time ago."""
TO_THE_PERSON: dict[str, tuple[str, str | None]] = {
    "your_factor_locked": (Event.SECOND_FACTOR_LOCKED, None),
    "your_factor_reset": (Event.SECOND_FACTOR_FORGOTTEN, None),
    "your_factor_replaced": (Event.SECOND_FACTOR_REPLACED, None),
    "your_passkey_added": (Event.PASSKEY_ADDED, None),
    "your_passkey_removed": (Event.PASSKEY_REMOVED, None),
    "your_password_changed": (Event.PASSWORD_CHANGED, None),
    "your_role_changed": (Event.PERSON_ROLE_CHANGED, None),
}
"""What the person concerned is told of, always."""
log = logging.getLogger("portal.alerts")

HELPDESK, ADMINS, PERSONS = "helpdesk_told", "security_told", "persons_told"
"""Where the id of the last event that was looked at is kept: apart, so that however much others are to be told, no
admin waits for it who is to hear that somebody got in."""
BATCH_SIZE = 100
MOST_ADMINS = 50
SETTLED = timedelta(seconds=5)
"""An event gets its number before it is committed: younger ones may still be joined by earlier numbers."""
Group = dict[str, tuple[str, str | None]]
"""By kind of mail: the event, and its reason if only that counts."""
Mails = Iterator[tuple[EmailMessage, str | None]]
"""Each with whom it is about."""


def mail_new(session: Session, vault: Vault, settings: Settings, now: datetime) -> int:
    """Queue the mails for each event since the last time; how many."""
    lock_name(session, HELPDESK)
    chosen: Group = {name: KINDS[name] for name in settings.notifications.helpdesk}
    count = 0
    for name, group, write in (
        (PERSONS, TO_THE_PERSON, partial(_to_the_person, session, settings)),
        (ADMINS, TO_ADMINS, partial(_to_admins, session, settings)),
        (HELPDESK, chosen, partial(_to_helpdesk, session, settings, chosen)),
    ):
        for event in _new(session, name, group, now):
            try:
                mails = list(write(event))
            except Exception:  # one that cannot be written keeps nobody from hearing of the others
                log.exception("alerts.not_written event=%s", event.id)
                continue
            for mail, person_id in mails:
                row = outbox.to_send("alert", mail, vault, now)
                row.person_id = person_id
                outbox.put(session, row)
                count += 1
    return count


def _new(session: Session, name: str, group: Group, now: datetime) -> list[AuditEvent]:
    """The next events of ``group``, and note under ``name`` that they were looked at."""
    until = session.scalar(select(func.max(AuditEvent.id)).where(AuditEvent.at <= now - SETTLED)) or 0
    state = session.get(PortalState, name)
    if state is None:  # from now on; nobody wants a mail for each event of the past
        before = session.get(PortalState, ADMINS) or session.get(PortalState, HELPDESK)  # once they were one
        state = PortalState(name=name, value=before.value if before is not None else json.dumps(until))
        session.add(state)
    since = int(json.loads(state.value or "0"))
    if until <= since:
        return []
    wanted = (AuditEvent.id > since, AuditEvent.id <= until, or_(false(), *(_fits(*each) for each in group.values())))
    events = list(session.scalars(select(AuditEvent).where(*wanted).order_by(AuditEvent.id).limit(BATCH_SIZE)))
    state.value = json.dumps(events[-1].id if len(events) == BATCH_SIZE else until)
    return events


def _to_helpdesk(session: Session, settings: Settings, chosen: Group, event: AuditEvent) -> Mails:
    name = _name(chosen, event)
    if name:
        yield _mail(session, settings, event, name), None


def _to_admins(session: Session, settings: Settings, event: AuditEvent) -> Mails:
    name, concerned = _name(TO_ADMINS, event), _concerned(session, event)
    if name:
        who = concerned.name if concerned is not None else str((event.detail or {}).get("name", ""))
        query = select(Person).where(Person.is_active_admin, Person.email != "")
        for admin in session.scalars(query.limit(MOST_ADMINS)):
            yield messages.security(settings, admin, name, who, event.at), concerned.id if concerned else None


def _to_the_person(session: Session, settings: Settings, event: AuditEvent) -> Mails:
    name, concerned = _name(TO_THE_PERSON, event), _concerned(session, event)
    if name and concerned is not None and concerned.email:
        yield messages.security(settings, concerned, name, "", event.at), concerned.id


def _concerned(session: Session, event: AuditEvent) -> Person | None:
    return session.get(Person, str((event.detail or {}).get("person", "")))


def _name(group: Group, event: AuditEvent) -> str | None:
    known = (name for name, (kind, reason) in group.items() if kind == event.kind and reason in (None, event.reason))
    return next(known, None)


def _fits(kind: str, reason: str | None) -> ColumnElement[bool]:
    this_kind = AuditEvent.kind == kind
    return this_kind if reason is None else and_(this_kind, AuditEvent.reason == reason)


def _mail(session: Session, settings: Settings, event: AuditEvent, name: str) -> EmailMessage:
    chain, _, request_id = event.chain.partition(":")
    request = session.get(EnrollmentRequest, request_id) if chain == "request" else None
    who = request.person.name if request else str((event.detail or {}).get("username", ""))
    path = f"/helpdesk/requests/{request_id}" if request else "/helpdesk"
    return messages.alert(settings, name, who, settings.url(path))
