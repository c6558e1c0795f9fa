"""The brake on removals: nothing takes the work data of many at once without a second person.

Every removal passes here, whoever asks: staff on a page, a program, the directory that calls people disabled. Within an
hour max(5, 2 % of the managed devices) go through; what comes after is held, and everything automatic stops. Admins are
told, and two of them have to agree before it goes on; whoever asked for what was held counts as one of the two. Who
agrees does so for the devices that are held then: when more are, they are asked anew. A member of staff can still end a
few enrollments by hand meanwhile: one lost phone must not wait.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnExpressionArgument, Text, and_, cast, func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.database import lock_name
from portal.enrollment import ending
from portal.events import Actor, Event
from portal.models import AuditEvent, Device, EnrollmentRequest, Person, PortalState
from portal.people import audiences

WINDOW = timedelta(hours=1)
AT_LEAST = 5
SHARE = 0.02
"""Of the managed devices."""
ADMIN_FOR = timedelta(days=1)
"""How long before something was held nobody may have changed how an admin gets in who agrees to it."""
_NEW_WAYS_IN = (
    Event.PERSON_ADDED,
    Event.PERSON_ROLE_CHANGED,
    Event.PERSON_SYNCED,
    Event.PERSON_CHANGED,
    Event.PERSON_ENABLED,
    Event.SECOND_FACTOR_FORGOTTEN,
    Event.SECOND_FACTOR_REPLACED,
    Event.PASSWORD_LINK_MADE,
)
_WAYS_IN = ("mail.", "ldap.", "oidc.")
BY_HAND = 5
"""Removals that one member of staff gets through in an hour although the brake holds."""
APPROVALS = 2
STATE = "removals_held"
REMOVALS = (Event.DEVICE_ASKED_TO_LEAVE, Event.DEVICE_GIVEN_UP, Event.DEVICE_WIPE_ASKED)
"""Kinds of events that stand for a removal."""
RELEASED = Actor.RELEASED
"""Who asks a device whose removal was released."""


class MoreHeld(Exception):
    """More is held than this admin was shown, so they agree to nothing yet."""


class NotTheSecond(Exception):
    """This admin may be the first one in another's name: made, reset or let in by others within the day before."""


@dataclass(frozen=True, slots=True)
class Held:
    """How many devices are held, and since when the newest of them is."""

    count: int
    newest: datetime | None

    @property
    def told(self) -> str:
        """For the form of whoever agrees to just that."""
        return f"{self.count} {self.newest.isoformat() if self.newest else ''}"

    @classmethod
    def of(cls, told: str) -> "Held":
        """What ``told`` said. Raises ValueError."""
        count, _, at = told.partition(" ")
        newest = datetime.fromisoformat(at) if at else None
        if newest is not None and newest.tzinfo is None:
            raise ValueError("without a zone")
        return cls(int(count), newest)

    def covers(self, other: "Held") -> bool:
        """Whether nothing came to be held between this and ``other``, which is later."""
        is_no_newer = other.newest is None or (self.newest is not None and other.newest <= self.newest)
        return is_no_newer and other.count <= self.count


@dataclass(frozen=True, slots=True)
class Hold:
    """Removals are held ``since``; ``agreed`` are the admins who agreed to what is held now, or asked for it."""

    since: datetime
    agreed: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """How many admins have to agree still."""
        return max(0, APPROVALS - len(self.agreed))


def held(session: Session) -> Hold | None:
    """What is held now, if anything."""
    told = _state(session)
    if "since" not in told:
        return None
    now = waiting(session)
    agreed = (actor for actor, to in told["agreed"].items() if Held.of(to).covers(now))
    return Hold(datetime.fromisoformat(told["since"]), tuple(sorted(agreed)))


def waiting(session: Session) -> Held:
    """The devices that would go if it went on."""
    query = select(func.count(Device.id), func.max(Device.leaving_held_at)).where(Device.is_held)
    count, newest = session.execute(query).one()
    return Held(count, newest)


def passes(session: Session, actor: str, now: datetime) -> bool:
    """Whether one more removal goes through now; the one that is too many sets the brake (caller's transaction).

    The caller has locked the device's request: always the requests first, then this.
    """
    lock_name(session, STATE)
    hold = held(session)
    if hold is None and _count(session, _counted_from(session, now)) < _limit(session):
        return True
    if hold is None:
        audit.record(session, audit.SETTINGS, Event.REMOVALS_HELD, now, actor=actor)
        newest = session.scalar(select(func.max(AuditEvent.id)))
        _write(session, {**_state(session), "since": now.isoformat(), "agreed": {}, "event": newest})
    # By hand, and few: this one's, and everybody's since it was held.
    hour = now - WINDOW
    few = _count(session, hour, actor) < BY_HAND and _count(session, hour, after=_state(session)["event"]) < AT_LEAST
    through = actor.startswith(("admin:", "helpdesk:")) and few
    # Who asked for all that is held agrees to it.
    asked_for_all = actor.startswith("admin:") and (hold is None or actor in hold.agreed)
    if not through and asked_for_all and not _may_be_the_first(session, actor, now - ADMIN_FOR):
        _agree(session, actor, Held(waiting(session).count + 1, now))
    return through


def _agree(session: Session, actor: str, to: Held) -> None:
    told = _state(session)
    _write(session, {**told, "agreed": {**told["agreed"], actor: to.told}})


def approve(session: Session, actor: str, shown: Held, now: datetime) -> Hold | None:
    """An admin agrees that what is held be removed: what they were ``shown``, and no more.

    What is still missing; None if it goes on (or nothing was held). Raises NotTheSecond, MoreHeld.
    """
    lock_name(session, STATE)
    hold = held(session)
    if hold is None:
        return None
    since = hold.since - ADMIN_FOR
    if _may_be_the_first(session, actor, since) or _ways_in_changed(session, since):
        raise NotTheSecond
    now_held = waiting(session)
    if not shown.covers(now_held):
        raise MoreHeld
    agreed = Hold(hold.since, tuple(sorted({*hold.agreed, actor})))
    if agreed.missing:
        _agree(session, actor, now_held)
        if agreed != hold:
            audit.record(session, audit.SETTINGS, Event.REMOVALS_APPROVED, now, actor=actor)
        return agreed
    release(session, actor, now)
    return None


def _may_be_the_first(session: Session, actor: str, since: datetime) -> bool:
    """Whether somebody else may act as ``actor``: made an admin after ``since``, or given a new way in by others."""
    person_id = actor.rpartition(":")[2]
    kinds = AuditEvent.kind.in_(_NEW_WAYS_IN)
    about = cast(AuditEvent.detail, Text).contains(person_id, autoescape=True)
    for event in session.scalars(select(AuditEvent).where(kinds, AuditEvent.at > since, about)):
        changed = set((event.detail or {}).get("changed", ()))
        details = event.kind in (Event.PERSON_SYNCED, Event.PERSON_CHANGED)
        harmless = details and not {"added", "role", "email"} & changed
        lower = event.kind in (Event.PERSON_ADDED, Event.PERSON_ROLE_CHANGED) and event.reason != "admin"
        if not harmless and not lower:
            return True
    return False


def _ways_in_changed(session: Session, since: datetime) -> bool:
    """Whether the settings that say whose password or mailbox it is were changed after ``since``."""
    query = select(AuditEvent.detail).where(AuditEvent.kind == Event.SETTINGS_CHANGED, AuditEvent.at > since)
    changed = (name for detail in session.scalars(query) for name in (detail or {}).get("changes", {}))
    return any(name.startswith(_WAYS_IN) for name in changed)


def release(session: Session, actor: str, now: datetime) -> None:
    """It goes on: by the second admin, or by whoever has the server in hand."""
    lock_name(session, STATE)
    if held(session) is not None:
        _write(session, {"released": now.isoformat()})
        audit.record(session, audit.SETTINGS, Event.REMOVALS_RELEASED, now, actor=actor)


def keep(session: Session, actor: str, now: datetime) -> int:
    """It was a mistake: nothing of what is held is removed; how many devices keep their work data by that.

    Those whose owner's account is still disabled stay held. The brake is released once nothing is held; what was
    removed in the last hour counts on.
    """
    if held(session) is None:
        return 0
    kept = _spare(session, Device.is_held, now)
    audit.record(session, audit.SETTINGS, Event.REMOVALS_KEPT, now, actor=actor, detail={"count": kept})
    if held(session) is not None:  # whoever agreed before did not know of this
        _write(session, {**_state(session), "agreed": {}})
    return kept


def spare_enabled(session: Session, now: datetime) -> int:
    """Devices that are held because their person was disabled, who is enabled again, keep their work data; how many."""
    return _spare(session, and_(Device.is_held, Device.leaving_reason == ending.Reason.DISABLED), now)


def _spare(session: Session, which: ColumnExpressionArgument[bool], now: datetime) -> int:
    """Of these held devices those keep their work data whose person is not disabled; how many.

    The brake is released once nothing is held.
    """
    enabled = Person.disabled_at.is_(None)
    theirs = select(Device.request_id).where(which)
    requests = (
        select(EnrollmentRequest.id).join(EnrollmentRequest.person).where(enabled, EnrollmentRequest.id.in_(theirs))
    )
    locked = requests.order_by(EnrollmentRequest.id).with_for_update(of=EnrollmentRequest)
    ours = session.scalars(locked).all()
    if not ours:
        return 0
    lock_name(session, STATE)
    query = select(Device).where(Device.request_id.in_(ours), which)
    devices = session.scalars(query.execution_options(populate_existing=True)).all()
    kept = [device for device in devices if device.request.person.disabled_at is None]
    for device in kept:
        device.leaving_reason = device.leaving_held_at = None
    session.flush()
    audiences.mark_devices(session, [device.id for device in kept], now)  # what changed meanwhile
    if not waiting(session).count:
        told = _state(session)
        _write(session, {"released": told["released"]} if "released" in told else {})
    return len(kept)


def _state(session: Session) -> dict[str, Any]:
    state = session.get(PortalState, STATE, populate_existing=True)
    told = dict(json.loads(state.value)) if state is not None and state.value else {}
    return {**told, "agreed": {}} if isinstance(told.get("agreed"), list) else told  # as it was kept once


def _limit(session: Session) -> int:
    managed = select(func.count(Device.id)).where(Device.is_managed)
    return max(AT_LEAST, int((session.scalar(managed) or 0) * SHARE))


def _counted_from(session: Session, now: datetime) -> datetime:
    """What two admins agreed to counts no more."""
    told = _state(session)
    released = datetime.fromisoformat(told["released"]) if "released" in told else None
    return max(released, now - WINDOW) if released is not None else now - WINDOW


def _count(session: Session, since: datetime, actor: str | None = None, after: int = 0) -> int:
    """Removals after ``since`` and the event of id ``after``; of one person, whatever their role was."""
    query = select(func.count(AuditEvent.id)).where(AuditEvent.kind.in_(REMOVALS), AuditEvent.at > since)
    query = query.where(AuditEvent.id > after)
    if actor is not None:
        query = query.where(AuditEvent.actor.endswith(f":{actor.rpartition(':')[2]}", autoescape=True))
    return session.scalar(query.where(AuditEvent.actor != RELEASED)) or 0


def _write(session: Session, told: dict[str, object]) -> None:
    state = session.get(PortalState, STATE) or PortalState(name=STATE)
    state.value = json.dumps(told)
    session.add(state)
    session.flush()


def admins(session: Session) -> int:
    """How many could agree."""
    query = select(func.count(Person.id)).where(Person.is_active_admin)
    return session.scalar(query) or 0
