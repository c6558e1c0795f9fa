"""What the portal needs of device management, whoever does it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from portal.models import Command, Device


@dataclass(frozen=True, slots=True)
class Management:
    """Where a profile sends the device: both addresses https, the topic ``com.apple.mgmt...``."""

    server_url: str
    checkin_url: str
    topic: str


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the backend can take devices now, and why not."""

    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to queue: its RequestType and the other keys of its Command dictionary."""

    request_type: str
    keys: dict[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """Manages devices after the portal brought them in."""

    name: str

    def management(self, profile_id: str) -> Management:
        """Where the device of this profile is to report."""
        ...

    def health(self) -> Health:
        """Whether it can take devices now; fast, never raises."""
        ...

    def enqueue(self, session: Session, device: Device, order: Order, now: datetime) -> Command:
        """Queue a command in the caller's transaction. Raises CommandForbidden."""
        ...

    def wake(self, device: Device) -> str | None:
        """Ask the device to connect. None if it was asked, else the reason why it comes by itself later."""
        ...
