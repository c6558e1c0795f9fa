"""Telling helpdesk by mail what needs a person: read from the audit trail, each event once."""

import json
from datetime import datetime, timedelta
from email.message import EmailMessage

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from portal.database import lock_name
from portal.models import AuditEvent, EnrollmentRequest, PortalState
from portal.notifications import messages, outbox
from portal.settings import Settings
from portal.vault import Vault

KINDS: dict[str, tuple[str, str | None]] = {
    "corporate": ("ownership.chosen", "corporate"),
    "no_managed_apple_account": ("request.refused", "no_managed_apple_account"),
    "passcode_locked": ("passcode.rejected", "locked"),
    "device_refused": ("device.refused", None),
    "mail_failed": ("mail.failed", None),
    "device_left": ("device.left", "removed_on_device"),
}
"""What helpdesk can be told of: the event's kind and, where only one matters, its reason."""
STATE = "helpdesk_told"
"""Where the id of the last event that was looked at is kept."""
AT_A_TIME = 100
SETTLED = timedelta(seconds=5)
"""An event gets its number before it is committed: younger ones may still be joined by earlier numbers."""


def tell(session: Session, vault: Vault, settings: Settings, now: datetime) -> int:
    """Queue a mail to the support address for each wanted event since the last time; how many."""
    wanted = [KINDS[name] for name in settings.notifications.helpdesk]
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
    if wanted:
        fits = or_(*(_fits(kind, reason) for kind, reason in wanted))
        query = select(AuditEvent).where(AuditEvent.id > since, AuditEvent.id <= until, fits).order_by(AuditEvent.id)
        events = list(session.scalars(query.limit(AT_A_TIME)))
        until = events[-1].id if len(events) == AT_A_TIME else until
        for event in events:
            outbox.put(session, vault, "alert", _mail(session, settings, event), None, now)
            count += 1
    state.value = json.dumps(until)
    return count


def _fits(kind: str, reason: str | None) -> ColumnElement[bool]:
    this_kind = AuditEvent.kind == kind
    return this_kind if reason is None else and_(this_kind, AuditEvent.reason == reason)


def _mail(session: Session, settings: Settings, event: AuditEvent) -> EmailMessage:
    chain, _, request_id = event.chain.partition(":")
    request = session.get(EnrollmentRequest, request_id) if chain == "request" else None
    name = next(each for each, (kind, reason) in KINDS.items() if kind == event.kind and reason in (None, event.reason))
    who = request.person.name if request else str((event.detail or {}).get("username", ""))
    path = f"/helpdesk/requests/{request_id}" if request else "/helpdesk"
    return messages.alert(settings, name, who, settings.url(path))
