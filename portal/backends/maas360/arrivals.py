"""Whose device it is: people who were handed over to MaaS360 are looked for by their addresses."""

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnExpressionArgument, func, or_, select
from sqlalchemy.orm import Session

from portal import clock
from portal.audit.links import key_for
from portal.backends.maas360.client import Client, Refused
from portal.backends.maas360.names import Vocabulary
from portal.backends.maas360.records import DeviceRecord
from portal.database import Database
from portal.enrollment import handover
from portal.enrollment.case import Case
from portal.enrollment.commands import Order
from portal.enrollment.ending import Reason
from portal.enrollment.handover import Seen
from portal.models import Device, EnrollmentRequest, IssuedProfile, Person
from portal.storage.cases import Cases, CaseServices

SERVER = "maas360"
LATE = timedelta(days=1)
"""How long a device is looked for whose request was ended meanwhile."""

Found = Callable[[Case, Seen], bool]
"""What becomes of a device that was found; whether anything did."""

log = logging.getLogger("portal.maas360")


def look_for(client: Client, database: Database, given: CaseServices, awaited: Any, found: Found) -> bool:
    """Whether the device of one person who was handed over was ``found``, by their addresses."""
    with database.session() as session:
        addresses = _addresses(session, awaited)
    try:
        seen = [as_seen(each, client.names) for each in _devices(client, addresses)]
    except Refused as refusal:  # their address may be what MaaS360 cannot take
        log.warning("maas360.search_refused code=%d", refusal.code)
        return False
    if not any(each.managed for each in seen):
        return False
    with database.transaction() as session:
        case = Cases(session, given).of_profile(awaited.id)
        if case is None:
            return False
        seen = [replace(each, server_id_hash=_hash(session, each.server_id)) for each in seen]
        taken = _taken(session, seen)
        new = [each for each in seen if each.server_id_hash not in taken and handover.is_the_new_one(case, each)]
        new.sort(key=lambda each: each.registered_at or case.now)
        return bool(new) and found(case, new[0])


def managed_names(client: Client, addresses: Iterable[str]) -> list[str]:
    """What MaaS360 calls the devices that it manages for whoever has one of ``addresses``. Raises BackendDown."""
    found = _devices(client, addresses)
    return [each.server_id for each in found if client.names.means("status.managed", each.managed_status)]


def as_seen(record: DeviceRecord, names: Vocabulary) -> Seen:
    """A device of MaaS360 in the portal's words."""
    status = record.managed_status
    left, removed = names.means("status.left", status), names.means("status.removed", status)
    told = {
        "ManagedStatus": status,
        "Ownership": record.ownership,
        "EnrollmentMode": record.mode,
        "Policy": record.policy,
        "Compliance": record.compliance,
        "PasscodeCompliance": record.passcode,
        "SelectiveWipe": "" if names.means("wipe.none", record.wipe) else record.wipe,
    }
    return Seen(
        server_id=record.server_id,
        managed=names.means("status.managed", status),
        ends=Reason.LEFT if left else Reason.REMOVED_THERE if removed else None,
        supervised=record.supervised,
        wiped=names.means("wipe.done", record.wipe) if record.wipe else None,
        product_name=record.model[:64] or None,
        os_version=record.os_version[:32] or None,
        attributes={key: value for key, value in told.items() if value},
        registered_at=record.registered_at,
        last_seen_at=min(record.last_reported_at, clock.now()) if record.last_reported_at else None,
    )


def arrive(case: Case, seen: Seen) -> bool:
    """The device of somebody who waits for it is enrolled, and gets the policy that is set."""
    policy = case.settings.maas360.policy
    return handover.arrived(case, seen, [Order("ChangePolicy", {"Policy": policy})] if policy else []) is not None


def let_go(case: Case, seen: Seen) -> bool:
    """The device of a request that was ended meanwhile."""
    return handover.arrived_too_late(case, seen)


def handed_over() -> Any:
    """Everybody who ever was, as a query: the profile's ``id``, ``issued_at``, the person and their addresses."""
    return (
        select(
            IssuedProfile.id,
            IssuedProfile.issued_at,
            EnrollmentRequest.managed_apple_account,
            Person.email,
            Person.id.label("person_id"),
        )
        .join(EnrollmentRequest, EnrollmentRequest.id == IssuedProfile.request_id)
        .join(Person, Person.id == EnrollmentRequest.person_id)
        .where(IssuedProfile.server == SERVER)
    )


def _addresses(session: Session, awaited: Any) -> list[str]:
    """Somebody's addresses by which their device can be told from others'.

    The e-mail address is what a source says of somebody, who may choose it there: it counts only if it is nobody else's
    in any way.
    """
    account, email = str(awaited.managed_apple_account), str(awaited.email)
    others, address = Person.id != awaited.person_id, email.lower()
    known = select(Person.id).where(others, Person.erased_at.is_(None))
    theirs = known.where(or_(func.lower(Person.email) == address, Person.managed_apple_account == address))
    enrolled = handed_over().where(others, func.lower(EnrollmentRequest.managed_apple_account) == address)
    shared = any(session.execute(query.limit(1)).first() for query in (theirs, enrolled))
    return [account] if shared else [account, email]


def _hash(session: Session, server_id: str) -> str | None:
    """Under what nobody else's device is known; keyed, since a name may be made from a serial number."""
    key = key_for(session)
    return hmac.new(key.secret, f"device {server_id}".encode(), hashlib.sha256).hexdigest() if key else None


def _taken(session: Session, seen: list[Seen]) -> set[str | None]:
    """Those that are some living enrollment's device already."""
    hashes = [each.server_id_hash for each in seen]
    living = select(Device.server_id_hash).where(Device.ended_at.is_(None), Device.server_id_hash.in_(hashes))
    return set(session.scalars(living))


def awaited_now(now: datetime) -> tuple[ColumnExpressionArgument[bool], ...]:
    """Requests whose person was handed over, and whose device did not come yet."""
    return (
        IssuedProfile.server == SERVER,
        IssuedProfile.superseded_at.is_(None),
        IssuedProfile.refused_at.is_(None),
        IssuedProfile.id == EnrollmentRequest.profile_id,
        EnrollmentRequest.can_enroll(now),
    )


def _devices(client: Client, addresses: Iterable[str]) -> list[DeviceRecord]:
    """Each once, of whoever has one of ``addresses``."""
    found: dict[str, DeviceRecord] = {}
    for address in dict.fromkeys(each.casefold() for each in addresses if each):
        found |= {each.server_id: each for each in client.devices_of(address) if each.server_id}
    return list(found.values())
