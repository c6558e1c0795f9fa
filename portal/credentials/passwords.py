"""What a local password has to be, and the one-time links that set one.

NIST SP 800-63B-4 section 3.1.1.2: a minimum length, a blocklist of what others and attackers think of first, no rules
about kinds of characters, no expiry. zxcvbn holds the blocklists (common passwords, names, words, keyboard walks) and
knows repetitions.
"""

import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from portal import audit, people
from portal.audit import Editor
from portal.credentials import local
from portal.events import Event
from portal.models import PasswordLink, Person
from portal.notifications import messages, outbox
from portal.settings import Settings
from portal.vault import token_hash

LINK_LIFETIME = timedelta(hours=24)
TOKEN_BYTES = 20
WEAKEST_SCORE = 3
"""zxcvbn's scale is 0 to 4; from 3 on offline guessing takes more than 10^8 tries."""
JUDGED_CHARACTERS = 72
"""zxcvbn is slow on longer ones; those are long enough anyway."""
LETTERS_IN_DISGUISE, MOST_DISGUISES = frozenset("4@8({[<3691!|70$5+%2"), 10
JUDGED_IN_DISGUISE = 24
"""zxcvbn tries what each of these may stand for, all at once: with many different ones that takes it seconds. Then it
gets either end; what has a good end is good as a whole."""
OWN_WORDS = 2
"""Shorter parts of a name say nothing."""


class PasswordRefused(Exception):
    """The password is not good enough; ``reason`` is password_short or password_guessable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that is good enough for its person (``judged``)."""

    text: str = field(repr=False)
    person_id: str


class LinkUsed(Exception):
    """The link is unknown, used, replaced or too old: to the outside all the same."""


def judged(password: str, person: Person, settings: Settings) -> NewPassword:
    """``password``, if it is good enough for ``person``. Takes its time: not within a transaction.

    Raises PasswordRefused.
    """
    text = unicodedata.normalize("NFC", password)
    if len(text) < settings.sign_in.password_length:
        raise PasswordRefused("password_short")
    own = [person.username, person.name, person.email, settings.company.name]
    words = [word for value in own for word in (value.replace(" ", ""), *re.split(r"[ @.]", value))]
    from zxcvbn import zxcvbn  # its lists take 13 MB, and few processes ever judge a password

    known, parts = [word for word in words if len(word) > OWN_WORDS], {text[:JUDGED_CHARACTERS]}
    if len(LETTERS_IN_DISGUISE.intersection(text)) > MOST_DISGUISES:
        parts = {text[:JUDGED_IN_DISGUISE], text[-JUDGED_IN_DISGUISE:]}
    if all(zxcvbn(part, known)["score"] < WEAKEST_SCORE for part in parts):
        raise PasswordRefused("password_guessable")
    return NewPassword(password, person.id)


def new_link(editor: Editor, person: Person, settings: Settings) -> str:
    """The address of a link that sets ``person``'s password once; the links before it are dead.

    Raises NotLocal, IsDisabled.
    """
    if person.source != people.LOCAL:
        raise people.NotLocal
    session = editor.session
    people.lock(session, person)
    if person.disabled_at is not None:
        raise people.IsDisabled
    session.execute(delete(PasswordLink).where(PasswordLink.person_id == person.id))
    token = secrets.token_hex(TOKEN_BYTES)
    session.add(PasswordLink(token_hash=token_hash(token), person_id=person.id, created_at=editor.now))
    _event(session, person, Event.PASSWORD_LINK_MADE, editor.actor, editor.now)
    return settings.url(f"/account/password/{token}")


def mail_link(editor: Editor, person: Person, settings: Settings) -> None:
    """Mail such a link to its owner. Raises NotLocal, IsDisabled."""
    message = messages.password_link(settings, person, new_link(editor, person, settings))
    row = outbox.to_send("password", message, editor.vault, editor.now)
    row.person_id = person.id
    outbox.put(editor.session, row)


def owner(session: Session, token: str, now: datetime) -> Person:
    """Whose password a link sets. Changes nothing: mail scanners open links too. Raises LinkUsed."""
    link = session.get(PasswordLink, token_hash(token), populate_existing=True)
    person = session.get(Person, link.person_id) if link else None
    usable = person is not None and person.disabled_at is None and person.source == people.LOCAL
    if link is None or person is None or not usable or now >= link.created_at + LINK_LIFETIME:
        raise LinkUsed
    return person


def set_by_link(session: Session, token: str, password: NewPassword, now: datetime) -> None:
    """Use a link up; every session of its owner ends. Raises LinkUsed."""
    people.lock(session, owner(session, token, now))
    person = owner(session, token, now)  # nobody else used it meanwhile
    _change(session, person, password, now)


def change(session: Session, person: Person, password: NewPassword, now: datetime) -> None:
    """The person, who just proved the old one, chooses another password. Raises ProofOver."""
    people.still_proved(session, person, to_change=True)
    _change(session, session.get_one(Person, person.id), password, now)


def _change(session: Session, person: Person, password: NewPassword, now: datetime) -> None:
    assert password.person_id == person.id  # else it was judged by another's name
    local.set_password(session, person, password.text)
    people.end_sign_ins(session, person)
    _event(session, person, Event.PASSWORD_CHANGED, audit.actor_of(person), now)


def _event(session: Session, person: Person, event: Event, actor: str, now: datetime) -> None:
    audit.record(session, people.PEOPLE_CHAIN, event, now, actor=actor, detail={"person": person.id})
