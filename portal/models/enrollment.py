"""Enrollment requests with their recorded facts, their links, the profiles issued, the license terms."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import JSON, ColumnElement, ForeignKey, Index, String, Text, UniqueConstraint, and_, select, text
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from portal.models.base import Base, new_id, personal
from portal.models.operations import GENESIS
from portal.models.people import Person


def _newest(name: str, where: str) -> Index:
    """An index of the requests that fit ``where``, by age; their expiry is at hand, too."""
    return Index(name, "created_at", "id", "expires_at", sqlite_where=text(where), postgresql_where=text(where))


class EnrollmentRequest(Base):
    """An invitation for one employee. Every ``*_at`` column is a fact with its time; nothing else is state."""

    __tablename__ = "enrollment_requests"

    __table_args__ = (
        Index("ix_requests_newest", "created_at", "id"),
        Index("ix_requests_source", "source", "created_at", "id"),
        _newest("ix_requests_closed", "ended_at IS NOT NULL"),
        _newest("ix_requests_enrolled", "ended_at IS NULL AND enrolled_at IS NOT NULL"),
        _newest("ix_requests_unfinished", "ended_at IS NULL AND enrolled_at IS NULL"),
        _newest("ix_requests_walking", "ended_at IS NULL AND enrolled_at IS NULL AND signed_in_at IS NOT NULL"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    source: Mapped[str] = mapped_column(String(16))
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    managed_apple_account: Mapped[str] = mapped_column(String(254), info=personal(""))
    browser: Mapped[str | None] = mapped_column(String(64))
    language: Mapped[str | None] = mapped_column(String(16))
    unfit_browser: Mapped[str | None] = mapped_column(String(16))
    handed_to: Mapped[str | None] = mapped_column(String(16))
    handed_note: Mapped[str | None] = mapped_column(String(500), info=personal())

    passcode_secret_sealed: Mapped[bytes]
    passcode_counter: Mapped[int] = mapped_column(default=0)
    passcode_tries: Mapped[int] = mapped_column(default=0)
    passcode_sends: Mapped[int] = mapped_column(default=0)
    passcode_sent_at: Mapped[datetime | None]
    passcode_used_at: Mapped[datetime | None]

    signed_in_at: Mapped[datetime | None]
    ownership: Mapped[str | None] = mapped_column(String(16))
    ownership_at: Mapped[datetime | None]
    privacy_at: Mapped[datetime | None]
    passcode_verified_at: Mapped[datetime | None]
    passcode_session_id: Mapped[str | None] = mapped_column("passcode_visit_id", String(16))
    overview_at: Mapped[datetime | None]
    terms_version: Mapped[str | None] = mapped_column(String(32))
    terms_sha256: Mapped[str | None] = mapped_column(String(64))
    terms_accepted_at: Mapped[datetime | None]
    profile_id: Mapped[str | None] = mapped_column(String(16))
    enrolled_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(32))
    audit_seq: Mapped[int] = mapped_column(default=0)
    audit_digest: Mapped[str] = mapped_column(String(64), default=GENESIS)
    """The newest link of this request's chain in the audit trail."""

    terms_current: ClassVar[Mapped[str | None]]
    """The newest terms' version, read with every load of a request (see the end of this file)."""

    person: Mapped[Person] = relationship(
        lazy="joined",
        innerjoin="unnested",  # type: ignore[arg-type]  # SQLite reads all requests for a join within an outer join
    )
    profile: Mapped["IssuedProfile | None"] = relationship(
        primaryjoin="foreign(EnrollmentRequest.profile_id) == IssuedProfile.id",
        lazy="joined",
        viewonly=True,
    )

    @hybrid_property
    def is_unfinished(self) -> bool:
        """Whether it neither ended nor brought a device; its time may have run out."""
        return self.enrolled_at is None and self.ended_at is None

    @is_unfinished.inplace.expression
    @classmethod
    def _is_unfinished(cls) -> ColumnElement[bool]:
        return and_(cls.enrolled_at.is_(None), cls.ended_at.is_(None))

    @hybrid_method
    def can_enroll(self, now: datetime) -> bool:
        """Whether a device can still enroll with it."""
        return self.is_unfinished and now < self.expires_at

    @can_enroll.inplace.expression  # type: ignore[attr-defined]
    @classmethod
    def _can_enroll(cls, now: datetime) -> ColumnElement[bool]:
        return and_(cls.is_unfinished, cls.expires_at > now)


class RequestLink(Base):
    """One way into a request: the mailed link or a QR code that was shown. Only the token's hash is kept."""

    __tablename__ = "request_links"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]


class IssuedProfile(Base):
    """One profile for one device: its ticket, its SCEP challenge, and how far the device came with it.

    ``way`` is profile (downloaded in Safari, the ticket is in its address) or account (the ticket is the access token
    with which Settings fetches it). With a ``server`` that one gives the profile: the row says that the person was
    handed over, when and until when; its ticket and challenge open nothing.
    """

    __tablename__ = "profiles"
    __table_args__ = (
        Index(
            "ix_profiles_handed_over",
            "issued_at",
            sqlite_where=text("server IS NOT NULL AND superseded_at IS NULL"),
            postgresql_where=text("server IS NOT NULL AND superseded_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    request_id: Mapped[str] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    ticket_hash: Mapped[str] = mapped_column(String(64), unique=True)
    challenge_hash: Mapped[str] = mapped_column(String(64), unique=True)
    way: Mapped[str] = mapped_column(String(16), default="profile")
    server: Mapped[str | None] = mapped_column(String(16))
    content_sealed: Mapped[bytes | None] = mapped_column(info=personal())
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]
    downloaded_at: Mapped[datetime | None]
    csr_sha256: Mapped[str | None] = mapped_column(String(64))
    certificate_at: Mapped[datetime | None]
    authenticated_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]
    refused_reason: Mapped[str | None] = mapped_column(String(64))


class AccessToken(Base):
    """What an account-driven device shows with every message (``Authorization: Bearer``); only its hash is kept.

    It must be used before ``expires_at``; once a device is enrolled with it (``confirmed_at``) it lives with the
    enrollment, until it is revoked.
    """

    __tablename__ = "access_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    profile_id: Mapped[str] = mapped_column(ForeignKey("profiles.id"), index=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    granted_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(String(32))


class Terms(Base):
    """A published version of the license terms in one language."""

    __tablename__ = "terms"
    __table_args__ = (UniqueConstraint("version", "locale"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(String(32))
    locale: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime]


class TermsDraft(Base):
    """The next version of the terms while it is being written; published by hand or, by the worker, when it is time."""

    __tablename__ = "terms_drafts"

    version: Mapped[str] = mapped_column(String(32), primary_key=True)
    texts: Mapped[dict[str, str]] = mapped_column(JSON)
    publish_at: Mapped[datetime | None]
    saved_at: Mapped[datetime]
    saved_by: Mapped[str] = mapped_column(String(48))


NEWEST_TERMS = select(Terms.version).order_by(Terms.published_at.desc(), Terms.id.desc()).limit(1)
"""The version that must be accepted now."""

EnrollmentRequest.terms_current = column_property(NEWEST_TERMS.scalar_subquery(), expire_on_flush=False)
