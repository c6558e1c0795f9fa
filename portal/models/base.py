"""What every table shares: identifiers, aware times, the declarative base."""

import base64
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, MetaData, types
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase

PERSONAL, BELONGS = "personal", "belongs"
"""Keys of ``info``: of a column, what it becomes when its person is forgotten; of a table whose rows go then."""


def personal(becomes: object = None) -> dict[str, Any]:
    """``info`` of a column that tells something about a person (see ``people.erasure``)."""
    return {PERSONAL: becomes}


def new_id() -> str:
    """A new random identifier: 16 characters a-z2-7 (80 bits), fit for addresses and file names."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()


class UTCDateTime(types.TypeDecorator[datetime]):
    """Aware times, in UTC, on databases that know zones and on those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime; take the time from portal.clock")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UTCDateTime}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
