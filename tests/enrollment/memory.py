"""A case without a database: its rows are plain objects, its store a few lists."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from portal.enrollment import commands, passcode
from portal.enrollment.case import Case
from portal.enrollment.journey import SignedInBrowser
from portal.events import Happened
from portal.models import (
    AccessToken,
    Certificate,
    Command,
    Device,
    EnrollmentRequest,
    IssuedProfile,
    OutboxMessage,
    Person,
    Terms,
    new_id,
)
from portal.settings import Settings
from portal.vault import Vault, new_key

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TEXT = "Be kind.\n"


class MemoryStore:
    """See ``Store``."""

    def __init__(self, account: str | None = "erika@work.example.com") -> None:
        self.account = account
        self.rows: list[object] = []
        self.happened: list[Happened] = []
        self.brake_is_on = False
        self._ids = count(1)

    def of(self, kind: type) -> list:
        """Every row of a kind, in the order in which they came."""
        return [row for row in self.rows if isinstance(row, kind)]

    def add(self, row: object) -> None:
        if isinstance(row, Command):
            row.id = next(self._ids)
        if isinstance(row, IssuedProfile):
            self.request.profile = row
        self.rows.append(row)

    def newest_events(self, request_id: str) -> Sequence[tuple[str, str | None, datetime]]:
        return [(each.event.value, each.reason, each.at) for each in reversed(self.happened)]

    def profile(self, profile_id: str) -> IssuedProfile | None:
        return next((each for each in self.of(IssuedProfile) if each.id == profile_id), None)

    def terms(self, version: str) -> Mapping[str, Terms]:
        return {"en": Terms(version=version, locale="en", text=TEXT)}

    def account_of(self, person: Person, settings: Settings) -> str | None:
        return self.account

    def living_tokens(self, profile_id: str) -> Sequence[AccessToken]:
        return [each for each in self.of(AccessToken) if each.profile_id == profile_id and each.revoked_at is None]

    def certificate_of(self, profile_id: str) -> Certificate | None:
        return next((each for each in self.of(Certificate) if each.profile_id == profile_id), None)

    def device_of(self, profile_id: str) -> Device | None:
        return next((each for each in self.of(Device) if each.profile_id == profile_id), None)

    def device_named(self, enrollment_id: str) -> Device | None:
        return next((each for each in self.of(Device) if each.enrollment_id == enrollment_id), None)

    def devices_of(self, request_id: str) -> Sequence[Device]:
        return self.of(Device)

    def profiles_of(self, request_id: str) -> Sequence[IssuedProfile]:
        return [each for each in self.of(IssuedProfile) if each.superseded_at is None]

    def token(self, token_hash: str) -> AccessToken | None:
        return next((each for each in self.of(AccessToken) if each.token_hash == token_hash), None)

    def device_ended(self, device: Device) -> None: ...

    def open_commands(self, device: Device) -> Sequence[Command]:
        return [each for each in self.of(Command) if each.device_id == device.id and each.status in commands.OPEN]

    def command(self, device: Device, uuid: str | None) -> Command | None:
        return next((each for each in self.of(Command) if each.uuid == uuid), None)

    def removal_passes(self, actor: str) -> bool:
        return not self.brake_is_on

    @property
    def mails(self) -> list[str]:
        """What was sent, by kind."""
        return [each.kind for each in self.of(OutboxMessage)]


class Enrollment:
    """One request, and the cases that its messages would be decided on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.vault = Vault([new_key()])
        self.store = MemoryStore()
        self.now = START
        person = Person(id="person", username="erika", name="Erika", email="erika@example.com", locale="en")
        self.request = EnrollmentRequest(
            id=new_id(),
            person_id=person.id,
            created_at=START,
            expires_at=START + timedelta(days=7),
            managed_apple_account="erika@work.example.com",
            passcode_secret_sealed=passcode.new_secret(self.vault),
            passcode_counter=0,
            passcode_tries=0,
            passcode_sends=1,
        )
        self.request.person = person
        self.request.terms_current = "1"
        self.store.request = self.request
        self.passcode = passcode.renew(self.request, self.vault, START)

    def case(self, walk: SignedInBrowser | None = None, profile: IssuedProfile | None = None) -> Case:
        """The case as the next message finds it."""
        case = Case(self.request, self.now, self.settings, self.vault, self.store, walk, self.store.happened)
        case.profile = profile
        if profile is not None:
            case.certificate, case.device = self.store.certificate_of(profile.id), self.store.device_of(profile.id)
        return case

    @property
    def events(self) -> list[str]:
        """What happened, by kind."""
        return [each.event.value for each in self.store.happened]
