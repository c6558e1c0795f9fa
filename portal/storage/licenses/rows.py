"""What becomes of the rows of licenses, of those who get them, and of what Apple was asked about them."""

from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, or_, select, update
from sqlalchemy.orm import Session

from portal.apps.seat_outcomes import Outcome, UserOutcome, again_at, soon_at
from portal.apps.seats import Kind, SeatState, UserState
from portal.models import DeviceApp, LicenseRequest, LicenseSeat, LicenseUser

LEASE = timedelta(minutes=2)
"""After that a request of which nobody knows whether Apple heard of it is looked into."""
NOT_KNOWN = "account_refused"
"""Why somebody gets no license whom Apple does not take; its own reasons are its error numbers."""


def open_request(session: Session, kind: Kind, now: datetime) -> LicenseRequest:
    """Something that Apple is about to be asked."""
    made = LicenseRequest(kind=kind.value, asked_at=now, next_at=now + LEASE, tries=0)
    session.add(made)
    session.flush()
    return made


def ask_again(session: Session, request_id: int, asked: SeatState, before: SeatState, now: datetime) -> None:
    """Apple never heard of it."""
    mine = (LicenseSeat.asked_in == request_id, LicenseSeat.state == asked.value)
    session.execute(update(LicenseSeat).where(*mine).values(state=before.value, asked_in=None, next_at=now))


def doubt(session: Session, user_id: str, adam_id: str, now: datetime) -> None:
    """A device found no license: whether Apple still has it for its owner is read there, as if the answer were lost."""
    request = open_request(session, Kind.ASSOCIATE, now)
    theirs = (LicenseSeat.user_id == user_id, LicenseSeat.adam_id == adam_id, LicenseSeat.state == SeatState.HELD)
    asked = {"state": SeatState.ASKED.value, "asked_in": request.id, "next_at": None}
    if cast(CursorResult[Any], session.execute(update(LicenseSeat).where(*theirs).values(**asked))).rowcount == 0:
        session.delete(request)


def seat_becomes(session: Session, seat: LicenseSeat, outcome: Outcome, number: int, now: datetime) -> None:
    """What became of a license that Apple was asked about; ``number``: its error, 0 for none."""
    if outcome is Outcome.HELD:
        is_held(seat, now)
    elif outcome is Outcome.FAILED:
        has_failed(seat, str(number), now)
    elif outcome is Outcome.RETURNED:
        session.delete(seat)
    elif outcome is Outcome.WANTED_AGAIN:
        seat.state, seat.asked_in, seat.next_at = SeatState.WANTED.value, None, soon_at(seat.tries, now)
        seat.tries += 1
    elif outcome is Outcome.NOT_RETURNED:
        seat.state, seat.reason, seat.asked_in = SeatState.UNWANTED.value, str(number) if number else None, None
        seat.next_at = again_at(seat.tries, now) if number else soon_at(seat.tries, now)
        seat.tries += 1


def is_held(seat: LicenseSeat, now: datetime) -> None:
    """Apple gave it."""
    seat.state, seat.reason, seat.asked_in, seat.at, seat.tries = SeatState.HELD.value, None, None, now, 0
    seat.next_at = None


def has_failed(seat: LicenseSeat, reason: str, now: datetime) -> None:
    """Apple does not give it, for this reason; it is asked for again later."""
    seat.state, seat.reason, seat.asked_in = SeatState.FAILED.value, reason, None
    seat.at, seat.next_at = now, again_at(seat.tries, now)
    seat.tries += 1


def user_becomes(session: Session, user: LicenseUser, outcome: UserOutcome, number: int, now: datetime) -> None:
    """What became of somebody whom Apple was asked to know, or to give up; the licenses of who failed do, too."""
    if outcome is UserOutcome.KNOWN:
        user_is(user, UserState.KNOWN, now)
        user.tries = 0
    elif outcome is UserOutcome.NEW_AGAIN:
        user_is(user, UserState.NEW, now)
        user.next_at, user.tries = soon_at(user.tries, now), user.tries + 1
    elif outcome is UserOutcome.FORGOTTEN:
        forget_user(session, user.id)
    elif outcome is UserOutcome.NOT_RETIRED:
        user_is(user, UserState.KNOWN, now)
        user.next_at = again_at(user.tries, now) if number else soon_at(user.tries, now)
        user.tries += 1
    elif outcome is UserOutcome.FAILED:
        user_is(user, UserState.FAILED, now, str(number))
        user.next_at, user.tries = again_at(user.tries, now), user.tries + 1
        theirs = LicenseSeat.user_id == user.id, LicenseSeat.state == SeatState.WANTED
        failed = {"state": SeatState.FAILED.value, "reason": NOT_KNOWN, "next_at": user.next_at}
        session.execute(update(LicenseSeat).where(*theirs).values(**failed))


def user_is(user: LicenseUser, state: UserState, now: datetime, reason: str | None = None) -> None:
    """How far Apple's knowing somebody is."""
    user.state, user.reason, user.asked_in = state.value, reason, None
    user.next_at = now if state is UserState.NEW else None


def is_not_known(session: Session, user: LicenseUser, now: datetime) -> None:
    """Apple does not know them (any more): they are made known anew, and what they had is asked for anew."""
    user_is(user, UserState.NEW, now)
    settled = {"asked_in": None, "tries": 0, "next_at": now}
    theirs = LicenseSeat.user_id == user.id
    held, kept = LicenseSeat.state == SeatState.HELD, LicenseSeat.state == SeatState.UNWANTED
    session.execute(update(LicenseSeat).where(theirs, held).values(state=SeatState.WANTED.value, **settled))
    session.execute(delete(LicenseSeat).where(theirs, kept))


def transfer_seats(session: Session, old: LicenseUser, new: LicenseUser, now: datetime) -> None:
    """Somebody forgotten is somebody again, by the same id at Apple: what they still have there goes with them.

    So does what Apple is being asked to give or to take back: what becomes of it is told later.
    """
    theirs = {each.adam_id: each for each in session.scalars(select(LicenseSeat).where(LicenseSeat.user_id == new.id))}
    for seat in session.scalars(select(LicenseSeat).where(LicenseSeat.user_id == old.id)).all():
        if seat.state in (SeatState.HELD, SeatState.UNWANTED, SeatState.ASKED, SeatState.RETURNING):
            there = theirs.get(seat.adam_id)
            if there is None:
                there = LicenseSeat(user_id=new.id, adam_id=seat.adam_id, pricing=seat.pricing, tries=0)
                session.add(there)
            is_held(there, now)
            if seat.asked_in is not None:
                there.state, there.asked_in = seat.state, seat.asked_in
        session.delete(seat)
    session.flush()
    forget_user(session, old.id)


def forget_user(session: Session, user_id: str) -> None:
    """Apple does not know them, and nothing is theirs."""
    session.execute(update(DeviceApp).where(DeviceApp.license_user_id == user_id).values(license_user_id=None))
    session.execute(delete(LicenseUser).where(LicenseUser.id == user_id))


def begin_anew(session: Session, now: datetime) -> None:
    """Licenses are those of another location from now on: nothing that was known of the ones before counts there."""
    nobodys = select(LicenseUser.id).where(LicenseUser.account.is_(None))
    needless = LicenseSeat.state.in_((SeatState.UNWANTED.value, SeatState.RETURNING.value))
    session.execute(delete(LicenseSeat).where(or_(needless, LicenseSeat.user_id.in_(nobodys))))
    wanted = {"state": SeatState.WANTED.value, "asked_in": None, "tries": 0, "next_at": now, "reason": None}
    session.execute(update(LicenseSeat).values(**wanted))
    new = {"state": UserState.NEW.value, "asked_in": None, "tries": 0, "next_at": now, "reason": None, "due_at": now}
    session.execute(update(LicenseUser).values(**new))
    session.execute(delete(LicenseRequest))
