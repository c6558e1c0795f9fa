"""Who needs which license is compared with who has which; and what becomes of each, in the caller's transaction."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    and_,
    delete,
    event,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session

from portal import clock
from portal.apps import states
from portal.apps.seats import Kind, SeatState, UserState, pieces
from portal.apps_and_books import answers
from portal.apps_and_books.answers import STANDARD, Event, Failure
from portal.database import lock_name
from portal.models import (
    App,
    AppLicense,
    Device,
    DeviceApp,
    LicenseRequest,
    LicenseSeat,
    LicenseUser,
    PortalState,
    new_id,
)
from portal.storage import apple_content, apps
from portal.vault import Vault

BATCH_SIZE = 500
"""Ids in one statement."""
MOST_DECIDED = 500
"""Users whose needs are looked at in one transaction."""
LEASE = timedelta(minutes=2)
"""After that a request of which nobody knows whether Apple heard of it is looked into."""
TRY_AGAIN = tuple(timedelta(hours=hours) for hours in (1, 4, 24))
"""When what Apple refused is asked again; the last one again and again."""
LOOK_ANYWAY = timedelta(days=1)
LOOKED = "licenses_looked_at_anyway"
"""Where it is kept when everybody was looked at last."""
SOON = timedelta(seconds=5)
"""When it is tried again to tell a device that somebody is at."""
GIVEN_BACK_AFTER = timedelta(minutes=5)
"""How long a license that nobody needs is kept: whoever changes their mind all the time costs Apple nothing."""
COUNTED_AT_MOST = timedelta(minutes=1)
"""Licenses are counted no more often than that."""
NO_LICENSES, NOT_USABLE, NOT_KNOWN = "no_licenses", "not_usable", "account_refused"
"""Reasons of the portal's own; Apple's are its error numbers."""
USERS_DUE, DEVICES_ENDED = "license_users_due", "devices_ended"
"""Keys in ``Session.info``: whose licenses are looked at with the commit."""
LOOKS = "licenses_are_looked_at"
"""Such a key, too: this session does so with each commit, which the others need not."""


def user_of(session: Session, vault: Vault, account: str, person_id: str, now: datetime) -> str:
    """Who a Managed Apple Account is among those who get licenses; made with an opaque id if it is new."""
    query = select(LicenseUser).where(LicenseUser.account == account)
    known = session.scalar(query)
    if known is None:  # two phones of theirs may be told at the same time
        lock_name(session, f"license user {account}")
        known = session.scalar(query)
    if known is not None:
        if known.person_id != person_id:
            known.person_id = person_id
        return known.id
    made = LicenseUser(
        id=new_id(),
        person_id=person_id,
        account=account,
        client_id_sealed=vault.seal(str(uuid.uuid4()).encode()),
        state=UserState.NEW.value,
        tries=0,
        next_at=now,
    )
    session.add(made)
    session.flush()
    return made.id


def mark(session: Session, user_ids: Iterable[str], now: datetime) -> None:
    """What these users need or have may be something else now.

    Locked in one order, whoever else does it, and for no more than that: who refers to a user (the app of a device) at
    the same time, and marks them next, waits in no ring.
    """
    for some in pieces(sorted(set(user_ids)), BATCH_SIZE):
        theirs = LicenseUser.id.in_(some)
        session.execute(select(LicenseUser.id).where(theirs).order_by(LicenseUser.id).with_for_update(key_share=True))
        session.execute(update(LicenseUser).where(theirs).values(due_at=now))


def look_at_commit(session: Session, user_id: str) -> None:
    """The same, when everything else of the transaction is written: whoever holds a device waits for no user's row."""
    _at_commit(session, USERS_DUE).add(user_id)


def device_ended(session: Session, device_id: str) -> None:
    """With the commit: what the owner of a device needs no more is given back."""
    _at_commit(session, DEVICES_ENDED).add(device_id)


def _at_commit(session: Session, key: str) -> set[str]:
    if LOOKS not in session.info:
        session.info[LOOKS] = True
        event.listen(session, "before_commit", _look_now)
        event.listen(session, "after_rollback", _forget_marks)
    found: set[str] = session.info.setdefault(key, set())
    return found


def _forget_marks(session: Session) -> tuple[set[str], set[str]]:
    """Whoever was marked before is not any more; who they were: users, and devices."""
    return session.info.pop(USERS_DUE, set()), session.info.pop(DEVICES_ENDED, set())


def _look_now(session: Session) -> None:
    users, ended = _forget_marks(session)
    if not users and not ended:
        return
    session.flush()
    if ended:
        whose = select(DeviceApp.license_user_id).where(DeviceApp.device_id.in_(ended))
        users |= set(session.scalars(whose.where(DeviceApp.license_user_id.is_not(None))))
    if users:
        mark(session, users, clock.now())


def to_be_known() -> ColumnElement[bool]:
    """Users of whom Apple is to hear: who has a license to get, and was not forgotten."""
    has_seat = select(LicenseSeat.user_id).where(LicenseSeat.user_id == LicenseUser.id).exists()
    unheard = LicenseUser.state.in_((UserState.NEW.value, UserState.FAILED.value))
    return and_(unheard, LicenseUser.account.is_not(None), has_seat)


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


# --- who needs what ------------------------------------------------------------------------------------------------


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


# --- steps of a round ----------------------------------------------------------------------------------------------


def keep_assets(session: Session, found: Iterable[answers.Asset], now: datetime) -> None:
    """The licenses that there are, as Apple says. Who failed for want of one is tried again where there are some."""
    lock_name(session, "app_licenses")
    known = {(each.adam_id, each.pricing): each for each in session.scalars(select(AppLicense))}
    there = {(each.adam_id, each.pricing): each for each in found}  # what is told twice counts once
    for key, asset in there.items():
        row = known.pop(key, None) or AppLicense(adam_id=asset.adam_id, pricing=asset.pricing)
        row.total, row.available, row.assigned = asset.total, asset.available, asset.assigned
        row.usable, row.seen_at = asset.is_app and asset.for_iphone and asset.revocable, now
        session.add(row)
    for row in known.values():
        session.delete(row)
    session.flush()
    free = select(AppLicense.adam_id).where(AppLicense.available > 0, AppLicense.usable)
    hopeful = (LicenseSeat.state == SeatState.FAILED, LicenseSeat.adam_id.in_(free))
    lacked = LicenseSeat.reason.in_((NO_LICENSES, NOT_USABLE))
    wanted = {"state": SeatState.WANTED.value, "next_at": now}
    session.execute(update(LicenseSeat).where(*hopeful, lacked).values(**wanted))
    again = (LicenseSeat.state == SeatState.FAILED, LicenseSeat.next_at <= now)
    session.execute(update(LicenseSeat).where(*again).values(**wanted))
    _look_anyway(session, now)


def _look_anyway(session: Session, now: datetime) -> None:
    """Once a day at everybody who has a license, whatever was missed."""
    looked = session.get(PortalState, LOOKED) or PortalState(name=LOOKED)
    if looked.value and now - datetime.fromisoformat(looked.value) < LOOK_ANYWAY:
        return
    looked.value = now.isoformat()
    session.add(looked)
    has_seat = select(LicenseSeat.user_id).distinct()
    session.execute(
        update(LicenseUser).where(LicenseUser.id.in_(has_seat), LicenseUser.due_at.is_(None)).values(due_at=now)
    )


def counted_at(session: Session) -> datetime | None:
    """When the licenses were counted last."""
    return session.scalar(select(func.max(AppLicense.seen_at)))


def lacks_some(session: Session, now: datetime) -> bool:
    """Whether a license is to be asked for of which there was none when they were counted last."""
    free = select(AppLicense.adam_id).where(AppLicense.available > 0, AppLicense.usable)
    due = (LicenseSeat.state == SeatState.WANTED, LicenseSeat.next_at <= now, LicenseSeat.adam_id.not_in(free))
    return session.scalar(select(LicenseSeat.user_id).where(*due).limit(1)) is not None


def while_there_are_any(session: Session, due: list[LicenseSeat], now: datetime) -> list[LicenseSeat]:
    """Those for whom there is a license; the others are told without asking Apple."""
    known = apps.licenses(session, (each.adam_id for each in due))
    free = {adam_id: each.available for adam_id, each in known.items()}
    found = []
    for seat in due:
        row = known.get(seat.adam_id)
        if row is None or not row.usable or free[seat.adam_id] <= 0:
            has_failed(seat, NO_LICENSES if row is None or row.usable else NOT_USABLE, now)
            continue
        free[seat.adam_id] -= 1
        seat.pricing = row.pricing
        found.append(seat)
    return found


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


def is_held(seat: LicenseSeat, now: datetime) -> None:
    """Apple gave it."""
    seat.state, seat.reason, seat.asked_in, seat.at, seat.tries = SeatState.HELD.value, None, None, now, 0
    seat.next_at = None


def is_wanted_again(seat: LicenseSeat, now: datetime) -> None:
    """It was asked for in vain: it is asked for again, the first time at once."""
    seat.state, seat.asked_in, seat.next_at = SeatState.WANTED.value, None, soon_at(seat.tries, now)
    seat.tries += 1


def has_failed(seat: LicenseSeat, reason: str, now: datetime) -> None:
    """Apple does not give it, for this reason; it is asked for again later."""
    seat.state, seat.reason, seat.asked_in = SeatState.FAILED.value, reason, None
    seat.at, seat.next_at = now, again_at(seat.tries, now)
    seat.tries += 1


def doubt(session: Session, user_id: str, adam_id: str, now: datetime) -> None:
    """A device found no license: whether Apple still has it for its owner is read there, as if the answer were lost."""
    request = open_request(session, Kind.ASSOCIATE, now)
    theirs = (LicenseSeat.user_id == user_id, LicenseSeat.adam_id == adam_id, LicenseSeat.state == SeatState.HELD)
    asked = {"state": SeatState.ASKED.value, "asked_in": request.id, "next_at": None}
    if cast(CursorResult[Any], session.execute(update(LicenseSeat).where(*theirs).values(**asked))).rowcount == 0:
        session.delete(request)


def is_not_returned(seat: LicenseSeat, reason: str | None, now: datetime) -> None:
    """Apple does not take it back, for this reason; it is asked to later. None: nobody knows whether Apple heard."""
    seat.state, seat.reason, seat.asked_in = SeatState.UNWANTED.value, reason, None
    seat.next_at = again_at(seat.tries, now) if reason else soon_at(seat.tries, now)
    seat.tries += 1


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


def is_not_known(session: Session, user: LicenseUser, now: datetime) -> None:
    """Apple does not know them (any more): they are made known anew, and what they had is asked for anew."""
    user_is(user, UserState.NEW, now)
    settled = {"asked_in": None, "tries": 0, "next_at": now}
    theirs = LicenseSeat.user_id == user.id
    held, kept = LicenseSeat.state == SeatState.HELD, LicenseSeat.state == SeatState.UNWANTED
    session.execute(update(LicenseSeat).where(theirs, held).values(state=SeatState.WANTED.value, **settled))
    session.execute(delete(LicenseSeat).where(theirs, kept))


def user_is(user: LicenseUser, state: UserState, now: datetime, reason: str | None = None) -> None:
    """How far Apple's knowing somebody is."""
    user.state, user.reason, user.asked_in = state.value, reason, None
    user.next_at = now if state is UserState.NEW else None


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


def again_at(tries: int, now: datetime) -> datetime:
    """When what Apple refused so often is asked again."""
    return now + TRY_AGAIN[min(tries, len(TRY_AGAIN) - 1)]


def soon_at(tries: int, now: datetime) -> datetime:
    """The same of what became nothing, nobody knows why: the first time at once."""
    return again_at(tries - 1, now) if tries else now


def names_somebody(failure: Failure) -> bool:
    """Whether a failure says whom, or what, it is about."""
    return bool(failure.client_ids or failure.adam_ids)


def number_for(event: Event, client_id: str, adam_id: str) -> int:
    """The number of the failure that is about a user and an app; 0 for none."""
    for failure in event.failures:
        about_user = not failure.client_ids or client_id in failure.client_ids
        about_app = not failure.adam_ids or not adam_id or adam_id in failure.adam_ids
        if about_user and about_app:
            return failure.number or -1
    return 0 if event.status == answers.COMPLETE or event.failures else -1
