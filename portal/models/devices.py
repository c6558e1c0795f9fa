"""Certificates issued to devices, the devices themselves, the commands queued for them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ColumnElement, ForeignKey, Index, String, and_, not_, or_, select, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.models.base import Base, new_id, personal
from portal.models.enrollment import EnrollmentRequest
from portal.models.people import Person


def _part(name: str, where: str, *columns: str) -> Index:
    """An index of the rows that fit ``where``."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class Certificate(Base):
    """An identity certificate issued over SCEP. Identity is the fingerprint, never the subject."""

    __tablename__ = "certificates"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    serial: Mapped[str] = mapped_column(String(48), unique=True)
    profile_id: Mapped[str] = mapped_column(ForeignKey("profiles.id"), index=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    der: Mapped[bytes]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(String(32))


LONGEST_CALLED = 60
"""Characters of what a device says that it is."""


class Device(Base):
    """One enrollment of one device, known by its EnrollmentID alone; never by hardware identifiers.

    ``server``: who enrolled it and manages it by itself; None for devices with a profile and certificate of the portal.
    What such a server calls the device may be made from its serial number, so that is sealed and never shown; no two
    living enrollments have the same (``server_id_hash``, keyed).
    """

    __tablename__ = "devices"
    __table_args__ = (
        _part("ix_devices_managed", "ended_at IS NULL", "last_seen_at"),
        _part("ix_devices_held", "ended_at IS NULL AND leaving_held_at IS NOT NULL", "id"),
        _part("ix_devices_leaving", "ended_at IS NULL AND leaving_at IS NOT NULL", "request_id"),
        Index(
            "ix_devices_server_id",
            "server_id_hash",
            unique=True,
            sqlite_where=text("ended_at IS NULL AND server_id_hash IS NOT NULL"),
            postgresql_where=text("ended_at IS NULL AND server_id_hash IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    enrollment_id: Mapped[str] = mapped_column(String(128), unique=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    profile_id: Mapped[str] = mapped_column(ForeignKey("profiles.id"))
    certificate_fingerprint: Mapped[str | None] = mapped_column(ForeignKey("certificates.fingerprint"), unique=True)
    server: Mapped[str | None] = mapped_column(String(16))
    server_id_sealed: Mapped[bytes | None] = mapped_column(info=personal())
    server_id_hash: Mapped[str | None] = mapped_column(String(64), info=personal())
    way: Mapped[str] = mapped_column(String(16), default="profile")
    product_name: Mapped[str | None] = mapped_column(String(64), info=personal())
    os_version: Mapped[str | None] = mapped_column(String(32), info=personal())
    build_version: Mapped[str | None] = mapped_column(String(32), info=personal())
    push_sealed: Mapped[bytes | None] = mapped_column(info=personal())
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, info=personal({}))
    attributes_at: Mapped[datetime | None]
    profiles: Mapped[list[Any]] = mapped_column(JSON, default=list, info=personal([]))
    apps: Mapped[list[Any]] = mapped_column(JSON, default=list, server_default="[]", info=personal([]))
    apps_at: Mapped[datetime | None]
    certificates: Mapped[list[Any]] = mapped_column(JSON, default=list, server_default="[]", info=personal([]))
    certificates_at: Mapped[datetime | None]
    wake_problem: Mapped[str | None] = mapped_column(String(48))
    authenticated_at: Mapped[datetime]
    enrolled_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime]
    leaving_reason: Mapped[str | None] = mapped_column(String(32))
    leaving_at: Mapped[datetime | None]
    leaving_held_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(32))

    request: Mapped[EnrollmentRequest] = relationship()

    @hybrid_property
    def is_managed(self) -> bool:
        """Whether it enrolled and its enrollment did not end."""
        return self.enrolled_at is not None and self.ended_at is None

    @is_managed.inplace.expression
    @classmethod
    def _is_managed(cls) -> ColumnElement[bool]:
        return and_(cls.enrolled_at.is_not(None), cls.ended_at.is_(None))

    @hybrid_property
    def is_managed_here(self) -> bool:
        """... and by no server that manages its devices by itself."""
        return self.is_managed and self.server is None

    @is_managed_here.inplace.expression
    @classmethod
    def _is_managed_here(cls) -> ColumnElement[bool]:
        return and_(cls.is_managed, cls.server.is_(None))

    @hybrid_property
    def is_served(self) -> bool:
        """... and neither leaves, or is to leave, nor is of somebody who may not work here any more.

        It is told what to have; what another one has stays as it is, however long the brake holds that it is asked.
        """
        goes = self.leaving_at is not None or self.is_held or self.request.person.disabled_at is not None
        return self.is_managed_here and not goes

    @is_served.inplace.expression
    @classmethod
    def _is_served(cls) -> ColumnElement[bool]:
        owner = select(EnrollmentRequest.id).join(Person).where(EnrollmentRequest.id == cls.request_id)
        disabled = owner.where(Person.disabled_at.is_not(None)).correlate(cls)
        goes = or_(cls.leaving_at.is_not(None), cls.is_held, disabled.exists())
        return and_(cls.is_managed_here, not_(goes))

    @hybrid_property
    def is_held(self) -> bool:
        """Whether the brake keeps it from being asked to remove its work data (``storage.brake``)."""
        return self.leaving_held_at is not None and self.leaving_at is None and self.ended_at is None

    @is_held.inplace.expression
    @classmethod
    def _is_held(cls) -> ColumnElement[bool]:
        return and_(cls.leaving_held_at.is_not(None), cls.leaving_at.is_(None), cls.ended_at.is_(None))

    @property
    def called(self) -> str:
        """What it is called: its model, since its owner's name for it is not asked; so that anybody can type it."""
        told = str(self.attributes.get("ModelName") or self.product_name or "")
        words = "".join(letter if letter.isprintable() else " " for letter in told).split()
        return " ".join(words)[:LONGEST_CALLED].strip() or "iPhone"


class CommandState(StrEnum):
    """How far a command is: queued, sent, perhaps not now, then one of the others."""

    QUEUED = "queued"
    SENT = "sent"
    """The device has it, or the backend that keeps its queue."""
    NOT_NOW = "not_now"
    ACKNOWLEDGED = "acknowledged"
    ERROR = "error"
    FORMAT_ERROR = "format_error"
    FAILED = "failed"
    """The backend does not take it, or the device's answer cannot be used."""
    ANSWER_LOST = "answer_lost"
    DROPPED = "dropped"
    """Nobody wants it any more."""


class Command(Base):
    """One MDM command in a device's queue.

    ``handed_at``: the worker gave it to the backend, or woke the device, or need not do so any more. ``receipt``: what
    a server that enrolls devices by itself calls it. ``profile``: which profile of a policy is put into it when it is
    sent, so that no secret of it waits here; ``app_id``: the same of an app. ``content_sealed``: a profile that is put
    into it when it is sent, until it is answered.
    """

    __tablename__ = "commands"
    __table_args__ = (
        Index("ix_commands_device_id_status", "device_id", "status"),
        _part("ix_commands_waiting", "handed_at IS NULL", "device_id", "id"),
        Index("ix_commands_status", "status", "sent_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    request_type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[bytes] = mapped_column(info=personal(b""))
    content_sealed: Mapped[bytes | None] = mapped_column(info=personal())
    status: Mapped[str] = mapped_column(String(24), default=CommandState.QUEUED)
    created_at: Mapped[datetime]
    handed_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    last_error: Mapped[str | None] = mapped_column(String(200), info=personal())
    sent_at: Mapped[datetime | None]
    receipt: Mapped[str | None] = mapped_column(String(64))
    profile: Mapped[str | None] = mapped_column(String(64))
    app_id: Mapped[str | None] = mapped_column(String(16))
    answered_at: Mapped[datetime | None]
    errors: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), info=personal())

    @hybrid_property
    def is_waiting(self) -> bool:
        """Whether the worker is still to hand it over."""
        return self.handed_at is None and self.status == CommandState.QUEUED

    @is_waiting.inplace.expression
    @classmethod
    def _is_waiting(cls) -> ColumnElement[bool]:
        return and_(cls.handed_at.is_(None), cls.status == CommandState.QUEUED)


class DeclarativeState(Base):
    """What a device reported of itself by declarative management, and of which declarations it was told last.

    ``due_at``: when it is to be told of something new, or to be reminded. ``fetched``: the token of the list it fetched
    last. ``profiles``: by identifier what was sent of a policy to a device that knows no declarations. ``again``: how
    often helpdesk had everything sent anew.
    """

    __tablename__ = "declarative_states"
    __table_args__ = (_part("ix_declarative_states_due", "due_at IS NOT NULL", "due_at"),)

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    announced: Mapped[str | None] = mapped_column(String(64))
    announced_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    fetched: Mapped[str | None] = mapped_column(String(64))
    again: Mapped[int] = mapped_column(default=0, server_default="0")
    known: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, info=personal({}))
    profiles: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}", info=personal({}))
    reported_at: Mapped[datetime | None]


class BackendEvent(Base):
    """What a delegated backend told, stored before it is answered and taken up by the worker, each event once.

    ``profile_id`` is the reference in the device's address. ``content_sealed`` is emptied when it is ``done_at``;
    ``kept_at``: it changed nothing, and admins should see it.
    """

    __tablename__ = "backend_events"
    __table_args__ = (
        _part("ix_backend_events_undone", "done_at IS NULL", "next_attempt_at"),
        Index("ix_backend_events_done_at", "done_at"),
        _part("ix_backend_events_kept", "kept_at IS NOT NULL", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(32))
    enrollment_id: Mapped[str | None] = mapped_column(String(128))
    profile_id: Mapped[str | None] = mapped_column(String(64))
    content_sealed: Mapped[bytes | None] = mapped_column(info=personal())
    received_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]
    kept_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(48))
