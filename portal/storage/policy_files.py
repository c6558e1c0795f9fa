"""Policies as files say them, compared with those that are kept, and brought in."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import people
from portal.audit import Editor
from portal.models import Person, Policy, PolicyAudience
from portal.people import audiences
from portal.people.audiences import EVERYBODY, GROUP, IN, LONGEST_GROUP, OUT, PERSON, Line
from portal.policies.content import Part
from portal.policies.portable import NotReadable, Written
from portal.storage import policies
from portal.storage.policies import LONGEST_NAME, PILOT, NothingNew, NotUsable
from portal.vault import Vault

SIDES = {IN: "", OUT: "except ", PILOT: "trial "}
"""By side of an audience how its lines begin."""


def held(session: Session, vault: Vault, name: str) -> Sequence[Part]:
    """The parts of the policy with that name: those being written, else those in use."""
    policy = _by_name(session, name)
    return policies.current(session, vault, policy) if policy is not None else ()


def all_written(session: Session, vault: Vault) -> list[Written]:
    """Every policy that is not over, as it is in use, with who gets it."""
    found, lines_of = [], audiences.of_all(session, PolicyAudience)
    for policy in policies.living(session):
        number = policies.in_use(policy)
        parts = policies.opened(session, vault, policy.id, number) if number is not None else ()
        found.append(Written(policy.name, tuple(told(session, lines_of.get(policy.id, []))), parts))
    return found


def differences(session: Session, vault: Vault, wanted: Sequence[Written]) -> list[tuple[str, str]]:
    """What bringing them in would change: the policy's name and what. Those that a file does not name stay."""
    now = {each.name.casefold(): each for each in all_written(session, vault)}
    found = []
    for each in wanted:
        before = now.get(each.name.casefold())
        if before is None:
            found.append((each.name, "new"))
            continue
        lines(session, each.name, each.audience)
        if sorted(before.audience) != sorted(each.audience):
            found.append((each.name, "audience"))
        if each.parts and before.parts != each.parts:
            found.append((each.name, "content"))
    return found


def bring_in(editor: Editor, wanted: Sequence[Written]) -> list[tuple[str, str]]:
    """Make and publish what differs, for all who get it; what changed. Raises NotReadable."""
    session = editor.session
    changed = differences(session, editor.vault, wanted)
    for each in wanted:
        if not any(name == each.name for name, _ in changed):
            continue
        if len(each.name) > LONGEST_NAME:
            raise NotReadable(each.name, "a name has 80 characters at most")
        known = _by_name(session, each.name)
        policy = policies.locked(session, known.id) if known is not None else None
        policy = policy or policies.create(editor, each.name)
        policies.set_audience(editor, policy, lines(session, each.name, each.audience))
        if each.parts and {(each.name, "new"), (each.name, "content")} & set(changed):
            policies.save_draft(editor, policy, each.parts)
            try:
                policies.publish(editor, policy, pilot=False)
            except NothingNew:
                policies.drop_draft(policy)
            except NotUsable as refused:
                raise NotReadable(each.name, refused.problem.problem) from None
    return changed


def _by_name(session: Session, name: str) -> Policy | None:
    return next((each for each in policies.living(session) if each.name.casefold() == name.strip().casefold()), None)


def told(session: Session, audience: Sequence[Line]) -> list[str]:
    """Who gets a policy, as lines that can be read; people who were erased are left out."""
    ids = [each.value for each in audience if each.kind == PERSON]
    rows = session.execute(select(Person.id, Person.username).where(Person.id.in_(ids), Person.erased_at.is_(None)))
    names: dict[str, str] = {row[0]: row[1] for row in rows}
    found = []
    for each in audience:
        value = names.get(each.value) if each.kind == PERSON else each.value
        if value is not None:
            found.append(f"{SIDES[each.side]}{each.kind} {value}".strip())
    return found


def lines(session: Session, policy: str, audience: Sequence[str]) -> list[Line]:
    """The way back. Raises NotReadable for a line that says nothing, or somebody who is not known."""
    found = []
    for line in audience:
        side = next((each for each, begins in SIDES.items() if begins and line.startswith(begins)), IN)
        kind, _, value = line.removeprefix(SIDES[side]).partition(" ")
        if kind == PERSON and value.isprintable() and value:
            person = people.by_username(session, value)
            if person is None:
                raise NotReadable(policy, f"nobody is known by the username {value}")
            found.append(Line(side, PERSON, person.id))
        elif (kind == GROUP and value and value.isprintable() and len(value) <= LONGEST_GROUP) or (
            kind == EVERYBODY and not value and side == IN
        ):
            found.append(Line(side, kind, value))
        else:
            raise NotReadable(policy, f"this says nothing about who gets it: {line}")
    return found
