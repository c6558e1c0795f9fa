"""What the portal needs of device management, whoever does it.

There are two kinds. To one of them the portal's own profiles lead: it says where its devices report
(``management``), and what they say comes back through ``backends.messages``, whichever way it reached the portal. The
other enrolls devices by itself (``elsewhere``): the portal hands the person over when the journey is done, and watches
what becomes of it. Both say whether they can take devices (``health``) and take the commands that the worker hands
over. A new backend is a folder beside this file and a line in ``open_backend``; the conformance suite in
``tests/backends`` says what it has to do.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from portal.database import Database
from portal.enrollment.journey import Way
from portal.enrollment.profile import Management
from portal.settings import Settings
from portal.storage.cases import Cases
from portal.vault import Vault


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the backend can take devices now, and why not."""

    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutgoingCommand:
    """One command on its way to a device: its property list, whole, as the device will get it.

    ``unfilled``: something (a profile, or of an app) is still to be put into it.
    """

    enrollment_id: str
    command_uuid: str
    payload: bytes
    unfilled: bool = False


class BackendDown(Exception):
    """The backend does not answer, or not sensibly: the same again later. ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CommandRefused(Exception):
    """The backend will never take this command; the message says why."""


class ManagedElsewhere(Exception):
    """The portal's own profiles lead to no device management: another server enrolls the devices."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who is handed over to a server that enrolls devices by itself, with their Managed Apple Account."""

    username: str
    name: str
    email: str
    account: str


@dataclass(frozen=True, slots=True)
class Duties:
    """What the device management does itself; the rest is the portal's to do for it."""

    policies: bool = False
    apps: bool = False


class Elsewhere(Protocol):
    """The part of a backend that signs its own profiles and talks to the devices by itself."""

    name: str
    """As ``Device.server`` and ``IssuedProfile.server`` say it."""
    title: str
    """Its product's name, as people know it."""

    def discovery_url(self) -> str:
        """Where an iPhone enrolls from Settings with it (the ``BaseURL`` of service discovery); empty: it cannot."""
        ...

    def enrollment_url(self) -> str:
        """Where an older iPhone enrolls with it in Safari; empty: it cannot."""
        ...

    def console_url(self) -> str:
        """Where admins find its policies and apps; empty if nobody said."""
        ...

    @property
    def minutes(self) -> int:
        """How long after the hand-over a device may enroll there."""
        ...

    def ways(self) -> Collection[Way]:
        """How devices can enroll with it."""
        ...

    def prepare(self, person: Newcomer) -> list[str]:
        """Make sure that it knows somebody; the names there of the devices that are managed for them already.

        Raises HandoverRefused, BackendDown.
        """
        ...

    def allowed(self, server_id_sealed: bytes) -> frozenset[str]:
        """The RequestTypes that it takes now for the device that it calls so. Raises BackendDown."""
        ...


class Backend(Protocol):
    """Manages devices after the portal brought them in."""

    name: str
    topic: str
    """The push topic (``com.apple.mgmt...``) of devices with the portal's own profiles; empty if there are none."""
    does: Duties
    keeps_queue: bool
    """Whether it takes commands into a queue of its own; else devices fetch them from the portal's."""

    @property
    def elsewhere(self) -> Elsewhere | None:
        """Given if it enrolls devices by itself; then no profile of the portal leads to it."""
        ...

    @property
    def wakes_devices(self) -> bool:
        """Whether handing a command over makes its device come; else it waits until the device comes by itself."""
        ...

    def management(self, profile_id: str) -> Management:
        """Where the device of this profile is to report. Raises ManagedElsewhere."""
        ...

    def health(self) -> Health:
        """Whether it can take devices now; fast, never raises."""
        ...

    def hand_over(self, outgoing: OutgoingCommand) -> str | None:
        """Take a command and wake its device. Taking the same ``command_uuid`` again changes nothing.

        None, or a code for why the device was not woken: it gets the command when it comes by itself.
        Raises BackendDown, CommandRefused.
        """
        ...

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """The worker's part: apply what the backend told since; how many messages were settled."""
        ...

    def next_due(self, session: Session) -> datetime | None:
        """When ``take_up`` has something to do again, if that is known."""
        ...

    def look_after(self, cases: Cases) -> int:
        """The worker's part, each minute: find what got lost on the way; how much of it was put right."""
        ...

    def pass_on(self, message: bytes, signature: str, profile_id: str, kind: str) -> bytes:
        """Hand on a device's message of this media type, as it was signed, once it is settled that it speaks for this
        profile; what it is answered.

        Only asked of a backend that keeps a queue of its own. Raises BackendDown.
        """
        ...

    def take_push_certificate(self, identity: str) -> None:
        """Use Apple's push certificate, with its key in one PEM text, from now on; the same again changes nothing.

        Raises BackendDown, CommandRefused.
        """
        ...
