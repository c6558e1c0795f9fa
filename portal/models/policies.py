"""Policies: what they are made of, version by version; who gets them; what became of them on each device."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Connection, ForeignKey, Index, String, event, inspect, select, update
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from portal import clock
from portal.models.base import BELONGS, Base, new_id, personal
from portal.models.devices import DeclarativeState, Device
from portal.models.enrollment import EnrollmentRequest
from portal.models.people import Person

IN_POLICIES = ("username", "name", "email", "disabled_at")
"""What of a person may stand in a policy, or decide whether they get any."""


class Policy(Base):
    """A named set of settings for work. ``version``: the one that everybody gets who gets it; None: none was published.

    ``pilot_version``: a newer one that only the pilot group gets. ``changed_at``: when what devices get changed last.
    ``archived_at``: it is over; nobody gets it, its versions stay for the record.
    """

    __tablename__ = "policies"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(80))
    version: Mapped[int | None]
    pilot_version: Mapped[int | None]
    draft_sealed: Mapped[bytes | None]
    draft_at: Mapped[datetime | None]
    draft_by: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class PolicyVersion(Base):
    """What was published once; it never changes.

    ``content_sealed`` is all of it; ``outline`` what tells which device gets what, without any secret.
    """

    __tablename__ = "policy_versions"

    policy_id: Mapped[str] = mapped_column(ForeignKey("policies.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    content_sealed: Mapped[bytes]
    outline: Mapped[list[Any]] = mapped_column(JSON)
    restored_from: Mapped[int | None]
    published_at: Mapped[datetime]
    published_by: Mapped[str] = mapped_column(String(40))


class DevicePolicy(Base):
    """What became of one policy on one device (``policies.outcome``).

    ``failed_version``: the last one whose failing was told; a device that changes its mind fills no trail.
    """

    __tablename__ = "device_policies"
    __table_args__ = (Index("ix_device_policies_policy_id", "policy_id", "state"), {"info": {BELONGS: True}})

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    policy_id: Mapped[str] = mapped_column(ForeignKey("policies.id"), primary_key=True)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str | None] = mapped_column(String(120))
    failed_version: Mapped[int | None]
    sent_again: Mapped[int] = mapped_column(default=0, server_default="0")
    at: Mapped[datetime]


class WorkCertificate(Base):
    """An identity for work that the portal's own authority issued to a device for one part of a policy.

    ``challenge_hash``: of the SCEP challenge, which is used once; ``csr_sha256``: who asks again for the same gets the
    same. The row stays when its person is forgotten: else it would no longer be on the list of those revoked.
    """

    __tablename__ = "work_certificates"

    serial: Mapped[str] = mapped_column(String(48), primary_key=True)
    challenge_hash: Mapped[str] = mapped_column(String(64), unique=True)
    csr_sha256: Mapped[str] = mapped_column(String(64))
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    part: Mapped[str] = mapped_column(String(36))
    der: Mapped[bytes] = mapped_column(info=personal(b""))
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


@event.listens_for(Person, "after_update")
def _their_devices_are_looked_at(_mapper: Mapper[Person], connection: Connection, person: Person) -> None:
    """Whoever changes what stands in a policy: the person's devices are compared, and told if they have to be."""
    state = inspect(person)
    if any(state.attrs[name].history.has_changes() for name in IN_POLICIES):
        theirs = select(Device.id).join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        theirs = theirs.where(EnrollmentRequest.person_id == person.id, Device.ended_at.is_(None))
        marked = update(DeclarativeState).where(DeclarativeState.device_id.in_(theirs)).values(due_at=clock.now())
        connection.execute(marked)
