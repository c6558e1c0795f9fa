"""What NanoMDM tells of its devices: each webhook is stored before it is answered, and taken up by the worker.

NanoMDM sends each webhook once, in no certain order, and forgets it. So the meaning of none depends on another's having
come: a message of a device that the portal does not know yet waits a moment for those before it, and then stands for
them (who hands over a push token has introduced himself; who answers commands is enrolled). What belongs to nobody is
kept for admins to see.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import plistlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import clock, plists
from portal.backends import messages
from portal.database import Database
from portal.enrollment import allowed, devices
from portal.enrollment.case import Case
from portal.enrollment.devices import DeviceReport
from portal.enrollment.errors import DeviceRefused
from portal.models import BackendEvent
from portal.plists import BadPlist
from portal.settings import Settings
from portal.storage.cases import Cases, CaseServices
from portal.vault import Vault

REFERENCE = "ref"
"""The query of a device's addresses: which profile it enrolled with."""
SIGNATURE = "X-Hmac-Signature"
TOPICS = {"mdm.Authenticate", "mdm.TokenUpdate", "mdm.CheckOut", "mdm.Connect"}
USER_ENROLLMENT = "User Enrollment (Device)"
PATIENCE = timedelta(seconds=20)
"""How long a message waits for those that should have come before it."""
LOOK_AGAIN = timedelta(seconds=2)
RETRIES = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800))
BATCH_SIZE = 1000
KEEP_DONE = timedelta(days=2)
KEEP_UNKNOWN = timedelta(days=30)
UNKNOWN = "unknown"
FAILED = "failed"
REFUSED = "refused"
KEPT = (UNKNOWN, REFUSED)
"""Beginnings of outcomes that an admin should see."""

log = logging.getLogger("portal.nanomdm")


class NotGenuine(Exception):
    """The body is not signed with the shared secret."""


class NotUnderstood(Exception):
    """A genuine webhook that is none of NanoMDM's."""


class _TooEarly(Exception):
    """Wait for the messages before this one."""


@dataclass(frozen=True, slots=True)
class _Told:
    """One webhook, read: nothing in it that user enrollment forbids to know."""

    event_id: str
    kind: str
    enrollment_id: str | None
    profile_id: str | None
    message: dict[str, Any]


def check(body: bytes, signature: str, secret: str) -> None:
    """Raises NotGenuine unless ``signature`` is base64(HMAC-SHA256(secret, body)); in constant time."""
    wanted = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest())
    if not hmac.compare_digest(wanted, signature.strip().encode("utf-8", "replace")):
        raise NotGenuine


def store(session: Session, vault: Vault, body: bytes, now: datetime) -> bool:
    """Keep a genuine webhook for the worker, once for each event. True if it was new. Raises NotUnderstood."""
    told = _read(body)
    if told is None or session.scalar(select(BackendEvent.id).where(BackendEvent.event_id == told.event_id)):
        return False
    event = BackendEvent(
        event_id=told.event_id,
        kind=told.kind,
        enrollment_id=told.enrollment_id,
        profile_id=told.profile_id,
        content_sealed=vault.seal(plistlib.dumps(told.message)),
        received_at=now,
        next_attempt_at=now,
    )
    try:
        with session.begin_nested():
            session.add(event)
    except IntegrityError:  # the same event at the same moment
        return False
    return True


def _read(body: bytes) -> _Told | None:
    """The webhook; None for a kind that user enrollment has no use for."""
    try:
        event = json.loads(body)
        topic = event["topic"]
        if topic not in TOPICS:
            return None
        part = event["acknowledge_event" if topic == "mdm.Connect" else "checkin_event"]
        raw = base64.b64decode(part["raw_payload"], validate=True)
        message = plists.read(raw)
        reference = (part.get("url_params") or {}).get(REFERENCE)
        enrollment_id = plists.text(message, "EnrollmentID")
        whole_device = (part.get("ids") or {}).get("type") != USER_ENROLLMENT or bool(part.get("udid"))
        event_id = event.get("event_id") or hashlib.sha256(body).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error, BadPlist) as error:
        raise NotUnderstood(type(error).__name__) from None
    clean = allowed.without_identifiers(message)
    if topic == "mdm.Authenticate" and (whole_device or allowed.names_hardware(message)):
        clean["UDID"] = ""  # says that there was one; what it was is not kept
    elif whole_device:
        enrollment_id = None
    profile_id = reference if isinstance(reference, str) and reference.isalnum() and len(reference) <= 64 else None
    return _Told(str(event_id)[:64], topic.removeprefix("mdm."), enrollment_id, profile_id, clean)


# --- the worker's part ------------------------------------------------------------------------------------------------


def take_up(database: Database, vault: Vault, settings: Settings, topic: str) -> int:
    """Take up what waits, each event in a transaction of its own; how many were settled."""
    settled, tried = 0, 0
    while tried < BATCH_SIZE:
        tried += 1
        event_id = None
        try:
            with database.transaction() as session:
                event = _next(session, clock.now())
                if event is None:
                    break
                event_id = event.id
                settled += _take_up(Cases(session, CaseServices(settings, vault)), topic, event)
        except DeviceRefused as refusal:  # recorded with the request; the rest of that transaction stands
            with database.transaction() as session:
                _done(session.get_one(BackendEvent, event_id), f"{REFUSED}: {refusal.reason}"[:48], clock.now())
            settled += 1
        except Exception as problem:  # one broken event must not stop the others
            if event_id is None:  # nor can any other be read now
                raise
            log.exception("nanomdm.event_failed event=%s", event_id)
            with database.transaction() as session:
                _again(session.get_one(BackendEvent, event_id), type(problem).__name__, clock.now())
    return settled


def next_due(session: Session) -> datetime | None:
    """When the next event that waits is to be taken up."""
    return session.scalar(select(func.min(BackendEvent.next_attempt_at)).where(BackendEvent.done_at.is_(None)))


def _next(session: Session, now: datetime) -> BackendEvent | None:
    query = (
        select(BackendEvent)
        .where(BackendEvent.done_at.is_(None), BackendEvent.next_attempt_at <= now)
        .order_by(BackendEvent.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return session.scalar(query)


def _take_up(cases: Cases, topic: str, event: BackendEvent) -> bool:
    message = plistlib.loads(cases.services.vault.open(event.content_sealed or b""))
    patient = cases.now - event.received_at < PATIENCE
    try:
        if event.kind == "Authenticate":
            outcome = _authenticate(cases, topic, event, message)
        else:
            outcome = _speak(cases, topic, event, message, patient)
    except _TooEarly:
        event.next_attempt_at = cases.now + LOOK_AGAIN
        return False
    except BadPlist as problem:
        outcome = f"{REFUSED}: {problem}"
    _done(event, outcome, cases.now)
    if event.kind in ("Authenticate", "TokenUpdate"):
        _release(cases, event)
    return True


def _release(cases: Cases, event: BackendEvent) -> None:
    """What waited for this message need not wait any longer."""
    same = (BackendEvent.enrollment_id == event.enrollment_id) & BackendEvent.done_at.is_(None)
    waiting = same & (BackendEvent.next_attempt_at > cases.now) & (BackendEvent.attempts == 0)
    cases.session.execute(update(BackendEvent).where(waiting).values(next_attempt_at=cases.now))


def _authenticate(cases: Cases, topic: str, event: BackendEvent, message: dict[str, Any]) -> str:
    known = cases.of_enrollment(event.enrollment_id) if event.enrollment_id else None
    device = known.device if known is not None else None
    if device is not None and device.profile_id == event.profile_id:
        device.os_version = device.os_version or plists.text(message, "OSVersion", 32)
        device.build_version = device.build_version or plists.text(message, "BuildVersion", 32)
        device.product_name = device.product_name or plists.text(message, "ProductName", 64)
        return "late" if device.enrolled_at or device.ended_at else "again"
    case = cases.of_profile(event.profile_id) if event.profile_id else None
    if case is None:
        return UNKNOWN
    messages.authenticate(case, topic, message)
    return "done"


def _speak(cases: Cases, topic: str, event: BackendEvent, message: dict[str, Any], patient: bool) -> str:
    """Everything that a device says after it introduced itself."""
    case = cases.of_enrollment(event.enrollment_id) if event.enrollment_id else None
    if case is None:
        case = cases.of_profile(event.profile_id) if event.profile_id else None
        if case is None or event.enrollment_id is None:
            return UNKNOWN
        if patient:
            raise _TooEarly
        devices.authenticated(case, DeviceReport(event.enrollment_id))
    device = case.device
    assert device is not None
    if event.profile_id is not None and device.profile_id != event.profile_id:
        return f"{REFUSED}: reference of another device"
    return _said(case, topic, event, message, patient)


def _said(case: Case, topic: str, event: BackendEvent, message: dict[str, Any], patient: bool) -> str:
    device = case.device
    assert device is not None
    if event.kind == "CheckOut":
        messages.check_out(case)
    elif event.kind == "TokenUpdate":
        if device.ended_at is None:
            messages.token_update(case, topic, message)
    else:
        if device.enrolled_at is None and device.ended_at is None:
            if patient:
                raise _TooEarly
            devices.enrolled(case)
        try:
            messages.report(case, message)
        except messages.UnknownCommand:
            return "of_others"  # somebody uses NanoMDM's API beside the portal
    return "done"


def _done(event: BackendEvent, outcome: str, now: datetime) -> None:
    event.done_at, event.outcome, event.next_attempt_at, event.content_sealed = now, outcome[:48], None, None
    if outcome.startswith(KEPT):
        event.kept_at = now
        log.warning("nanomdm.event_not_applied kind=%s outcome=%r", event.kind, outcome)


def _again(event: BackendEvent, problem: str, now: datetime) -> None:
    if event.attempts >= len(RETRIES):
        event.done_at, event.outcome, event.next_attempt_at = now, f"{FAILED}: {problem}"[:48], None
        event.kept_at = now
        return
    event.next_attempt_at = now + RETRIES[event.attempts]
    event.attempts += 1


# --- what admins see --------------------------------------------------------------------------------------------------


def kept() -> ColumnElement[bool]:
    """Events that changed nothing and that somebody should look at."""
    return BackendEvent.kept_at.is_not(None)


def forget(session: Session, now: datetime) -> None:
    """Housekeeping: what was settled after two days, what belongs to nobody after a month."""
    done = BackendEvent.done_at
    session.execute(delete(BackendEvent).where(done < now - KEEP_DONE, BackendEvent.kept_at.is_(None)))
    session.execute(delete(BackendEvent).where(kept(), done < now - KEEP_UNKNOWN))
