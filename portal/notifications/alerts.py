"""Telling helpdesk, admins and the person concerned by mail what needs them: read from the trail, each event once."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.message import EmailMessage

from sqlalchemy import ColumnElement, and_, func, or_, select
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
    "licenses_expiring": (Event.LICENSES_EXPIRING, None),
    "licenses_stopped": (Event.LICENSES_STOPPED, None),
}
"""What every admin is told of, always: who gets in, that many devices would lose their work data, that
work apps get no licenses any more."""
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

STATE = "helpdesk_told"
"""Where the id of the last event that was looked at is kept."""
BATCH_SIZE = 100
MOST_ADMINS = 50
SETTLED = timedelta(seconds=5)
"""An event gets its number before it is committed: younger ones may still be joined by earlier numbers."""


def mail_new(session: Session, vault: Vault, settings: Settings, now: datetime) -> int:
    """Queue the mails for each event since the last time; how many."""
    chosen: dict[str, tuple[str, str | None]] = {name: KINDS[name] for name in settings.notifications.helpdesk}
    lock_name(session, STATE)
    state = session.get(PortalState, STATE)
    newest = select(func.max(AuditEvent.id)).where(AuditEvent.at <= now - SETTLED)
    until = session.scalar(newest) or 0
    if state is None:  # from now on; nobody wants a mail for each event of the past
        session.add(PortalState(name=STATE, value=json.dumps(until)))
        return 0
    since = int(json.loads(state.value or "0"))
    if until <= since:
        return 0
    count = 0
    fits = or_(*(_fits(*each) for group in (chosen, TO_ADMINS, TO_THE_PERSON) for each in group.values()))
    query = select(AuditEvent).where(AuditEvent.id > since, AuditEvent.id <= until, fits).order_by(AuditEvent.id)
    events = list(session.scalars(query.limit(BATCH_SIZE)))
    until = events[-1].id if len(events) == BATCH_SIZE else until
    for event in events:
        try:
            mails = list(_mails(session, settings, event, chosen))
        except Exception:  # one that cannot be written keeps nobody from hearing of the others
            log.exception("alerts.not_written event=%s", event.id)
            continue
        for mail, person_id in mails:
            row = outbox.to_send("alert", mail, vault, now)
            row.person_id = person_id
            outbox.put(session, row)
            count += 1
    state.value = json.dumps(until)
    return count


def _mails(
    session: Session, settings: Settings, event: AuditEvent, chosen: dict[str, tuple[str, str | None]]
) -> Iterator[tuple[EmailMessage, str | None]]:
    """To helpdesk, to every admin, to the person concerned, as the event asks for; each with whom it is about."""
    helpdesk, admins, person = (_name(group, event) for group in (chosen, TO_ADMINS, TO_THE_PERSON))
    concerned = session.get(Person, str((event.detail or {}).get("person", "")))
    if helpdesk:
        yield _mail(session, settings, event, helpdesk), None
    if admins:
        who = concerned.name if concerned is not None else str((event.detail or {}).get("name", ""))
        query = select(Person).where(Person.is_active_admin, Person.email != "")
        for admin in session.scalars(query.limit(MOST_ADMINS)):
            yield messages.security(settings, admin, admins, who, event.at), concerned.id if concerned else None
    if person and concerned is not None and concerned.email:
        yield messages.security(settings, concerned, person, "", event.at), concerned.id


def _name(group: dict[str, tuple[str, str | None]], event: AuditEvent) -> str | None:
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
