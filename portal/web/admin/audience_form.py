"""The form of who gets something: groups to tick, people by username, exceptions; what it shows, and what was typed."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from flask import request
from sqlalchemy import select

from portal import people
from portal.extensions import db_session
from portal.models import Person
from portal.people import audiences
from portal.people.audiences import EVERYBODY, GROUP, PERSON, Line

MOST_PEOPLE = 500
"""By name on one side; more belong into a list."""
MOST_GROUPS = 60
"""To choose from on one page; others are written by name."""


class AudienceRefused(Exception):
    """What was typed says nothing that could be kept; ``code``: too_many_people, nobody, no_group, changed."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


def shown(lines: Sequence[Line], sides: Sequence[str]) -> Mapping[str, Any]:
    """What the form shows of ``lines``: see ``components/audience.html``."""
    ids = [each.value for each in lines if each.kind == PERSON]
    named = db_session.execute(select(Person.id, Person.username).where(Person.id.in_(ids), Person.erased_at.is_(None)))
    names: dict[str, str] = {row[0]: row[1] for row in named}
    return {
        "everybody": [each.side for each in lines if each.kind == EVERYBODY],
        "groups": _groups(lines),
        "chosen": {side: [each.value for each in lines if (each.side, each.kind) == (side, GROUP)] for side in sides},
        "many_groups": audiences.count_groups(db_session) > MOST_GROUPS,
        "seen": _seen(lines),
        "named": {
            side: [names[each.value] for each in lines if each.side == side and each.value in names] for side in sides
        },
    }


def _groups(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """The groups to choose from, with how many are in each: those that are chosen, also if nobody is in them, and as
    many others as a page can hold."""
    known = dict(audiences.groups(db_session))
    chosen = sorted({each.value for each in lines if each.kind == GROUP})
    others = [name for name in known if name not in chosen][:MOST_GROUPS]
    return [(name, known.get(name, 0)) for name in sorted([*chosen, *others])]


def _seen(lines: Sequence[Line]) -> str:
    """Which audience somebody looks at."""
    return hashlib.sha256(repr(sorted(map(repr, lines))).encode()).hexdigest()[:16]


def must_be_as_seen(lines: Sequence[Line]) -> None:
    """Raises AudienceRefused if somebody else changed ``lines`` since the form was shown."""
    if request.form.get("seen") != _seen(lines):
        raise AudienceRefused("changed")


def entered(lines: Sequence[Line], sides: Sequence[str], for_everybody: Sequence[str]) -> list[Line]:
    """What was typed; ``lines`` are those that are kept. Raises AudienceRefused."""
    known = {name for name, _ in audiences.groups(db_session)}
    kept = {each.value for each in lines if each.kind == GROUP}
    wanted = [Line(side, EVERYBODY) for side in for_everybody if request.form.get(f"{side}.everybody") == "yes"]
    for side in sides:
        chosen = request.form.getlist(f"{side}.group")
        wanted += [Line(side, GROUP, each) for each in chosen if each in known | kept]
        wanted += [Line(side, PERSON, each) for each in _people(side)]
        for name in request.form.get(f"{side}.more", "").splitlines()[:MOST_GROUPS]:
            if name.strip() and name.strip() not in known:
                raise AudienceRefused("no_group", name.strip())
            wanted += [Line(side, GROUP, name.strip())] if name.strip() else []
    return wanted


def _people(side: str) -> list[str]:
    names = request.form.get(f"{side}.people", "").replace(",", "\n").split()
    if len(names) > MOST_PEOPLE:
        raise AudienceRefused("too_many_people")
    found = []
    for name in names:
        person = people.by_username(db_session, name)
        if person is None:
            raise AudienceRefused("nobody", name)
        found.append(person.id)
    return found
