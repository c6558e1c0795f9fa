"""Inviting many people from a list: checked first, then invited at a pace, with one reminder.

The list is checked line by line before anything is sent. The worker invites in small transactions, each with its line's
outcome, so that a stop at any moment neither loses nor repeats an invitation.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from portal import audit, people
from portal.database import Database
from portal.enrollment import invitations
from portal.enrollment.errors import LinkUnusable, NoManagedAppleAccount, RequestEnded, TooManyDevices, UnknownPerson
from portal.enrollment.invitations import Asker
from portal.events import Actor, Event
from portal.models import LONGEST_USERNAME, Campaign, CampaignEntry, EnrollmentRequest, Person
from portal.people import accounts
from portal.storage.cases import Cases, Services

BATCH_SIZE = 1000
MOST_PER_MINUTE = 1000
REMINDED = ("running", "done")
"""States of a campaign whose people are reminded."""
Find = Callable[[str], Person | None]
"""Takes somebody over from the directory, if there is one; may raise SourceUnavailable or AccountProblem."""


class NotTaken(Exception):
    """The source of accounts tells something of somebody that the portal cannot keep."""


class WrongState(Exception):
    """The campaign is not in a state in which that can be done."""


@dataclass(frozen=True)
class Funnel:
    """How far the people of one campaign are."""

    lines: int
    refused: int
    waiting: int
    invited: int
    started: int
    enrolled: int


@dataclass(frozen=True)
class Plan:
    """How the people of a list are invited; ``starts_at`` None: at once."""

    message: str
    starts_at: datetime | None
    per_minute: int
    remind_after_days: int


def check(cases: Cases, name: str, lines: list[tuple[int, str]], by: Asker) -> Campaign:
    """A dry run of ``lines`` (number, username): each line's problem, if it has one; nobody is invited yet."""
    session, now = cases.session, cases.now
    campaign = Campaign(name=name, created_at=now, created_by=by.actor, asked_by=by.name)
    session.add(campaign)
    session.flush()
    seen: set[str] = set()
    for start in range(0, len(lines), BATCH_SIZE):
        part = [(line, people.fold_username(username)) for line, username in lines[start : start + BATCH_SIZE]]
        names = [username for _, username in part if len(username) <= LONGEST_USERNAME]
        known = {each.username: each for each in session.scalars(select(Person).where(Person.username.in_(names)))}
        open_for = _with_open_request(session, [each.id for each in known.values()], now)
        devices = cases.count_managed([each.id for each in known.values()])
        rows = []
        for line, username in part:
            reason = "twice" if username in seen else _problem(cases, username, known.get(username), open_for, devices)
            seen.add(username)
            state = "refused" if reason else "waiting"
            rows.append({"campaign_id": campaign.id, "line": line, "username": username[:LONGEST_USERNAME],
                         "state": state, "reason": reason})  # fmt: skip
        session.execute(insert(CampaignEntry), rows)
    _record(cases, campaign, Event.CAMPAIGN_CHECKED, by.actor, {"lines": len(lines)})
    return campaign


def start(cases: Cases, campaign_id: str, plan: Plan, actor: str) -> None:
    """Let the worker invite as planned. Raises WrongState."""
    campaign = _locked(cases.session, campaign_id, "checked")
    campaign.message, campaign.starts_at = plan.message.strip(), plan.starts_at or cases.now
    campaign.per_minute = min(max(plan.per_minute, 1), MOST_PER_MINUTE)
    campaign.remind_after_days = max(plan.remind_after_days, 0)
    campaign.state = "running"
    detail = {"per_minute": campaign.per_minute, "starts_at": campaign.starts_at.isoformat()}
    _record(cases, campaign, Event.CAMPAIGN_STARTED, actor, detail)


_CHANGES = {
    "pause": ("paused", ("running",), Event.CAMPAIGN_PAUSED),
    "resume": ("running", ("paused",), Event.CAMPAIGN_RUNNING),
    "cancel": ("cancelled", ("checked", "running", "paused"), Event.CAMPAIGN_CANCELLED),
}
"""What a campaign becomes, from which states, and what is recorded."""


def change(cases: Cases, campaign_id: str, what: str, actor: str) -> None:
    """``pause``, ``resume`` or ``cancel``; invitations that were sent stay. Raises WrongState."""
    becomes, states, event = _CHANGES[what]
    campaign = _locked(cases.session, campaign_id, *states)
    campaign.state = becomes
    _record(cases, campaign, event, actor)


def funnels(session: Session, campaign_ids: Sequence[str]) -> dict[str, Funnel]:
    """The people of these campaigns, counted, by the campaign's id."""
    entry, request = CampaignEntry, EnrollmentRequest
    counted: dict[tuple[str, str], int] = {}
    of_each = select(entry.campaign_id, entry.state, func.count()).where(entry.campaign_id.in_(campaign_ids))
    for campaign_id, state, count in session.execute(of_each.group_by(entry.campaign_id, entry.state)):
        counted[campaign_id, state] = count
    far = select(entry.campaign_id, func.count(request.signed_in_at), func.count(request.enrolled_at))
    far = far.join(request, request.id == entry.request_id).where(entry.campaign_id.in_(campaign_ids))
    came = {row[0]: (row[1], row[2]) for row in session.execute(far.group_by(entry.campaign_id))}
    found = {}
    for each in campaign_ids:
        refused, waiting, invited = (counted.get((each, state), 0) for state in ("refused", "waiting", "invited"))
        found[each] = Funnel(refused + waiting + invited, refused, waiting, invited, *came.get(each, (0, 0)))
    return found


@dataclass(frozen=True)
class _Round:
    """One round of the worker."""

    database: Database
    services: Services
    find: Find
    now: datetime

    def cases(self, session: Session) -> Cases:
        """The cases of this round, in a transaction."""
        return Cases(session, self.services, self.now)


def invite_next(database: Database, services: Services, find: Find, now: datetime) -> int:
    """The worker's part, once a minute: invite and remind as many as each campaign's pace allows; how many."""
    with database.session() as session:
        running = select(Campaign).where(Campaign.state == "running", Campaign.starts_at <= now)
        due = [(each.id, each.per_minute) for each in session.scalars(running)]
        reminding = select(Campaign).where(Campaign.state.in_(REMINDED), Campaign.remind_after_days > 0)
        to_remind = [(each.id, each.per_minute) for each in session.scalars(reminding)]
    count, this = 0, _Round(database, services, find, now)
    for campaign_id, pace in due:
        count += _as_long_as(pace, partial(_invite_next, this, campaign_id))
    for campaign_id, pace in to_remind:
        count += _as_long_as(pace, partial(_remind_next, this, campaign_id))
    return count


def _as_long_as(most: int, step: Callable[[], bool]) -> int:
    for number in range(most):
        if not step():
            return number
    return most


# --- inside --------------------------------------------------------------------------------------------------------


def _invite_next(this: _Round, campaign_id: str) -> bool:
    """Invite the next line; False when there is none, or the campaign no longer runs."""
    with this.database.session() as session:
        waiting = select(CampaignEntry.username).where(
            CampaignEntry.campaign_id == campaign_id, CampaignEntry.state == "waiting"
        )
        username = session.scalar(waiting.order_by(CampaignEntry.line).limit(1))
    found, taken = None, True
    try:
        found = this.find(username) if username is not None else None  # asked before anything is locked
    except NotTaken:
        taken = False
    with this.database.transaction() as session:
        cases = this.cases(session)
        campaign = session.get_one(Campaign, campaign_id, with_for_update=True, populate_existing=True)
        if campaign.state != "running":
            return False
        query = select(CampaignEntry).where(CampaignEntry.campaign_id == campaign_id, CampaignEntry.state == "waiting")
        entry = session.scalar(query.order_by(CampaignEntry.line).limit(1))
        if entry is None:
            campaign.state = "done"
            _record(cases, campaign, Event.CAMPAIGN_DONE, Actor.SYSTEM)
            return False
        person = session.get(Person, found.id) if found is not None and entry.username == username else None
        person = person or people.by_username(session, entry.username)
        entry.state, entry.invited_at = "invited", this.now
        taken = taken or entry.username != username
        entry.reason, entry.request_id = _invite(cases, campaign, person) if taken else ("not_taken", None)
        if entry.reason is not None:
            entry.state, entry.invited_at = "refused", None
        return True


def _invite(cases: Cases, campaign: Campaign, person: Person | None) -> tuple[str | None, str | None]:
    """(why not, request id)."""
    if person is None:
        return "unknown", None
    cases.one_at_a_time(person)
    if cases.open_of(person) is not None:
        return "open_request", None
    try:
        made = invitations.invite(
            cases,
            person,
            "import",
            Asker(campaign.created_by, campaign.asked_by),
            message=campaign.message,
        )
    except UnknownPerson:
        return "disabled", None
    except TooManyDevices:
        return "too_many_devices", None
    except NoManagedAppleAccount:
        return "no_managed_apple_account", None
    return None, made.request.id


def _remind_next(this: _Round, campaign_id: str) -> bool:
    """Send the invitation of one person again who did nothing with it; False when nobody is due."""
    with this.database.transaction() as session:
        campaign = session.get_one(Campaign, campaign_id, with_for_update=True, populate_existing=True)
        if campaign.state not in REMINDED:
            return False
        now = this.now
        before = now - timedelta(days=campaign.remind_after_days)
        entry, request = CampaignEntry, EnrollmentRequest
        due = session.execute(
            select(entry.line, entry.request_id)
            .join(request, request.id == entry.request_id)
            .where(
                entry.campaign_id == campaign_id,
                entry.reminded_at.is_(None),
                entry.invited_at <= before,
                request.signed_in_at.is_(None),
                request.can_enroll(now),
            )
            .order_by(entry.line)
            .limit(1)
        ).first()
        if due is None:
            return False
        with contextlib.suppress(RequestEnded, LinkUnusable):  # it may have ended this very moment
            case = this.cases(session).lock(due.request_id)  # before its line, as whoever erases somebody does
            if case.request.signed_in_at is None:
                invitations.resend(case, Asker(Actor.SYSTEM, campaign.asked_by), message=campaign.message)
        its_line = update(entry).where(entry.campaign_id == campaign_id, entry.line == due.line)
        session.execute(its_line.values(reminded_at=now))
        return True


def _problem(
    cases: Cases, username: str, person: Person | None, open_for: set[str], devices: Mapping[str, int]
) -> str | None:
    """Why this line cannot be invited, as far as it is known without asking the directory."""
    settings = cases.services.settings
    if not username:
        return "empty"
    if len(username) > LONGEST_USERNAME or not username.isprintable() or username[0] in "=+-@":
        return "not_a_username"
    if person is None or person.erased_at is not None:
        return None if settings.ldap.servers else "unknown"
    if person.disabled_at is not None:
        return "disabled"
    if person.id in open_for:
        return "open_request"
    if invitations.has_enough(devices.get(person.id, 0), settings):
        return "too_many_devices"
    if not person.managed_apple_account and not accounts.of(cases.session, person, settings):
        return "no_managed_apple_account"
    return None


def _with_open_request(session: Session, ids: list[str], now: datetime) -> set[str]:
    request = EnrollmentRequest
    query = select(request.person_id).where(request.person_id.in_(ids), request.can_enroll(now))
    return set(session.scalars(query))


def _locked(session: Session, campaign_id: str, *states: str) -> Campaign:
    campaign = session.get(Campaign, campaign_id, with_for_update=True, populate_existing=True)
    if campaign is None or campaign.state not in states:
        raise WrongState
    return campaign


def _record(
    cases: Cases, campaign: Campaign, event: Event, actor: str, detail: dict[str, object] | None = None
) -> None:
    detail = {"campaign": campaign.id, **(detail or {})}
    audit.record(cases.session, people.PEOPLE_CHAIN, event, cases.now, actor=actor, detail=detail)
