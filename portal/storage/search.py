"""Helpdesk's list: found by the beginnings of words, filtered, a page at a time, fast whatever the number of requests.

Pages are cut by the place of their last row (its time and id), so that new requests never shift them. Each filter
first narrows to what an index holds, then asks the expressions of ``states``, which alone decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from portal.enrollment import journey
from portal.enrollment.journey import SOURCES, Attention, Status, Step
from portal.models import Device, EnrollmentRequest, IssuedProfile, OutboxMessage, Person, SearchWord
from portal.models.people import folded
from portal.settings import Settings
from portal.storage import states

PAGE_SIZE = 50
FEW = 1000
"""Up to this many people found are looked up by their requests; more than that, requests are tried in turn."""
MOST_WORDS = 4
MOST_OTHERS = 5
"""People without a request that are shown below those with one."""
IDLE = timedelta(days=1)
END_OF_WORDS = "\U0010ffff"


OF_DEVICES = (Attention.LEAVING, Attention.HELD, Attention.SILENT)
"""What concerns enrolled devices; the rest is about requests on their way."""


class Age(StrEnum):
    DAY = "day"
    WEEK = "week"
    OLDER = "older"


@dataclass(frozen=True)
class Filters:
    """What the list is asked for; what is empty does not narrow it. ``attention`` may also be ``any``."""

    search: str = ""
    status: str = ""
    step: str = ""
    age: str = ""
    source: str = ""
    attention: str = ""
    handed_to: str = ""
    oldest_first: bool = False


@dataclass(frozen=True)
class Row:
    """One request in the list."""

    request: EnrollmentRequest
    status: Status
    step: Step
    attention: tuple[Attention, ...]


@dataclass(frozen=True)
class Page:
    """Rows in their order, and the places at which the pages before and after begin (None: there is none)."""

    rows: list[Row]
    before: str | None
    after: str | None


def page(session: Session, settings: Settings, filters: Filters, now: datetime, place: str = "") -> Page:
    """One page of the list. ``place`` is where it begins: an ``after`` or ``before`` of another page, or nothing."""
    direction, at = _read_place(place)
    backwards = direction == "before"
    newest_first = filters.oldest_first is backwards
    attention = {each: _needs(each, settings, now) for each in Attention}
    query: Any = (
        select(EnrollmentRequest, *(condition.label(each.value) for each, condition in attention.items()))
        .outerjoin(IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id)
        .limit(PAGE_SIZE + 1)
    )
    query = _filtered(session, query, filters, attention, now)
    created, key = EnrollmentRequest.created_at, EnrollmentRequest.id
    if at is not None:
        here, there = tuple_(created, key), tuple_(*at)
        query = query.where(here < there if newest_first else here > there)
    query = query.order_by(created.desc(), key.desc()) if newest_first else query.order_by(created, key)
    found = list(session.execute(query).unique())
    more, found = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
    if backwards:
        found.reverse()
    rows = [_row(request, flags, now) for request, *flags in found]
    begins = rows and (more if backwards else at is not None)
    ends = rows and (at is not None if backwards else more)
    return Page(
        rows,
        f"before:{_place(rows[0].request)}" if begins else None,
        f"after:{_place(rows[-1].request)}" if ends else None,
    )


def attention_of(
    session: Session, settings: Settings, request: EnrollmentRequest, now: datetime
) -> tuple[Attention, ...]:
    """Why somebody should look at one request."""
    columns = (_needs(each, settings, now).label(each.value) for each in Attention)
    query = select(*columns).select_from(EnrollmentRequest)
    query = query.outerjoin(IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id)
    return _which(list(session.execute(query.where(EnrollmentRequest.id == request.id)).one()))


def _row(request: EnrollmentRequest, flags: list[bool], now: datetime) -> Row:
    facts = journey.of(request)
    return Row(request, journey.status(facts, now), journey.current_step(facts, now), _which(flags))


def _which(flags: list[bool]) -> tuple[Attention, ...]:
    return tuple(each for each, needed in zip(Attention, flags, strict=True) if needed)


# --- filters -------------------------------------------------------------------------------------------------------


def _filtered(
    session: Session,
    query: Select[Any],
    filters: Filters,
    attention: dict[Attention, ColumnElement[bool]],
    now: datetime,
) -> Select[Any]:
    request = EnrollmentRequest
    if filters.search.strip():
        query = query.where(_found(session, filters.search))
    if filters.status in set(Status):
        query = query.where(_stretch(filters.status, now), states.status_expression(now) == filters.status)
    if filters.step in set(Step):
        if filters.step != Step.FINISH:
            query = query.where(request.is_unfinished)
        if filters.step not in (Step.FINISH, Step.SIGN_IN):
            query = query.where(request.signed_in_at.is_not(None), request.expires_at > now)
        query = query.where(states.step_expression(now) == filters.step)
    if filters.age in set(Age):
        week = now - timedelta(days=7)
        since = now - timedelta(days=1) if filters.age == Age.DAY else week
        query = query.where(request.created_at < week if filters.age == Age.OLDER else request.created_at >= since)
    if filters.source in SOURCES:
        query = query.where(request.source == filters.source)
    if filters.handed_to:
        query = query.where(request.handed_to == filters.handed_to)
    if filters.attention == "any":
        on_the_way = or_(*(each for kind, each in attention.items() if kind not in OF_DEVICES))
        query = query.where(
            or_(and_(EnrollmentRequest.can_enroll(now), on_the_way), *(attention[each] for each in OF_DEVICES))
        )
    elif filters.attention in set(Attention):
        query = query.where(attention[Attention(filters.attention)])
    return query


def _stretch(status: str, now: datetime) -> ColumnElement[bool]:
    """What an index holds of the requests that can have ``status``."""
    request = EnrollmentRequest
    if status in (Status.CANCELLED, Status.REMOVED):
        return request.ended_at.is_not(None)
    if status == Status.ENROLLED:
        return and_(request.ended_at.is_(None), request.enrolled_at.is_not(None))
    unfinished = request.is_unfinished
    if status == Status.EXPIRED:
        return and_(unfinished, request.expires_at <= now)
    if status == Status.INVITED:
        return and_(unfinished, request.expires_at > now)
    begun = (request.signed_in_at, request.ownership, request.profile_id)
    return and_(unfinished, request.expires_at > now, or_(*(each.is_not(None) for each in begun)))


def _needs(kind: Attention, settings: Settings, now: datetime) -> ColumnElement[bool]:
    request = EnrollmentRequest
    if kind in OF_DEVICES:
        return request.id.in_(_devices(kind, settings, now))
    if kind is Attention.LOCKED:
        return and_(
            EnrollmentRequest.can_enroll(now),
            request.passcode_used_at.is_(None),
            request.passcode_tries >= settings.passcode.tries,
        )
    if kind is Attention.UNDELIVERED:
        mail = OutboxMessage
        stuck = and_(mail.request_id == request.id, mail.sent_at.is_(None), mail.attempts > 0)
        return and_(
            EnrollmentRequest.can_enroll(now), exists(select(mail.id).where(stuck, mail.last_error.is_not(None)))
        )
    if kind is Attention.BROWSER:
        return and_(EnrollmentRequest.can_enroll(now), request.unfit_browser.is_not(None))
    if kind is Attention.IDLE:
        moments = (request.signed_in_at, request.ownership_at, request.privacy_at, request.passcode_sent_at,
                   request.passcode_verified_at, request.overview_at, request.terms_accepted_at,
                   IssuedProfile.issued_at)  # fmt: skip
        quiet = (or_(moment.is_(None), moment <= now - IDLE) for moment in moments)
        return and_(EnrollmentRequest.can_enroll(now), request.signed_in_at.is_not(None), *quiet)
    status = {
        Attention.PROFILE_EXPIRED: Status.PROFILE_EXPIRED,
        Attention.REFUSED: Status.REFUSED,
        Attention.CORPORATE: Status.CORPORATE,
    }[kind]
    return and_(EnrollmentRequest.can_enroll(now), states.status_expression(now) == status.value)


def _devices(kind: Attention, settings: Settings, now: datetime) -> Select[Any]:
    """Requests of managed devices that were asked to leave and did not yet, may not be asked yet, or are silent."""
    device = Device
    managed = select(device.request_id).where(device.is_managed)
    if kind is Attention.LEAVING:
        return managed.where(device.leaving_at.is_not(None))
    if kind is Attention.HELD:
        return managed.where(device.is_held)
    days = settings.enrollment.silent_days
    return managed.where(device.last_seen_at <= now - timedelta(days=days) if days else false())


# --- search --------------------------------------------------------------------------------------------------------


def _found(session: Session, search: str) -> ColumnElement[bool]:
    """Requests of people all of whose words begin as typed, or whose id (or short code) begins so."""
    words = sorted(folded(search).split()[:MOST_WORDS], key=len, reverse=True)
    if not words:
        return EnrollmentRequest.id == ""
    people = _people(words, None).limit(FEW + 1)
    ids = list(session.scalars(people))
    if len(ids) <= FEW:
        by_name: ColumnElement[bool] = EnrollmentRequest.person_id.in_(ids)
    else:
        by_name = exists(_people(words, EnrollmentRequest.person_id))
    code = words[0].replace("-", "") if len(words) == 1 else ""
    if code.isalnum() and code.isascii() and 4 <= len(code) <= 16:
        return or_(by_name, EnrollmentRequest.id.between(code, code.ljust(16, "z")))
    return by_name


def people_by_words(search: str) -> Select[Any] | None:
    """Ids of the people all of whose words begin as typed; None if nothing was."""
    words = sorted(folded(search).split()[:MOST_WORDS], key=len, reverse=True)
    return _people(words, None) if words else None


def people_without_request(session: Session, search: str) -> Sequence[Person]:
    """Some employees who are found by what was typed, and were never invited; nobody if nothing was."""
    found = people_by_words(search)
    if found is None:
        return ()
    invited = exists(select(EnrollmentRequest.id).where(EnrollmentRequest.person_id == Person.id))
    query = select(Person).where(Person.id.in_(found), ~invited, Person.disabled_at.is_(None))
    return session.scalars(query.order_by(Person.name, Person.id).limit(MOST_OTHERS)).all()


def _people(words: list[str], of: ColumnElement[str] | InstrumentedAttribute[str] | None) -> Select[Any]:
    """Ids of people who have all words; with ``of`` only that one, for a row at hand."""
    first = aliased(SearchWord)
    query = select(first.person_id).where(_begins(first, words[0]))
    query = query.distinct() if of is None else query.where(first.person_id == of).correlate(EnrollmentRequest)
    for word in words[1:]:
        other = aliased(SearchWord)
        query = query.where(
            exists(select(other.person_id).where(other.person_id == first.person_id, _begins(other, word)))
        )
    return query


def _begins(table: type[SearchWord], word: str) -> ColumnElement[bool]:
    return and_(table.word >= word, table.word < word + END_OF_WORDS)


# --- places --------------------------------------------------------------------------------------------------------


def _place(request: EnrollmentRequest) -> str:
    return f"{request.created_at.timestamp():.6f}:{request.id}"


def _read_place(place: str) -> tuple[str, tuple[datetime, str] | None]:
    direction, _, rest = place.partition(":")
    moment, _, request_id = rest.partition(":")
    try:
        at = datetime.fromtimestamp(float(moment), tz=UTC)
    except (ValueError, OverflowError, OSError):
        return "", None
    return (direction, (at, request_id)) if direction in ("before", "after") else ("", None)
