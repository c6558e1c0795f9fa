"""Employees and staff: by which name they are found, what ends their sign-ins, and that an admin is left."""

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session, joinedload

from portal.audit import Editor
from portal.database import lock_name
from portal.events import Event
from portal.models import (
    LONGEST_USERNAME,
    ApiToken,
    PasskeyChallenge,
    PasswordLink,
    Person,
    WebSession,
)
from portal.people import audiences
from portal.settings.schema import Session as SessionRules

STAFF_ROLES = ("helpdesk", "admin")
ROLES = ("employee", *STAFF_ROLES)
LOCAL = "local"
"""The source of people that the portal itself keeps."""
SIGN_INS_END_WITH = {"email", "role"}
"""What somebody may do, or where a link to set a password would go, is not what it was."""
PEOPLE_CHAIN = "people"
"""The audit chain of what concerns a person but no request yet."""


class LastAdmin(Exception):
    """The last admin can neither be disabled nor erased."""


class IsDisabled(Exception):
    """Somebody who is disabled gets no link to set a password."""


class DevicesManaged(Exception):
    """Somebody with a managed device cannot be erased: its work data has to be removed, or it be given up, before."""


class ProofOver(Exception):
    """What somebody proved at a sign-in counts no more: their sign-ins ended meanwhile, or they are disabled."""


class UsernameTaken(Exception):
    """Somebody else has that username."""


class UsernameUnusable(Exception):
    """A username is nothing, no text, or longer than what is kept, in the form in which it is kept."""


class NotLocal(Exception):
    """The person is kept elsewhere: password and role are decided there."""


def fold_username(entered: str) -> str:
    """The form in which usernames are stored and compared; that form itself stays what it is."""
    folded = unicodedata.normalize("NFKC", entered).strip().casefold()
    return folded if folded == entered else fold_username(folded)


def by_username(session: Session, username: str, with_password: bool = False) -> Person | None:
    """The person with that username who is not erased, or None; ``with_password``: with their local account, if any."""
    query = select(Person).where(Person.username == fold_username(username), Person.erased_at.is_(None))
    return session.scalar(query.options(joinedload(Person.local_account)) if with_password else query)


def sign_in_name(session: Session, entered: str) -> str:
    """The username meant by ``entered``: itself, or that of the person whose Managed Apple Account it is.

    A username comes first: what a source calls somebody's account takes nobody else's name.
    """
    account = fold_username(entered)
    if "@" not in account or by_username(session, entered) is not None:
        return entered
    known = select(Person.username).where(Person.managed_apple_account == account, Person.erased_at.is_(None))
    return session.scalar(known) or entered


def username_meant(session: Session, entered: str) -> str:
    """The username that staff mean: itself, or that of the one person with the e-mail address they typed."""
    address = entered.strip().casefold()
    if "@" not in address or by_username(session, entered) is not None:
        return entered
    theirs = select(Person.username).where(func.lower(Person.email) == address, Person.erased_at.is_(None))
    found = session.scalars(theirs.limit(2)).all()
    return found[0] if len(found) == 1 else entered


def names_of_actors(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """What the people and programs behind the trail's actor codes (``role:id``, ``token:id``) are called, by code."""
    ids = {actor: actor.rpartition(":")[2] for actor in actors if ":" in actor}
    wanted = set(ids.values())
    found = session.scalars(select(Person).where(Person.id.in_(wanted)))
    names = {each.id: each.name or each.username for each in found}
    if any(actor.startswith("token:") for actor in ids):
        names |= {each.id: each.name for each in session.scalars(select(ApiToken).where(ApiToken.id.in_(wanted)))}
    return {actor: names[known] for actor, known in ids.items() if known in names}


def end_sign_ins(session: Session, person: Person) -> None:
    """What counted before a change of password, address, role, source or factor counts no more.

    That is every session, every half-finished sign-in (a session, too), every link that sets a password, and every
    proof that no session was made of yet (``still_proved``).
    """
    ended = update(Person).where(Person.id == person.id).values(sign_ins_ended=Person.sign_ins_ended + 1)
    session.execute(ended, execution_options={"synchronize_session": False})
    session.refresh(person, ["sign_ins_ended"])
    for table in (WebSession, PasswordLink):
        session.execute(delete(table).where(table.person_id == person.id))


def lock(session: Session, person: Person) -> None:
    """Read ``person`` anew; until the transaction ends nobody else changes them.

    Locks are taken in this order: a person, their requests, their sessions.
    """
    session.refresh(person, with_for_update={"key_share": True})


def still_proved(session: Session, person: Person, to_change: bool = False) -> None:
    """Make sure that what ``person``, as read then, proved still counts; it does until the transaction ends.

    ``to_change``: they will be changed. Called before their requests are locked (``lock``). Raises ProofOver.
    """
    query = select(Person.sign_ins_ended).where(Person.id == person.id, Person.disabled_at.is_(None))
    if session.scalar(query.with_for_update(read=not to_change, key_share=to_change)) != person.sign_ins_ended:
        raise ProofOver


def forget_old_sessions(session: Session, rules: SessionRules, now: datetime) -> None:
    """Housekeeping: drop sessions that idled too long or are too old, whoever's they are, and what goes with them."""
    idle = now - timedelta(minutes=max(rules.idle_minutes, rules.staff_idle_minutes))
    old = now - timedelta(hours=rules.absolute_hours)
    session.execute(delete(WebSession).where(or_(WebSession.last_seen_at < idle, WebSession.created_at < old)))
    session.execute(delete(PasskeyChallenge).where(PasskeyChallenge.session_id.not_in(select(WebSession.id))))


def add(editor: Editor, person: Person) -> None:
    """Somebody new, kept by the portal itself, without a password yet. Raises UsernameTaken, UsernameUnusable."""
    person.username, person.created_at = fold_username(person.username), editor.now
    if not person.username or not person.username.isprintable() or len(person.username) > LONGEST_USERNAME:
        raise UsernameUnusable
    if by_username(editor.session, person.username) is not None:
        raise UsernameTaken
    editor.session.add(person)
    editor.session.flush()
    editor.record(Event.PERSON_ADDED, person.role, person=person.id)


def take(session: Session, person: Person, values: Mapping[str, object]) -> set[str]:
    """What a source, a list or an admin says of somebody; the names of what changed.

    With another address, or role, everything ends that was proved before.
    """
    changed = {name for name, value in values.items() if getattr(person, name) != value}
    for name in changed:
        setattr(person, name, values[name])
    if changed & SIGN_INS_END_WITH and person not in session.new:
        end_sign_ins(session, person)
    return changed


def correct(editor: Editor, person: Person, values: Mapping[str, str | None]) -> None:
    """An admin corrects what is known of somebody: ``name``, ``email``, ``phone``, ``managed_apple_account``."""
    lock(editor.session, person)
    changed = take(editor.session, person, values)
    if changed:
        editor.record(Event.PERSON_CHANGED, person=person.id, changed=sorted(changed))


def set_role(editor: Editor, person: Person, role: str) -> None:
    """Give a local person another role; they sign in anew. Raises NotLocal, LastAdmin."""
    if person.source != LOCAL:
        raise NotLocal
    lock(editor.session, person)
    if role == person.role:
        return
    keep_an_admin(editor.session, person)
    before, person.role = person.role, role
    end_sign_ins(editor.session, person)
    editor.record(Event.PERSON_ROLE_CHANGED, role, person=person.id, before=before, after=role)


def enable(editor: Editor, person: Person) -> None:
    """Let a disabled person sign in again; devices and tokens that ended stay ended."""
    lock(editor.session, person)
    if person.disabled_at is None or person.erased_at is not None:
        return
    person.disabled_at = None
    audiences.mark(editor.session, person.id, editor.now)  # what changed meanwhile
    editor.record(Event.PERSON_ENABLED, person=person.id)


def keep_an_admin(session: Session, person: Person) -> None:
    """Raises LastAdmin if ``person``, who is locked, is an admin and nobody else is one."""
    if person.is_active_admin and not other_admins(session, person):
        raise LastAdmin


def other_admins(session: Session, person: Person) -> bool:
    """Whether there is another admin who is not disabled, and stays one until the transaction ends."""
    lock_name(session, "admins")  # else two go at once, each because of the other
    others = select(Person.id).where(Person.is_active_admin, Person.id != person.id)
    return session.scalar(others.limit(1)) is not None
