"""Identities for work that the portal's own authority issued: kept, revoked with what they are for, and listed."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from portal.models import Device, EnrollmentRequest, Person, WorkCertificate
from portal.vault import token_hash


def of_challenge(session: Session, challenge: str) -> WorkCertificate | None:
    """What was issued for a challenge, if it was used."""
    return session.scalar(select(WorkCertificate).where(WorkCertificate.challenge_hash == token_hash(challenge)))


def keep(
    session: Session, device_id: str, part: str, challenge: str, csr: bytes, made: x509.Certificate, now: datetime
) -> None:
    """Another one for a part; the ones before it are revoked."""
    _revoke(session, device_id, now, WorkCertificate.part == part)
    session.add(
        WorkCertificate(
            serial=f"{made.serial_number:x}",
            challenge_hash=token_hash(challenge),
            csr_sha256=hashlib.sha256(csr).hexdigest(),
            device_id=device_id,
            part=part,
            der=made.public_bytes(Encoding.DER),
            issued_at=now,
            expires_at=made.not_valid_after_utc,
        )
    )


def revoke_others(session: Session, device_id: str, wanted: Collection[str], now: datetime) -> None:
    """Revoke what a device has of parts that are not ``wanted`` for it any more."""
    _revoke(session, device_id, now, WorkCertificate.part.not_in(wanted))


_OVER = func.coalesce(WorkCertificate.revoked_at, Device.ended_at, Device.leaving_at, Person.disabled_at)
"""When one counts no more: also all of a device that left or is asked to, and of whoever may not work here any more."""


def revoked(session: Session, now: datetime) -> Sequence[tuple[int, datetime]]:
    """Serial numbers of those that count no more, with when."""
    query = _with_owner(select(WorkCertificate.serial, _OVER)).where(WorkCertificate.expires_at > now)
    rows = session.execute(query.where(_OVER.is_not(None)).order_by(WorkCertificate.serial))
    return [(int(row[0], 16), row[1]) for row in rows]


def stamp(session: Session, now: datetime) -> tuple[object, ...]:
    """Another one as soon as the list of those revoked is another; also each hour."""
    counted = select(
        func.count(_OVER), func.max(_OVER), func.min(WorkCertificate.serial), func.max(WorkCertificate.serial)
    )
    row = session.execute(_with_owner(counted).where(_OVER.is_not(None))).one()
    return (*row, now.replace(minute=0, second=0, microsecond=0))


def issued_lately(session: Session, device_id: str, part: str, now: datetime) -> int:
    """How many a device got for a part within a day."""
    query = select(func.count()).select_from(WorkCertificate)
    theirs = (WorkCertificate.device_id == device_id, WorkCertificate.part == part)
    return session.scalar(query.where(*theirs, WorkCertificate.issued_at > now - timedelta(days=1))) or 0


def _with_owner(query: Any) -> Select[Any]:
    query = query.join(Device, Device.id == WorkCertificate.device_id)
    query = query.join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
    joined: Select[Any] = query.join(Person, Person.id == EnrollmentRequest.person_id)
    return joined


def _revoke(session: Session, device_id: str, now: datetime, which: object) -> None:
    theirs = (WorkCertificate.device_id == device_id, WorkCertificate.revoked_at.is_(None))
    session.execute(update(WorkCertificate).where(*theirs, which).values(revoked_at=now))  # type: ignore[arg-type]
