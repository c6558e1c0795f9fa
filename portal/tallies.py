"""Counts of what belongs to no request and no person: for *Device management* and ``/metrics``."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.database import lock_name
from portal.models import Tally

SCEP_REFUSED = "scep.refused."
"""Followed by the reason."""


def add(session: Session, name: str, now: datetime) -> None:
    """Count one more of ``name``, in the caller's transaction."""
    lock_name(session, f"tally {name}")  # the first two may come at once
    tally = session.get(Tally, name, populate_existing=True) or Tally(name=name, count=0)
    tally.count, tally.last_at = tally.count + 1, now
    session.add(tally)
    session.flush()


def of(session: Session, beginning: str) -> dict[str, Tally]:
    """What was counted under names with this beginning, by the rest of the name, most often first."""
    query = select(Tally).where(Tally.name.startswith(beginning, autoescape=True)).order_by(Tally.count.desc())
    return {each.name.removeprefix(beginning): each for each in session.scalars(query)}
