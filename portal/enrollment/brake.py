"""The brake on removals: nothing takes the work data of many at once without a second person.

Every removal passes here, whoever asks: staff on a page, a program, the directory that calls people disabled. Within an
hour max(5, 2 % of the managed devices) go through; what comes after is held, and everything automatic stops. Admins are
told, and two of them have to agree before it goes on; whoever asked for what was held counts as one of the two. A
member of staff can still end a few enrollments by hand meanwhile: one lost phone must not wait.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Text, cast, func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.database import Recorded, lock_name
from portal.models import AuditEvent, Device, Person, PortalState

WINDOW = timedelta(hours=1)
AT_LEAST = 5
SHARE = 0.02
"""Of the managed devices."""
ADMIN_FOR = timedelta(days=1)
"""How long before something was held somebody must have been an admin to agree to it: the others were told by mail."""
BY_HAND = 5
"""Removals that one member of staff gets through in an hour although the brake holds."""
APPROVALS = 2
STATE = "removals_held"
REMOVALS = ("device.asked_to_leave", "device.given_up")
"""Kinds of events that stand for a removal."""
RELEASED = "released"
"""Who asks a device whose removal was released."""


class AdminTooNew(Exception):
    """Somebody who became an admin so shortly before cannot be the second person: the first may have made them."""


class RemovalsHeld(Recorded):
    """The brake holds: this cannot be done now, and it is not kept for later either."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Removals are held ``since``; ``by`` asked for the one that was too many; ``approved`` are admins who agreed."""

    since: datetime
    by: str
    approved: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """How many admins have to agree still."""
        return max(0, APPROVALS - len(self.agreed))

    @property
    def agreed(self) -> set[str]:
        """Everybody who counts as one of the two."""
        return {*self.approved, *([self.by] if self.by.startswith("admin:") else [])}


def held(session: Session) -> Hold | None:
    """What is held now, if anything."""
    state = session.get(PortalState, STATE, populate_existing=True)
    if state is None or not state.value:
        return None
    told = json.loads(state.value)
    return Hold(datetime.fromisoformat(told["since"]), told["by"], tuple(told["approved"])) if "since" in told else None


def waiting(session: Session) -> int:
    """How many devices would go if it went on."""
    query = select(func.count(Device.id)).where(*_waiting())
    return session.scalar(query) or 0


def passes(session: Session, actor: str, now: datetime) -> bool:
    """Whether one more removal goes through now; the one that is too many sets the brake (caller's transaction)."""
    lock_name(session, STATE)
    hold = held(session)
    if hold is None and _count(session, _counted_from(session, now)) < _limit(session):
        return True
    if hold is None:
        _write(session, {"since": now.isoformat(), "by": actor, "approved": []})
        audit.record(session, audit.SETTINGS, "removals.held", now, actor=actor)
    return _is_staff(actor) and _count(session, now - WINDOW, actor) < BY_HAND


def approve(session: Session, actor: str, now: datetime) -> Hold | None:
    """An admin agrees that what is held be removed. What is still missing; None if it goes on (or nothing was held).

    Raises AdminTooNew.
    """
    lock_name(session, STATE)
    hold = held(session)
    if hold is None:
        return None
    if _is_new(session, actor.rpartition(":")[2], hold.since - ADMIN_FOR):
        raise AdminTooNew
    agreed = Hold(hold.since, hold.by, tuple(sorted({*hold.approved, actor})))
    if agreed.missing:
        _write(session, {"since": hold.since.isoformat(), "by": hold.by, "approved": list(agreed.approved)})
        if agreed != hold:
            audit.record(session, audit.SETTINGS, "removals.approved", now, actor=actor)
        return agreed
    release(session, actor, now)
    return None


def _is_new(session: Session, person_id: str, since: datetime) -> bool:
    """Whether somebody was made an admin after ``since``, here or at their source."""
    made = AuditEvent.kind.in_(("person.added", "person.role_changed", "person.synced"))
    about = cast(AuditEvent.detail, Text).contains(person_id, autoescape=True)
    for event in session.scalars(select(AuditEvent).where(made, AuditEvent.at > since, about)):
        changed = {"added", "role"} & set((event.detail or {}).get("changed", ()))
        if event.reason == "admin" or changed:
            return True
    return False


def release(session: Session, actor: str, now: datetime) -> None:
    """It goes on: by the second admin, or by whoever has the server in hand."""
    lock_name(session, STATE)
    if held(session) is not None:
        _write(session, {"released": now.isoformat()})
        audit.record(session, audit.SETTINGS, "removals.released", now, actor=actor)


def keep(session: Session, actor: str, now: datetime) -> int:
    """It was a mistake: nothing of what is held is removed; how many devices keep their work data by that.

    Those whose owner's account is still disabled stay held. The brake is released once nothing is held.
    """
    lock_name(session, STATE)
    count = 0
    for device in session.scalars(select(Device).where(*_waiting()).with_for_update()):
        if device.request.person.disabled_at is None:
            device.leaving_reason = device.leaving_held_at = None
            count += 1
    session.flush()
    audit.record(session, audit.SETTINGS, "removals.kept", now, actor=actor, detail={"count": count})
    if not waiting(session):
        _write(session, {"released": now.isoformat()})
    return count


def _waiting() -> tuple[ColumnElement[bool], ...]:
    return Device.leaving_held_at.is_not(None), Device.leaving_at.is_(None), Device.ended_at.is_(None)


def _limit(session: Session) -> int:
    managed = select(func.count(Device.id)).where(Device.ended_at.is_(None), Device.enrolled_at.is_not(None))
    return max(AT_LEAST, int((session.scalar(managed) or 0) * SHARE))


def _counted_from(session: Session, now: datetime) -> datetime:
    """What two admins agreed to counts no more."""
    state = session.get(PortalState, STATE)
    told = json.loads(state.value) if state is not None and state.value else {}
    released = datetime.fromisoformat(told["released"]) if "released" in told else None
    return max(released, now - WINDOW) if released is not None else now - WINDOW


def _count(session: Session, since: datetime, actor: str | None = None) -> int:
    query = select(func.count(AuditEvent.id)).where(AuditEvent.kind.in_(REMOVALS), AuditEvent.at > since)
    query = query.where(AuditEvent.actor == actor) if actor is not None else query
    return session.scalar(query.where(AuditEvent.actor != RELEASED)) or 0


def _is_staff(actor: str) -> bool:
    return actor.startswith(("admin:", "helpdesk:"))


def _write(session: Session, told: dict[str, object]) -> None:
    state = session.get(PortalState, STATE) or PortalState(name=STATE)
    state.value = json.dumps(told)
    session.add(state)
    session.flush()


def admins(session: Session) -> int:
    """How many could agree."""
    query = select(func.count(Person.id)).where(Person.role == "admin", Person.disabled_at.is_(None))
    return session.scalar(query) or 0
