"""What admins set on the settings pages, and the history of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base


class SettingsVersion(Base):
    """One save of settings. ``changes`` is for reading (secrets masked), ``before_sealed`` for bringing it back."""

    __tablename__ = "settings_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(48))
    page: Mapped[str] = mapped_column(String(32), index=True)
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    before_sealed: Mapped[bytes]


class SettingValue(Base):
    """One setting that differs from the files: its value in JSON, sealed since some are secrets."""

    __tablename__ = "setting_values"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    value_sealed: Mapped[bytes]
    version_id: Mapped[int] = mapped_column(ForeignKey("settings_versions.id"), index=True)
