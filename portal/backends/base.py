"""What the portal needs of device management, whoever does it.

A backend says where its devices report (``management``), whether it can take any (``health``), and takes the commands
that the worker hands over (``hand_over``). What its devices say comes back through ``backends.messages``, whichever way
it reached the portal. A new backend is a file beside this one and a line in ``open_backend``; the conformance suite in
``tests/backends`` says what it has to do.
"""

from dataclasses import dataclass
from typing import Protocol

from portal.database import Database
from portal.settings import Settings
from portal.vault import Vault


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
class Parcel:
    """One command on its way to a device: its property list, whole, as the device will get it."""

    enrollment_id: str
    command_uuid: str
    payload: bytes


class BackendDown(Exception):
    """The backend does not answer, or not sensibly: the same again later. ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ParcelRefused(Exception):
    """The backend will never take this command; the message says why."""


class Backend(Protocol):
    """Manages devices after the portal brought them in."""

    name: str
    keeps_queue: bool
    """Whether it takes commands into a queue of its own; else devices fetch them from the portal's."""

    @property
    def wakes_devices(self) -> bool:
        """Whether handing a command over makes its device come; else it waits until the device comes by itself."""
        ...

    def management(self, profile_id: str) -> Management:
        """Where the device of this profile is to report."""
        ...

    def health(self) -> Health:
        """Whether it can take devices now; fast, never raises."""
        ...

    def hand_over(self, parcel: Parcel) -> str | None:
        """Take a command and wake its device. Taking the same ``command_uuid`` again changes nothing.

        None, or a code for why the device was not woken: it gets the command when it comes by itself.
        Raises BackendDown, ParcelRefused.
        """
        ...

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """The worker's part: apply what the backend told since (``messages``); how many messages were settled."""
        ...

    def pass_on(self, message: bytes, signature: str, profile_id: str) -> None:
        """Hand on a device's check-in, as it was signed, once it is settled that it speaks for this profile.

        Only asked of a backend that keeps a queue of its own. Raises BackendDown.
        """
        ...

    def take_push_certificate(self, identity: str) -> None:
        """Use Apple's push certificate, with its key in one PEM text, from now on; the same again changes nothing.

        Raises BackendDown, ParcelRefused.
        """
        ...
