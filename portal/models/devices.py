"""Certificates issued to devices, the devices themselves, the commands queued for them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.models.base import Base, new_id
from portal.models.enrollment import EnrollmentRequest


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


class Device(Base):
    """One enrollment of one device, known by its EnrollmentID alone; never by hardware identifiers."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    enrollment_id: Mapped[str] = mapped_column(String(128), unique=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    profile_id: Mapped[str] = mapped_column(ForeignKey("profiles.id"))
    certificate_fingerprint: Mapped[str] = mapped_column(ForeignKey("certificates.fingerprint"), unique=True)
    way: Mapped[str] = mapped_column(String(16), default="profile")
    product_name: Mapped[str | None] = mapped_column(String(64))
    os_version: Mapped[str | None] = mapped_column(String(32))
    build_version: Mapped[str | None] = mapped_column(String(32))
    push_sealed: Mapped[bytes | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    attributes_at: Mapped[datetime | None]
    profiles: Mapped[list[Any]] = mapped_column(JSON, default=list)
    authenticated_at: Mapped[datetime]
    enrolled_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(32))

    request: Mapped[EnrollmentRequest] = relationship()


class Command(Base):
    """One MDM command in a device's queue; kept until the device acknowledged or refused it."""

    __tablename__ = "commands"
    __table_args__ = (Index("ix_commands_device_id_status", "device_id", "status"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    request_type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[bytes]
    status: Mapped[str] = mapped_column(String(24), default="queued")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    errors: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
