"""Who can get licenses, and who is to be looked at because what they need, or have, may be something else now."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from portal import clock
from portal.apps.seats import UserState, pieces
from portal.database import lock_name
from portal.models import DeviceApp, LicenseUser, new_id
from portal.vault import Vault

BATCH_SIZE = 500
"""Ids in one statement."""
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
