"""Policies as they are kept: written as drafts, published as versions that never change; who gets which."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from portal.audit import Editor
from portal.database import lock_name
from portal.events import Event
from portal.models import (
    Device,
    DevicePolicy,
    Policy,
    PolicyAudience,
    PolicyVersion,
)
from portal.people import audiences
from portal.people.audiences import IN, OUT, Line
from portal.policies import accepting, content, native, own_authority
from portal.policies.checking import Problem
from portal.policies.composing import Grant
from portal.policies.content import Outline, Part, outline_from
from portal.vault import Vault

PILOT = "pilot"
"""The side of who gets new versions first."""
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


# --- what a person gets ------------------------------------------------------------------------------------------


def granted(session: Session, person_id: str) -> list[Grant]:
    """The policies that somebody gets, each in the version that is theirs, by name."""
    rows = session.execute(_GRANTED, {"person": person_id}).all()
    sides: dict[tuple[Any, ...], set[str]] = {}
    for policy_id, name, version, pilot_version, side in rows:
        sides.setdefault((policy_id, name, version, pilot_version), set()).add(side)
    found = (grant(session, policy[0], policy[1], policy[2], policy[3], theirs) for policy, theirs in sides.items())
    return sorted((each for each in found if each is not None), key=lambda each: (each.name.casefold(), each.policy_id))


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
    .join(PolicyAudience, PolicyAudience.owner_id == Policy.id)
    .where(
        Policy.archived_at.is_(None),
        or_(Policy.version.is_not(None), Policy.pilot_version.is_not(None)),
        audiences.speaks_of_person(PolicyAudience),
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


def create(editor: Editor, name: str) -> Policy:
    """A policy with nothing in it, for nobody. Raises NameTaken."""
    session, now = editor.session, editor.now
    _check_name(session, name, None)
    made = Policy(name=name, created_at=now, changed_at=now)
    session.add(made)
    session.flush()
    _record(editor, made, Event.POLICY_MADE)
    return made


def rename(editor: Editor, policy: Policy, name: str) -> None:
    """Call it otherwise; devices show the name. Raises NameTaken."""
    if name == policy.name:
        return
    _check_name(editor.session, name, policy.id)
    before, policy.name, policy.changed_at = policy.name, name, editor.now
    _record(editor, policy, Event.POLICY_CHANGED, before=before)


def archive(editor: Editor, policy: Policy) -> None:
    """Take it from everybody, for good."""
    policy.archived_at = policy.changed_at = editor.now
    _record(editor, policy, Event.POLICY_ENDED)


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


def save_draft(editor: Editor, policy: Policy, parts: Sequence[Part]) -> None:
    """Keep what is being written; nobody gets it."""
    policy.draft_sealed = editor.vault.seal(content.write(parts))
    policy.draft_at, policy.draft_by = editor.now, editor.actor


def drop_draft(policy: Policy) -> None:
    """Forget it."""
    policy.draft_sealed = policy.draft_at = policy.draft_by = None


def publish(editor: Editor, policy: Policy, *, pilot: bool) -> PolicyVersion:
    """Make the draft the next version: for everybody who gets the policy, or for its pilot group first.

    Raises NothingNew, NotUsable.
    """
    written = draft(editor.vault, policy)
    if written is None:
        raise NothingNew
    made = _next(editor, policy, written, pilot=pilot)
    drop_draft(policy)
    return made


def _outline(parts: Sequence[Part], vault: Vault) -> list[Outline]:
    return content.outline(parts, vault.derive(DIGEST_KEY), native.can_be, own_authority.is_own)


def restore(editor: Editor, policy: Policy, number: int) -> PolicyVersion:
    """Publish an old version's content as a new one; a draft stays as it is. Raises NothingNew, NotUsable."""
    written = opened(editor.session, editor.vault, policy.id, number)
    return _next(editor, policy, written, pilot=False, restored=number)


def _next(
    editor: Editor, policy: Policy, written: tuple[Part, ...], *, pilot: bool, restored: int | None = None
) -> PolicyVersion:
    session, vault = editor.session, editor.vault
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
        published_at=editor.now,
        published_by=editor.actor,
    )
    session.add(made)
    session.flush()
    if pilot:
        policy.pilot_version = made.number
    else:
        policy.version, policy.pilot_version = made.number, None
    policy.changed_at = editor.now
    _record(editor, policy, Event.POLICY_PUBLISHED, version=made.number, pilot=pilot)
    return made


def settle_pilot(editor: Editor, policy: Policy, to_all: bool) -> None:
    """The pilot's version goes to everybody, or the pilot is stopped: its group gets the version before again."""
    if policy.pilot_version is None:
        return
    version = policy.pilot_version
    if to_all:
        policy.version = version
    policy.pilot_version, policy.changed_at = None, editor.now
    _record(editor, policy, Event.POLICY_PUBLISHED if to_all else Event.POLICY_STOPPED, version=version)


def versions(session: Session, policy: Policy) -> list[PolicyVersion]:
    """Every version, the newest first."""
    query = select(PolicyVersion).where(PolicyVersion.policy_id == policy.id).order_by(PolicyVersion.number.desc())
    return list(session.scalars(query))


def audience(session: Session, policy_id: str) -> list[Line]:
    """Who gets a policy."""
    return audiences.of(session, PolicyAudience, policy_id)


def set_audience(editor: Editor, policy: Policy, lines: Iterable[Line]) -> None:
    """Let exactly these get it."""
    changed = audiences.save(editor.session, PolicyAudience, policy.id, lines)
    if changed is not None:
        policy.changed_at = editor.now
        _record(editor, policy, Event.POLICY_AUDIENCE, **changed)


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


def _record(editor: Editor, policy: Policy, event: Event, **detail: Any) -> None:
    editor.record(event, policy=policy.id, name=policy.name, **detail)
