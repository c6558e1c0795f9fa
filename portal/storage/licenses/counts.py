"""How many licenses there are of each app, as Apple said last."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal.apps.seats import SeatState
from portal.apps_and_books import answers
from portal.database import lock_name
from portal.models import AppLicense, LicenseSeat, LicenseUser, PortalState
from portal.storage import apps
from portal.storage.licenses import rows

COUNTED_AT_MOST = timedelta(minutes=1)
"""Licenses are counted no more often than that."""
LOOK_ANYWAY = timedelta(days=1)
LOOKED = "licenses_looked_at_anyway"
"""Where it is kept when everybody was looked at last."""
NO_LICENSES, NOT_USABLE = "no_licenses", "not_usable"
"""Reasons of the portal's own; Apple's are its error numbers."""


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
            rows.has_failed(seat, NO_LICENSES if row is None or row.usable else NOT_USABLE, now)
            continue
        free[seat.adam_id] -= 1
        seat.pricing = row.pricing
        found.append(seat)
    return found
