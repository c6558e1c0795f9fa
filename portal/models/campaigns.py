"""Inviting many people at once: the list that was uploaded, line by line."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, new_id, personal
from portal.models.people import LONGEST_USERNAME


class Campaign(Base):
    """One list of people to invite. ``state`` is checked, running, paused, cancelled or done."""

    __tablename__ = "campaigns"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(80))
    message: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(16), default="checked")
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(48))
    asked_by: Mapped[str] = mapped_column(String(200), default="")
    starts_at: Mapped[datetime | None]
    per_minute: Mapped[int] = mapped_column(default=60)
    remind_after_days: Mapped[int] = mapped_column(default=0)


class CampaignEntry(Base):
    """One line of the list. ``state`` is waiting, invited or refused; ``reason`` says why it was refused."""

    __tablename__ = "campaign_entries"
    __table_args__ = (Index("ix_campaign_entries_state", "campaign_id", "state", "line"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    line: Mapped[int]
    username: Mapped[str] = mapped_column(String(LONGEST_USERNAME), info=personal(""))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(32))
    request_id: Mapped[str | None] = mapped_column(ForeignKey("enrollment_requests.id"), index=True)
    invited_at: Mapped[datetime | None]
    reminded_at: Mapped[datetime | None]
