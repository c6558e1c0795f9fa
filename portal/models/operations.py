"""Mails to send, the audit trail, and what the portal keeps about itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import BELONGS, Base, new_id

GENESIS = "0" * 64
"""What the first link of a chain follows."""


class OutboxMessage(Base):
    """A mail to deliver, sealed because it carries links and passcodes; emptied once it is sent."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_due", "sent_at", "next_attempt_at"), {"info": {BELONGS: True}})

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(32))
    request_id: Mapped[str | None] = mapped_column(String(16), index=True)
    person_id: Mapped[str | None] = mapped_column(String(16), index=True)
    content_sealed: Mapped[bytes | None]
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(String(200))
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]


class AuditEvent(Base):
    """One link of an append-only chain. ``detail`` may be erased; the chain holds its digest."""

    __tablename__ = "audit_events"
    __table_args__ = (UniqueConstraint("chain", "seq"), Index("ix_audit_events_kind_at", "kind", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    chain: Mapped[str] = mapped_column(String(40))
    seq: Mapped[int]
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(48), index=True)
    reason: Mapped[str | None] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(48))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    detail_digest: Mapped[str | None] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The newest link of each chain that is no request's: appending locks it, and a cut tail shows."""

    __tablename__ = "audit_heads"

    chain: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))


class DiscoveryCheck(Base):
    """How the last look from outside at a domain's service discovery went."""

    __tablename__ = "discovery_checks"

    domain: Mapped[str] = mapped_column(String(253), primary_key=True)
    checked_at: Mapped[datetime]
    problem: Mapped[str | None] = mapped_column(String(48))
    detail: Mapped[str] = mapped_column(String(400), default="")


class PortalState(Base):
    """Things the portal made for itself at first start (CA, signer, push topic)."""

    __tablename__ = "portal_state"

    name: Mapped[str] = mapped_column(String(48), primary_key=True)
    value: Mapped[str | None] = mapped_column(Text)
    sealed: Mapped[bytes | None]


class Tally(Base):
    """How often something happened that belongs to no request, and when last."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime]
