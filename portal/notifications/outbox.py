"""When mails are sent: a durable outbox in the database, written with the fact it tells of, emptied by the worker.

A worker claims a mail by moving its next attempt into the future before it sends. If it dies in between, the mail
is sent again after the lease: never lost, at most once too often.
"""

import email.policy
import logging
import time
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from portal import audit, clock
from portal.database import Database
from portal.events import Event
from portal.models import OutboxMessage
from portal.notifications.email import NotDelivered, Transport, Undeliverable
from portal.vault import Vault

LEASE = timedelta(minutes=2)
"""Longer than any transport's timeouts taken together."""
PATIENCE_SECONDS = 20
"""A server that keeps everybody waiting for so long is left alone until the next round: the worker has other work."""
RETRY_MINUTES = (1, 2, 5, 15, 60, 180, 360, 720, 1440)
"""Waits after each failed attempt; then the mail is given up and helpdesk sees it."""

TEXT = "text"
"""The kind of an outbox message that is sent to a phone number."""
QUEUED = "mail_queued"
"""Key in ``Session.info``: mail was queued, so after the commit the worker wants a nudge."""

log = logging.getLogger("portal.outbox")


def to_send(kind: str, message: EmailMessage, vault: Vault, now: datetime) -> OutboxMessage:
    """``message`` as it waits to be sent, from now on. Whoever queues it says whose it is: a request's, a person's."""
    sealed = vault.seal(message.as_bytes())
    return OutboxMessage(kind=kind, content_sealed=sealed, created_at=now, next_attempt_at=now)


def put(session: Session, row: OutboxMessage) -> None:
    """Queue it in the caller's transaction."""
    session.add(row)
    session.flush()
    session.info[QUEUED] = True


def deliver_due(
    database: Database, vault: Vault, transport: Transport, gateway: Transport | None = None, limit: int = 100
) -> int:
    """Send what is due, one by one, mail with ``transport`` and texts with ``gateway``; how many attempts were made.

    Of either at most ``limit``, and no more once failures took PATIENCE_SECONDS: the rest is due the next time.
    """
    is_text = OutboxMessage.kind == TEXT
    ways = ((transport, true()),) if gateway is None else ((transport, ~is_text), (gateway, is_text))
    return sum(_deliver(database, vault, by, which, limit) for by, which in ways)


def _deliver(database: Database, vault: Vault, by: Transport, which: ColumnElement[bool], limit: int) -> int:
    failing = 0.0
    for attempts in range(limit):
        if failing >= PATIENCE_SECONDS:
            log.warning("outbox.server_is_slow seconds=%.0f attempts=%s", failing, attempts)
            return attempts
        claimed = _claim(database, which)
        if claimed is None:
            return attempts
        began = time.monotonic()
        if not _attempt(database, vault, by, claimed):
            failing += time.monotonic() - began
    return limit


def _claim(database: Database, which: ColumnElement[bool]) -> OutboxMessage | None:
    with database.transaction() as session:
        now = clock.now()
        due = (
            select(OutboxMessage)
            .where(OutboxMessage.sent_at.is_(None), OutboxMessage.next_attempt_at <= now, which)
            .order_by(OutboxMessage.next_attempt_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = session.scalar(due)
        if row is not None:
            row.next_attempt_at = now + LEASE
            row.attempts += 1
        return row


def _attempt(database: Database, vault: Vault, transport: Transport, claimed: OutboxMessage) -> bool:
    """Try to send it, and keep what became of it; whether it was sent."""
    error, lasting = "", False
    try:
        content = vault.open(claimed.content_sealed or b"")
        message = message_from_bytes(content, policy=email.policy.default)
        if claimed.kind != TEXT and not message["To"]:
            raise Undeliverable("no usable address")
        transport.send(claimed.id, message, clock.now())
    except Undeliverable as problem:
        error, lasting = str(problem), True
    except NotDelivered as problem:
        error = str(problem)
    except Exception as problem:  # one broken mail must not stop the others
        log.exception("outbox.attempt_failed message=%s", claimed.id)
        error = type(problem).__name__
    with database.transaction() as session:
        row = session.get(OutboxMessage, claimed.id)
        if row is not None:
            _settle(session, row, error, lasting, clock.now())
    return not error


def _settle(session: Session, row: OutboxMessage, error: str, lasting: bool, now: datetime) -> None:
    row.last_error = error or None
    if not error:
        row.sent_at, row.next_attempt_at, row.content_sealed = now, None, None
    elif lasting or row.attempts > len(RETRY_MINUTES):
        row.failed_at, row.next_attempt_at, row.content_sealed = now, None, None
    else:
        row.next_attempt_at = now + timedelta(minutes=RETRY_MINUTES[row.attempts - 1])
    if row.request_id and (not error or row.attempts == 1 or row.failed_at):
        kind = Event.MAIL_SENT if not error else Event.MAIL_FAILED if row.failed_at else Event.MAIL_DELAYED
        audit.record(
            session,
            audit.request_chain(row.request_id),
            kind,
            now,
            reason=row.kind,
            detail={"error": error} if error else None,
        )
