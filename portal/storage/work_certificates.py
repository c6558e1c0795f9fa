"""Identities for work that the portal's own authority issued: kept, revoked with what they are for, and listed."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from portal.models import Device, WorkCertificate

MOST_LISTED = 100_000


def of_challenge(session: Session, challenge: str) -> WorkCertificate | None:
    """What was issued for a challenge, if it was used."""
    return session.scalar(select(WorkCertificate).where(WorkCertificate.challenge_hash == _hash(challenge)))


def keep(
    session: Session, device_id: str, part: str, challenge: str, csr: bytes, made: x509.Certificate, now: datetime
) -> None:
    """Another one for a part; the ones before it are revoked."""
    _revoke(session, device_id, now, WorkCertificate.part == part)
    session.add(
        WorkCertificate(
            serial=f"{made.serial_number:x}",
            challenge_hash=_hash(challenge),
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


def revoked(session: Session, now: datetime) -> Sequence[tuple[int, datetime]]:
    """Serial numbers of those that count no more, with when; also all of a device whose enrollment is over."""
    query = (
        select(WorkCertificate.serial, func.coalesce(WorkCertificate.revoked_at, Device.ended_at))
        .join(Device, Device.id == WorkCertificate.device_id)
        .where(WorkCertificate.expires_at > now)
        .where(or_(WorkCertificate.revoked_at.is_not(None), Device.ended_at.is_not(None)))
        .order_by(WorkCertificate.serial)
        .limit(MOST_LISTED)
    )
    return [(int(row[0], 16), row[1]) for row in session.execute(query)]


def _revoke(session: Session, device_id: str, now: datetime, which: object) -> None:
    theirs = (WorkCertificate.device_id == device_id, WorkCertificate.revoked_at.is_(None))
    session.execute(update(WorkCertificate).where(*theirs, which).values(revoked_at=now))  # type: ignore[arg-type]


def _hash(challenge: str) -> str:
    return hashlib.sha256(challenge.encode("utf-8", "surrogatepass")).hexdigest()
