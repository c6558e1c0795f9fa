"""Policies as they are kept: written as drafts, published as versions that never change; who gets which."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.database import lock_name
from portal.events import Event
from portal.models import (
    DeclarativeState,
    Device,
    DevicePolicy,
    EnrollmentRequest,
    Membership,
    Policy,
    PolicyAudience,
    PolicyVersion,
)
from portal.policies import accepting, content, native, own_authority
from portal.policies.checking import Problem
from portal.policies.composing import Grant
from portal.policies.content import Outline, Part, outline_from
from portal.vault import Vault

IN, OUT, PILOT = "in", "out", "pilot"
EVERYBODY, GROUP, PERSON = "everybody", "group", "person"
LONGEST_NAME = 80
DIGEST_KEY = "digests of policies"


class NameTaken(Exception):
    """Another policy has that name."""


class NothingNew(Exception):
    """The draft is what was published already, or there is none."""


class NotUsable(Exception):
    """Something in the draft would not work on any device; ``problem`` says what."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.problem)
        self.problem = problem


class ChangedMeanwhile(Exception):
    """It is not what whoever decided had seen."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an audience; see PolicyAudience."""

    side: str
    kind: str
    value: str = ""


# --- what a person gets ------------------------------------------------------------------------------------------


def granted(session: Session, person_id: str) -> list[Grant]:
    """The policies that somebody gets, each in the version that is theirs, by name."""
    rows = session.execute(_GRANTED, {"person": person_id}).all()
    sides: dict[tuple[Any, ...], set[str]] = {}
    for policy_id, name, version, pilot_version, side in rows:
        sides.setdefault((policy_id, name, version, pilot_version), set()).add(side)
    found = (grant(session, policy[0], policy[1], policy[2], policy[3], theirs) for policy, theirs in sides.items())
    return sorted((each for each in found if each is not None), key=lambda each: (each.name.casefold(), each.policy_id))


def matched(session: Session, person_id: str) -> dict[str, list[Line]]:
    """By policy: the lines of its audience that speak of somebody, also those that take it from them again."""
    query = _GRANTED.with_only_columns(
        Policy.id, PolicyAudience.side, PolicyAudience.kind, PolicyAudience.value, maintain_column_froms=True
    )
    found: dict[str, list[Line]] = {}
    for policy_id, side, kind, value in session.execute(query, {"person": person_id}):
        found.setdefault(policy_id, []).append(Line(side, kind, value))
    return found


def grant(
    session: Session, policy_id: str, name: str, version: int | None, pilot_version: int | None, sides: set[str]
) -> Grant | None:
    """What somebody on these sides of a policy's audience gets of it."""
    if IN not in sides or OUT in sides:
        return None
    pilot = pilot_version is not None and PILOT in sides
    number = pilot_version if pilot else version
    return Grant(policy_id, name, number, outlines(session, policy_id, number), pilot) if number is not None else None


def outlines(session: Session, policy_id: str, number: int) -> tuple[Outline, ...]:
    """What is told of a version without opening it; it never changes, so it is remembered."""
    known = _outlines()
    if (policy_id, number) not in known:
        told = session.get_one(PolicyVersion, (policy_id, number)).outline
        if len(known) >= MOST_REMEMBERED:
            known.clear()
        known[policy_id, number] = tuple(outline_from(each) for each in told)
    return known[policy_id, number]


MOST_REMEMBERED = 5000


@lru_cache(maxsize=1)
def _outlines() -> dict[tuple[str, int], tuple[Outline, ...]]:
    return {}


def opened(session: Session, vault: Vault, policy_id: str, number: int) -> tuple[Part, ...]:
    """The parts of a version, with their secrets. Raises VaultError."""
    return content.read(vault.open(session.get_one(PolicyVersion, (policy_id, number)).content_sealed))


_GRANTED = (
    select(Policy.id, Policy.name, Policy.version, Policy.pilot_version, PolicyAudience.side)
    .join(PolicyAudience, PolicyAudience.policy_id == Policy.id)
    .where(
        Policy.archived_at.is_(None),
        or_(Policy.version.is_not(None), Policy.pilot_version.is_not(None)),
        or_(
            PolicyAudience.kind == EVERYBODY,
            and_(PolicyAudience.kind == PERSON, PolicyAudience.value == bindparam("person")),
            and_(
                PolicyAudience.kind == GROUP,
                PolicyAudience.value.in_(
                    select(Membership.name).where(Membership.person_id == bindparam("person")).scalar_subquery()
                ),
            ),
        ),
    )
)


# --- the policies themselves -------------------------------------------------------------------------------------


def living(session: Session) -> list[Policy]:
    """Every policy that is not over, by name."""
    return sorted(
        session.scalars(select(Policy).where(Policy.archived_at.is_(None))), key=lambda each: each.name.casefold()
    )


def find(session: Session, policy_id: str) -> Policy | None:
    """A policy that is not over, to look at."""
    found = session.get(Policy, policy_id)
    return found if found is not None and found.archived_at is None else None


def locked(session: Session, policy_id: str) -> Policy | None:
    """The same, locked until the transaction ends, to change it."""
    query = select(Policy).where(Policy.id == policy_id, Policy.archived_at.is_(None))
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def create(session: Session, name: str, actor: str, now: datetime) -> Policy:
    """A policy with nothing in it, for nobody. Raises NameTaken."""
    _check_name(session, name, None)
    made = Policy(name=name, created_at=now, changed_at=now)
    session.add(made)
    session.flush()
    _record(session, made, Event.POLICY_MADE, actor, now)
    return made


def rename(session: Session, policy: Policy, name: str, actor: str, now: datetime) -> None:
    """Call it otherwise; devices show the name. Raises NameTaken."""
    if name == policy.name:
        return
    _check_name(session, name, policy.id)
    before, policy.name, policy.changed_at = policy.name, name, now
    _record(session, policy, Event.POLICY_CHANGED, actor, now, before=before)


def archive(session: Session, policy: Policy, actor: str, now: datetime) -> None:
    """Take it from everybody, for good."""
    policy.archived_at = policy.changed_at = now
    _record(session, policy, Event.POLICY_ENDED, actor, now)


def draft(vault: Vault, policy: Policy) -> tuple[Part, ...] | None:
    """What is being written, if anything. Raises VaultError."""
    return content.read(vault.open(policy.draft_sealed)) if policy.draft_sealed is not None else None


def newest(session: Session, policy: Policy) -> int | None:
    """The number of the version published last, whoever gets it."""
    return session.scalar(select(func.max(PolicyVersion.number)).where(PolicyVersion.policy_id == policy.id))


def in_use(policy: Policy) -> int | None:
    """The number of the version that is on trial, else of the one that everybody has."""
    return policy.pilot_version or policy.version


def current(session: Session, vault: Vault, policy: Policy) -> tuple[Part, ...]:
    """What one goes on writing from: the draft, else the version in use, else nothing."""
    written = draft(vault, policy)
    number = in_use(policy) if written is None else None
    return written if written is not None else opened(session, vault, policy.id, number) if number else ()


def save_draft(vault: Vault, policy: Policy, parts: Sequence[Part], actor: str, now: datetime) -> None:
    """Keep what is being written; nobody gets it."""
    policy.draft_sealed = vault.seal(content.write(parts))
    policy.draft_at, policy.draft_by = now, actor


def drop_draft(policy: Policy) -> None:
    """Forget it."""
    policy.draft_sealed = policy.draft_at = policy.draft_by = None


def publish(
    session: Session,
    vault: Vault,
    policy: Policy,
    actor: str,
    now: datetime,
    *,
    pilot: bool,
) -> PolicyVersion:
    """Make the draft the next version: for everybody who gets the policy, or for its pilot group first.

    Raises NothingNew, NotUsable.
    """
    written = draft(vault, policy)
    if written is None:
        raise NothingNew
    made = _next(session, vault, policy, written, actor, now, pilot=pilot)
    drop_draft(policy)
    return made


def _outline(parts: Sequence[Part], vault: Vault) -> list[Outline]:
    return content.outline(parts, vault.derive(DIGEST_KEY), native.can_be, own_authority.is_own)


def restore(session: Session, vault: Vault, policy: Policy, number: int, actor: str, now: datetime) -> PolicyVersion:
    """Publish an old version's content as a new one; a draft stays as it is. Raises NothingNew, NotUsable."""
    written = opened(session, vault, policy.id, number)
    return _next(session, vault, policy, written, actor, now, pilot=False, restored=number)


def _next(
    session: Session,
    vault: Vault,
    policy: Policy,
    written: tuple[Part, ...],
    actor: str,
    now: datetime,
    *,
    pilot: bool,
    restored: int | None = None,
) -> PolicyVersion:
    used, before = in_use(policy), newest(session, policy)
    if used is not None and written == opened(session, vault, policy.id, used):
        raise NothingNew
    wrong = accepting.worst(accepting.problems(written))
    if wrong is not None:
        raise NotUsable(wrong)
    made = PolicyVersion(
        policy_id=policy.id,
        number=(before or 0) + 1,
        content_sealed=vault.seal(content.write(written)),
        outline=[each.as_json() for each in _outline(written, vault)],
        restored_from=restored,
        published_at=now,
        published_by=actor,
    )
    session.add(made)
    session.flush()
    if pilot:
        policy.pilot_version = made.number
    else:
        policy.version, policy.pilot_version = made.number, None
    policy.changed_at = now
    _record(session, policy, Event.POLICY_PUBLISHED, actor, now, version=made.number, pilot=pilot)
    return made


def settle_pilot(session: Session, policy: Policy, to_all: bool, actor: str, now: datetime) -> None:
    """The pilot's version goes to everybody, or the pilot is stopped: its group gets the version before again."""
    if policy.pilot_version is None:
        return
    version = policy.pilot_version
    if to_all:
        policy.version = version
    policy.pilot_version, policy.changed_at = None, now
    _record(session, policy, Event.POLICY_PUBLISHED if to_all else Event.POLICY_STOPPED, actor, now, version=version)


def versions(session: Session, policy: Policy) -> list[PolicyVersion]:
    """Every version, the newest first."""
    query = select(PolicyVersion).where(PolicyVersion.policy_id == policy.id).order_by(PolicyVersion.number.desc())
    return list(session.scalars(query))


def audiences(session: Session) -> dict[str, list[Line]]:
    """Who gets which policy."""
    found: dict[str, list[Line]] = {}
    query = select(PolicyAudience).order_by(PolicyAudience.side, PolicyAudience.kind, PolicyAudience.value)
    for each in session.scalars(query):
        found.setdefault(each.policy_id, []).append(Line(each.side, each.kind, each.value))
    return found


def audience(session: Session, policy_id: str) -> list[Line]:
    """Who gets a policy."""
    query = select(PolicyAudience).where(PolicyAudience.policy_id == policy_id)
    rows = session.scalars(query.order_by(PolicyAudience.side, PolicyAudience.kind, PolicyAudience.value))
    return [Line(each.side, each.kind, each.value) for each in rows]


def set_audience(session: Session, policy: Policy, lines: Iterable[Line], actor: str, now: datetime) -> None:
    """Let exactly these get it."""
    wanted, before = set(lines), set(audience(session, policy.id))
    if wanted == before:
        return
    session.execute(delete(PolicyAudience).where(PolicyAudience.policy_id == policy.id))
    if wanted:
        rows = [{"policy_id": policy.id, "side": e.side, "kind": e.kind, "value": e.value} for e in wanted]
        session.execute(insert(PolicyAudience), rows)
    policy.changed_at = now
    told, gone = (
        [f"{each.side} {each.kind} {each.value}".strip() for each in sorted(some, key=repr)]
        for some in (wanted - before, before - wanted)
    )
    _record(session, policy, Event.POLICY_AUDIENCE, actor, now, added=told, removed=gone)


def on_device(session: Session, device_id: str) -> list[tuple[str, DevicePolicy]]:
    """What became of each policy on a device, by the policy's name."""
    query = select(Policy.name, DevicePolicy).join(DevicePolicy, DevicePolicy.policy_id == Policy.id)
    rows = session.execute(query.where(DevicePolicy.device_id == device_id).order_by(Policy.name))
    return [(row[0], row[1]) for row in rows]


def counts(session: Session) -> dict[str, dict[str, int]]:
    """By policy: how many managed devices are in which state."""
    query = (
        select(DevicePolicy.policy_id, DevicePolicy.state, func.count())
        .join(Device, Device.id == DevicePolicy.device_id)
        .where(Device.ended_at.is_(None))
        .group_by(DevicePolicy.policy_id, DevicePolicy.state)
    )
    found: dict[str, dict[str, int]] = {}
    for policy_id, state, count in session.execute(query):
        found.setdefault(policy_id, {})[state] = count
    return found


def _check_name(session: Session, name: str, own_id: str | None) -> None:
    lock_name(session, "names of policies")
    if any(each.name.casefold() == name.casefold() and each.id != own_id for each in living(session)):
        raise NameTaken


def _record(session: Session, policy: Policy, event: Event, actor: str, now: datetime, **detail: Any) -> None:
    told: Mapping[str, Any] = {"policy": policy.id, "name": policy.name, **detail}
    audit.record(session, audit.SETTINGS, event, now, actor=actor, detail=dict(told))


# --- groups ------------------------------------------------------------------------------------------------------


def set_groups(session: Session, person_id: str, source: str, names: Iterable[str] | None) -> bool:
    """Somebody is in exactly these groups of a source, and in none of a source that they were of before; whether that
    is new. ``names`` None: the source did not tell. Those that are too long, or cannot be shown, are left out."""
    theirs = (Membership.person_id == person_id, Membership.source != LIST)
    before = set(session.scalars(select(Membership.name).where(*theirs)))
    if names is None:
        wanted = {full for full in before if full.startswith(f"{source}:")}
    else:
        wanted = {full for name in names if len(full := f"{source}:{name}") <= LONGEST_GROUP and full.isprintable()}
    if wanted == before:
        return False
    session.execute(delete(Membership).where(*theirs, Membership.name.in_(before - wanted)))
    if wanted - before:
        rows = [{"person_id": person_id, "source": source, "name": name} for name in sorted(wanted - before)]
        session.execute(insert(Membership), rows)
    return True


def mark(session: Session, person_id: str, now: datetime) -> None:
    """What somebody gets may be another now: the worker looks at their devices."""
    theirs = select(Device.id).join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
    managed = (Device.enrolled_at.is_not(None), Device.ended_at.is_(None), Device.server.is_(None))
    theirs = theirs.where(EnrollmentRequest.person_id == person_id, *managed)
    mark_devices(session, session.scalars(theirs).all(), now)


def mark_devices(session: Session, ids: Sequence[str], now: datetime) -> None:
    """The worker looks at these devices; locked in the order in which whoever tells them locks them."""
    if not ids:
        return
    query = select(DeclarativeState.device_id).where(DeclarativeState.device_id.in_(ids))
    in_order = query.join(Device, Device.id == DeclarativeState.device_id).order_by(Device.request_id)
    known = set(session.scalars(in_order.with_for_update(of=DeclarativeState)))
    session.execute(update(DeclarativeState).where(DeclarativeState.device_id.in_(known)).values(due_at=now))
    missing = [{"device_id": each, "known": {}, "profiles": {}, "due_at": now} for each in ids if each not in known]
    if missing:
        session.execute(insert(DeclarativeState), missing)


LONGEST_GROUP = 255


MOST_TOLD = 500
"""Names in one entry of the trail, each way."""
LIST = "list"
"""The source of groups that admins keep."""


def set_list(session: Session, name: str, people: set[str], actor: str, now: datetime) -> None:
    """These people, and nobody else, are on a list; an empty one is gone."""
    full = f"{LIST}:{name}"
    before = set(session.scalars(select(Membership.person_id).where(Membership.name == full)))
    if before == people:
        return
    session.execute(delete(Membership).where(Membership.name == full, Membership.person_id.in_(before - people)))
    if people - before:
        rows = [{"person_id": each, "source": LIST, "name": full} for each in sorted(people - before)]
        session.execute(insert(Membership), rows)
    of_it = select(PolicyAudience.policy_id).where(PolicyAudience.kind == GROUP, PolicyAudience.value == full)
    session.execute(update(Policy).where(Policy.id.in_(of_it)).values(changed_at=now))
    came, went = sorted(people - before), sorted(before - people)
    detail = {
        "list": name,
        "added": len(came),
        "removed": len(went),
        "who": {"in": came[:MOST_TOLD], "out": went[:MOST_TOLD]},
    }
    audit.record(session, audit.SETTINGS, Event.LIST_SAVED, now, actor=actor, detail=detail)


def groups(session: Session) -> list[tuple[str, int]]:
    """Every group that somebody is in, and how many are."""
    query = select(Membership.name, func.count()).group_by(Membership.name).order_by(Membership.name)
    return [(row[0], row[1]) for row in session.execute(query)]


def count_groups(session: Session) -> int:
    """How many groups are known."""
    return session.scalar(select(func.count(Membership.name.distinct()))) or 0
