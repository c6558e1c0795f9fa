"""What was asked of a device: its newest commands, as its page lists them, and how many there are."""

from sqlalchemy import func, select
from sqlalchemy.orm import defer

from portal.enrollment import commands, ending
from portal.extensions import current_portal, db_session
from portal.models import Command

SHOWN = 100


def newest(device_id: str) -> dict[str, object]:
    """For the page of a device: its newest commands, and which of them are its removal."""
    query = select(Command).where(Command.device_id == device_id).order_by(Command.id.desc()).limit(SHOWN)
    found = list(db_session.scalars(query.options(defer(Command.payload))))
    removals = [each for each in found if ending.is_removal(each, current_portal.settings)]
    return {"commands": found, "removals": removals, "only_newest": len(found) == SHOWN}


def counted(device_id: str) -> tuple[int, int]:
    """(how many there are, how many of them are not settled yet)."""
    is_open = Command.status.in_(commands.OPEN)
    query = select(func.count(), func.count().filter(is_open)).where(Command.device_id == device_id)
    total, waiting = db_session.execute(query).one()
    return total, waiting
