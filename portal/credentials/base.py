"""What every source of corporate credentials offers."""

from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from portal.models import Person


class SourceUnavailable(Exception):
    """The source cannot answer now; no try is counted."""


class CredentialSource(Protocol):
    """Checks a username and a password."""

    name: str

    def verify(self, session: Session, username: str, password: str, now: datetime) -> Person | None:
        """The person whose credentials these are, or None, in the same time for an unknown account.

        Raises SourceUnavailable. Runs outside of any write transaction, since hashing takes its time.
        """
        ...
