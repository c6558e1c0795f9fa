"""Work apps: the catalogue, who gets which, the licenses of Apps and Books, and what became of each on a device."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from portal.models.audiences import AudienceLine
from portal.models.base import BELONGS, Base, new_id, personal

LONGEST_EVENT_ID = 64
"""What Apple calls a request."""


class App(Base):
    """An app that IT gives to people: of the store (``adam_id``), or of the company's own (``manifest_url``).

    ``behaviour_sealed``: how it behaves, with its configuration (``apps.behaviour``); ``version`` counts its changes.
    ``changed_at``: when what devices get of it changed last. ``archived_at``: nobody gets it any more.
    """

    __tablename__ = "apps"
    __table_args__ = (
        Index(
            "ix_apps_bundle_id",
            "bundle_id",
            unique=True,
            sqlite_where=text("archived_at IS NULL"),
            postgresql_where=text("archived_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    adam_id: Mapped[str | None] = mapped_column(String(20))
    manifest_url: Mapped[str | None] = mapped_column(String(500))
    bundle_id: Mapped[str] = mapped_column(String(155))
    name: Mapped[str] = mapped_column(String(200))
    minimum_ios: Mapped[str] = mapped_column(String(16))
    icon: Mapped[bytes | None]
    behaviour_sealed: Mapped[bytes]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    icon_at: Mapped[int | None]
    """When the picture was fetched, in seconds; None without one. It is part of the picture's address."""


class AppAudience(AudienceLine, Base):
    """Who gets an app: on the side ``in`` it comes by itself, on the side ``offered`` people may take it."""

    __tablename__ = "app_audience"
    __table_args__ = (Index("ix_app_audience_kind_value", "kind", "value"),)

    @declared_attr
    def owner_id(cls) -> Mapped[str]:  # noqa: N805
        """The app."""
        return mapped_column("app_id", ForeignKey("apps.id"), primary_key=True, sort_order=-1)


class AppChoice(Base):
    """Somebody took an app that is offered."""

    __tablename__ = "app_choices"
    __table_args__ = {"info": {BELONGS: True}}

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("apps.id"), primary_key=True, index=True)
    at: Mapped[datetime]


class AppLicense(Base):
    """The licenses that the location has for one app, as Apple said last."""

    __tablename__ = "app_licenses"

    adam_id: Mapped[str] = mapped_column(String(20), primary_key=True)
    pricing: Mapped[str] = mapped_column(String(8), primary_key=True)
    total: Mapped[int]
    available: Mapped[int]
    assigned: Mapped[int]
    usable: Mapped[bool]
    """Whether it is an app for iPhones whose licenses can be taken back."""
    name: Mapped[str | None] = mapped_column(String(200))
    seen_at: Mapped[datetime]


class LicenseUser(Base):
    """Somebody as Apps and Books knows them: a Managed Apple Account under an opaque id of ours.

    ``state``: ``apps.seats.UserState``. ``due_at``: when it is to be looked at which licenses they need. The row stays
    until every license is given back, also if its person is forgotten meanwhile.
    """

    __tablename__ = "license_users"
    __table_args__ = (
        Index(
            "ix_license_users_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_license_users_state", "state", "next_at"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    account: Mapped[str | None] = mapped_column(String(255), unique=True, info=personal())
    client_id_sealed: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str | None] = mapped_column(String(48))
    asked_in: Mapped[int | None] = mapped_column(ForeignKey("license_requests.id"), index=True)
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]


class LicenseSeat(Base):
    """One license of one app for one user; ``state``: ``apps.seats.SeatState``. Given back, the row is gone."""

    __tablename__ = "license_seats"
    __table_args__ = (Index("ix_license_seats_state", "state", "next_at"),)

    user_id: Mapped[str] = mapped_column(ForeignKey("license_users.id"), primary_key=True)
    adam_id: Mapped[str] = mapped_column(String(20), primary_key=True)
    pricing: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str | None] = mapped_column(String(48))
    asked_in: Mapped[int | None] = mapped_column(ForeignKey("license_requests.id"), index=True)
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None]
    at: Mapped[datetime]


class LicenseRequest(Base):
    """Something that Apple was asked, kept before it is asked, so that nothing is asked twice; gone when it is over.

    ``event_id``: what Apple calls it; None as long as nobody knows whether Apple heard of it.
    """

    __tablename__ = "license_requests"
    __table_args__ = (Index("ix_license_requests_next_at", "next_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    event_id: Mapped[str | None] = mapped_column(String(LONGEST_EVENT_ID))
    asked_at: Mapped[datetime]
    next_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)


WITHDRAWN, COMMANDED = "", "command"
"""What ``DeviceApp.declared`` says beside the hash of what is declared."""


class DeviceApp(Base):
    """What became of one app on one device (``apps.states.State``); since when, and why.

    ``wanted``: False: it is to go. ``version``: of the app's behaviour, as the device was told last. ``next_at``: when
    it is looked at again. ``license_user_id``: whose license it needs. ``told``: which ends the trail was told of since
    it was sent last; a device that changes its mind fills no trail. ``declared``: None: it was not asked for yet;
    COMMANDED: it is given by command; else by declaration: a hash of what is declared, empty while it is withdrawn
    (WITHDRAWN). Never both ways: what came in one stays so until it is known to be gone.
    """

    __tablename__ = "device_apps"
    __table_args__ = (
        Index("ix_device_apps_app_id", "app_id", "state"),
        Index(
            "ix_device_apps_next_at",
            "next_at",
            sqlite_where=text("next_at IS NOT NULL"),
            postgresql_where=text("next_at IS NOT NULL"),
        ),
        {"info": {BELONGS: True}},
    )

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("apps.id"), primary_key=True)
    wanted: Mapped[bool]
    state: Mapped[str] = mapped_column(String(24))
    reason: Mapped[str | None] = mapped_column(String(120))
    at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None]
    version: Mapped[int | None]
    told: Mapped[str] = mapped_column(String(120), default="")
    declared: Mapped[str | None] = mapped_column(String(64))
    license_user_id: Mapped[str | None] = mapped_column(ForeignKey("license_users.id"), index=True)

    @property
    def is_declared(self) -> bool:
        """Whether a declaration of it is there, or only just withdrawn."""
        return self.declared not in (None, COMMANDED)
