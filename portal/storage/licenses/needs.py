"""Who needs which license is compared with who has which; and what becomes of each, in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Session

from portal.apps import states
from portal.apps.seats import SeatState, UserState, pieces
from portal.apps_and_books.answers import STANDARD
from portal.models import App, Device, DeviceApp, LicenseRequest, LicenseSeat, LicenseUser
from portal.storage import apple_content
from portal.storage.licenses.marking import BATCH_SIZE

MOST_DECIDED = 500
"""Users whose needs are looked at in one transaction."""
SOON = timedelta(seconds=5)
"""When it is tried again to tell a device that somebody is at."""
GIVEN_BACK_AFTER = timedelta(minutes=5)
"""How long a license that nobody needs is kept: whoever changes their mind all the time costs Apple nothing."""


def next_due(session: Session) -> datetime | None:
    """When there is something to do again, if Apple can be asked at all."""
    told = apple_content.known(session)
    if told is None or told.problem:
        return None
    to_ask = LicenseSeat.state.in_((SeatState.WANTED.value, SeatState.UNWANTED.value))
    seat_due = select(func.min(LicenseSeat.next_at)).join(LicenseUser, LicenseUser.id == LicenseSeat.user_id)
    times = [
        session.scalar(select(func.min(LicenseRequest.next_at))),
        session.scalar(select(func.min(LicenseUser.due_at))),
        session.scalar(select(func.min(LicenseUser.next_at)).where(to_be_known())),
        session.scalar(seat_due.where(to_ask, LicenseUser.state == UserState.KNOWN)),
    ]
    due = min((each for each in times if each is not None), default=None)
    return max(due, told.rests) if due is not None and told.rests is not None else due


def to_be_known() -> ColumnElement[bool]:
    """Users of whom Apple is to hear: who has a license to get, and was not forgotten."""
    has_seat = select(LicenseSeat.user_id).where(LicenseSeat.user_id == LicenseUser.id).exists()
    unheard = LicenseUser.state.in_((UserState.NEW.value, UserState.FAILED.value))
    return and_(unheard, LicenseUser.account.is_not(None), has_seat)


def decide(session: Session, now: datetime) -> int:
    """Compare what some users need with what they have, and tell their devices; how many were looked at."""
    query = select(LicenseUser).where(LicenseUser.due_at <= now).order_by(LicenseUser.id).limit(MOST_DECIDED)
    users = session.scalars(query.with_for_update(skip_locked=True, key_share=True)).all()
    if not users:
        return 0
    ids = [each.id for each in users]
    needed = _needed(session, ids)
    held: dict[str, dict[str, LicenseSeat]] = {}
    for seat in session.scalars(select(LicenseSeat).where(LicenseSeat.user_id.in_(ids))):
        held.setdefault(seat.user_id, {})[seat.adam_id] = seat
    new = []
    for user in users:
        theirs, wanted = held.get(user.id, {}), needed.get(user.id, set())
        for adam_id in sorted(wanted - theirs.keys()):
            new.append({"user_id": user.id, "adam_id": adam_id, "pricing": STANDARD, "at": now, "tries": 0,
                        "state": SeatState.WANTED.value, "next_at": now})  # fmt: skip
        for adam_id, seat in theirs.items():
            _decide(session, seat, adam_id in wanted, now)
    if new:
        session.execute(insert(LicenseSeat), new)
    session.flush()
    busy = tell_devices(session, ids, now)
    for user in users:
        user.due_at = now + SOON if user.id in busy else None
    return len(users)


def _decide(session: Session, seat: LicenseSeat, needed: bool, now: datetime) -> None:
    if needed and seat.state == SeatState.UNWANTED:
        seat.state, seat.at, seat.next_at = SeatState.HELD.value, now, None
    elif not needed and seat.state == SeatState.HELD:
        seat.state, seat.at, seat.next_at, seat.tries = SeatState.UNWANTED.value, now, now + GIVEN_BACK_AFTER, 0
    elif not needed and seat.state in (SeatState.WANTED, SeatState.FAILED):
        session.delete(seat)


def _needed(session: Session, ids: Sequence[str]) -> dict[str, set[str]]:
    """By user: the apps for which a managed device of theirs needs a license."""
    query = (
        select(DeviceApp.license_user_id, App.adam_id)
        .join(App, App.id == DeviceApp.app_id)
        .join(Device, Device.id == DeviceApp.device_id)
        .where(DeviceApp.license_user_id.in_(ids), App.adam_id.is_not(None), Device.ended_at.is_(None))
        .where(DeviceApp.state.not_in([each.value for each in states.WITHOUT_LICENSE]))
    )
    found: dict[str, set[str]] = {}
    for user_id, adam_id in session.execute(query):
        found.setdefault(str(user_id), set()).add(str(adam_id))
    return found


def tell_devices(session: Session, user_ids: Sequence[str], now: datetime) -> set[str]:
    """Have the devices looked at that wait for what became of these users' licenses.

    Waits for nobody: the users with a device that somebody is at are returned, to be looked at again.
    """
    gone = (SeatState.HELD.value, SeatState.FAILED.value)
    news = or_(
        and_(DeviceApp.state == states.State.LICENSE.value, LicenseSeat.state.in_(gone)),
        and_(DeviceApp.state == states.State.NO_LICENSE.value, LicenseSeat.state != SeatState.FAILED.value),
    )
    query = (
        select(DeviceApp.device_id, DeviceApp.app_id, DeviceApp.license_user_id)
        .join(App, App.id == DeviceApp.app_id)
        .join(LicenseSeat, and_(LicenseSeat.user_id == DeviceApp.license_user_id, LicenseSeat.adam_id == App.adam_id))
        .where(DeviceApp.license_user_id.in_(user_ids), news)
    )
    wait = {(row[0], row[1]): str(row[2]) for row in session.execute(query)}
    free: set[tuple[str, str]] = set()
    for some in pieces(sorted(wait), BATCH_SIZE):
        mine = tuple_(DeviceApp.device_id, DeviceApp.app_id).in_(some)
        keys = select(DeviceApp.device_id, DeviceApp.app_id).where(mine).with_for_update(skip_locked=True)
        locked = [(row[0], row[1]) for row in session.execute(keys)]
        free.update(locked)
        if locked:
            theirs = tuple_(DeviceApp.device_id, DeviceApp.app_id).in_(locked)
            session.execute(update(DeviceApp).where(theirs).values(next_at=now))
    return {wait[each] for each in wait.keys() - free}
