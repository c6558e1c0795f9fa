"""One enrollment as one thing: what is known of it when something happens, and what comes of that.

Whoever answers a message loads the case once, its request locked (``portal.storage.cases``); the functions of this
package decide on it, change its rows and record what happened; with the transaction it is written once. Nothing here
knows how rows are kept: what else is needed of them a ``Store`` gives, in tests one in memory.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, Protocol

from portal.apple_business.vouching import Voucher
from portal.enrollment import journey
from portal.enrollment.errors import RequestEnded, StepOutOfOrder
from portal.enrollment.journey import Facts, SignedInBrowser, Step
from portal.events import Event, Happened, request_chain
from portal.models import (
    AccessToken,
    App,
    Certificate,
    Command,
    DeclarativeState,
    Device,
    DeviceApp,
    DevicePolicy,
    EnrollmentRequest,
    IssuedProfile,
    LicenseSeat,
    Person,
    Terms,
)
from portal.notifications import outbox
from portal.policies.composing import Grant
from portal.policies.content import Part
from portal.settings import Settings
from portal.vault import Vault

TOLD_ONCE = frozenset(
    {
        Event.TOKEN_REFUSED,
        Event.HANDOVER_REFUSED,
        Event.CERTIFICATE_REFUSED,
        Event.DEVICE_REFUSED,
        Event.ACCOUNT_VOUCHED,
        Event.SIGN_IN_ACCEPTED,
        Event.SIGN_IN_REFUSED,
    }
)
"""What a device, or somebody's browser, may bring about again and again (see ``record_once``)."""
TOLD_AGAIN_AFTER = timedelta(minutes=15)
"""So often is told that somebody signs in again and again, or is refused: no password is guessed by that."""


@dataclass(frozen=True, slots=True)
class GrantedApp:
    """An app that somebody gets, or may take.

    ``by_itself``: it comes without being asked for; ``chosen``: they took what was offered.
    """

    app: App
    by_itself: bool
    chosen: bool

    @property
    def wanted(self) -> bool:
        """Whether it is to be on their devices."""
        return self.by_itself or self.chosen


class Store(Protocol):
    """What a case asks of where rows are kept."""

    def add(self, row: object) -> None:
        """Keep a new row, with the rest of the transaction."""
        ...

    def newest_events(self, request_id: str) -> Sequence[tuple[str, str | None, datetime]]:
        """Kind, reason and time of what happened last, the newest first, as far as it was written; a handful."""
        ...

    def profile(self, profile_id: str) -> IssuedProfile | None:
        """One profile, as it is now."""
        ...

    def terms(self, version: str) -> Mapping[str, Terms]:
        """The texts of a published version, by language."""
        ...

    def account_of(self, person: Person, settings: Settings) -> str | None:
        """The Managed Apple Account that a person has by the settings, if nobody else has it."""
        ...

    def living_tokens(self, profile_id: str) -> Sequence[AccessToken]:
        """The access tokens of a profile that are not revoked."""
        ...

    def certificate_of(self, profile_id: str) -> Certificate | None:
        """The identity certificate that was issued for a profile."""
        ...

    def device_of(self, profile_id: str) -> Device | None:
        """The device that enrolled, or is about to, with a profile."""
        ...

    def device_named(self, enrollment_id: str) -> Device | None:
        """The device with an EnrollmentID, whoever's it is."""
        ...

    def devices_of(self, request_id: str) -> Sequence[Device]:
        """Every device that ever came with a request."""
        ...

    def profiles_of(self, request_id: str) -> Sequence[IssuedProfile]:
        """Every profile that was issued for a request and not replaced."""
        ...

    def token(self, token_hash: str) -> AccessToken | None:
        """An access token, whosever it is and whatever became of it."""
        ...

    def open_commands(self, device: Device) -> Sequence[Command]:
        """The commands that a device has not answered yet, in their order."""
        ...

    def command(self, device: Device, uuid: str | None) -> Command | None:
        """One command of a device, whatever became of it."""
        ...

    def work_authority_fingerprint(self) -> bytes:
        """SHA-1 of the certificate of the authority for work identities, made when it is first needed."""
        ...

    def revoke_work_certificates(self, device: Device, parts: Collection[str]) -> None:
        """What a device has for other parts of policies than these counts no more."""
        ...

    def voucher(self) -> Voucher | None:
        """What signs tokens for Apple, if Apple Business knows this portal. Raises VaultError."""
        ...

    def declarative_state(self, device: Device, *, lock: bool = False) -> DeclarativeState:
        """What a device reported by declarative management; made when it is first asked for.

        ``lock``: a mark that is set meanwhile waits until what it is about was decided, and stays.
        """
        ...

    def granted(self, person_id: str) -> Sequence[Grant]:
        """The policies that somebody gets, each in the version that is theirs, by name."""
        ...

    def policy_parts(self, policy_id: str, version: int) -> Sequence[Part]:
        """What a version of a policy is made of, with its secrets."""
        ...

    def device_policies(self, device: Device) -> Sequence[DevicePolicy]:
        """What became of each policy on a device."""
        ...

    def granted_apps(self, person_id: str) -> Sequence[GrantedApp]:
        """The apps that somebody gets, or may take."""
        ...

    def device_apps(self, device: Device) -> Sequence[DeviceApp]:
        """What is known of work apps on a device."""
        ...

    def apps(self, ids: Collection[str]) -> Mapping[str, App]:
        """Apps by their ids, also those that were taken out of the catalogue."""
        ...

    def license_user(self, account: str, person_id: str) -> str:
        """Who a Managed Apple Account is among those who get licenses; made when it is first asked for."""
        ...

    def seats_of(self, user_id: str) -> Sequence[LicenseSeat]:
        """The licenses that such a one has, or is to have."""
        ...

    def licenses_due(self, user_id: str) -> None:
        """Which licenses they need may be another now: the worker looks at it."""
        ...

    def license_doubted(self, user_id: str, adam_id: str) -> None:
        """A device says that its owner has no license, although there is one: Apple is asked."""
        ...

    def device_ended(self, device: Device) -> None:
        """The enrollment of a device is over: licenses that nobody else of its owner's needs are given back."""
        ...

    def apps_due(self) -> None:
        """A device is to be asked about its apps: the worker looks when to come back for it."""
        ...

    def remove(self, row: object) -> None:
        """Keep a row no longer."""
        ...

    def removal_passes(self, actor: str) -> bool:
        """Whether ``actor`` may have one more device lose its work data now (see the brake)."""
        ...


@dataclass
class Case:
    """One request with its person and newest profile, locked until the transaction ends; and what happened to it.

    ``browser``: the one that walks it, None for everybody else. ``device``, ``profile`` and ``certificate``: those
    that speak, or that somebody acts on.
    """

    request: EnrollmentRequest
    now: datetime
    settings: Settings
    vault: Vault
    store: Store
    browser: SignedInBrowser | None = None
    happened: list[Happened] = field(default_factory=list)
    device: Device | None = None
    profile: IssuedProfile | None = None
    certificate: Certificate | None = None

    @property
    def facts(self) -> Facts:
        """What the request knows, as it counts for this browser."""
        return journey.of(self.request, self.browser)

    @property
    def step(self) -> Step:
        """Where the person is."""
        return journey.current_step(self.facts, self.now)

    @property
    def over(self) -> bool:
        """Whether the request ended or its time ran out before a device enrolled."""
        return self.facts.over(self.now)

    @property
    def known_device(self) -> Device:
        """The device of a case that was loaded by what its device said, or to act on that."""
        assert self.device is not None
        return self.device

    @property
    def chain(self) -> str:
        """The name of this request's chain in the audit trail."""
        return request_chain(self.request.id)

    def record(
        self,
        event: Event,
        reason: str | None = None,
        *,
        actor: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """``event`` happened, done by ``actor`` if it is not who always does; ``detail`` is small and erasable."""
        self.happened.append(Happened(self.chain, event, self.now, reason, str(actor or event.actor), detail))

    def record_once(
        self,
        event: Event,
        reason: str | None,
        *,
        detail: dict[str, Any] | None = None,
        within: timedelta = timedelta.max,
    ) -> None:
        """The same, unless it was told ``within`` that time, and only what is told once happened since.

        So no retry can fill the trail.
        """
        own = (each for each in reversed(self.happened) if each.chain == self.chain)
        told = [(each.event.value, each.reason, self.now) for each in own]
        for kind, why, at in (*told, *self.store.newest_events(self.request.id)):
            if (kind, why) == (event.value, reason) and self.now - at < within:
                return
            if kind not in TOLD_ONCE:
                break
        self.record(event, reason, detail=detail)

    def send(self, kind: str, message: EmailMessage) -> None:
        """Queue a mail, or a text message, that concerns this request."""
        row = outbox.to_send(kind, message, self.vault, self.now)
        row.request_id = self.request.id
        self.store.add(row)

    def must_be_at(self, step: Step) -> None:
        """Raises RequestEnded, StepOutOfOrder."""
        if self.over:
            raise RequestEnded
        if self.step is not step:
            raise StepOutOfOrder

    def must_be_open(self) -> None:
        """Raises RequestEnded if no device can enroll any more, or one did."""
        if not self.request.can_enroll(self.now):
            raise RequestEnded

    def retire_profile(self, reason: str) -> None:
        """The profile issued last, its access tokens and its certificate, if any, stop working."""
        request = self.request
        profile = self.store.profile(request.profile_id) if request.profile_id else None
        if profile is not None:
            self.retire(profile, reason)

    def retire(self, profile: IssuedProfile, reason: str) -> None:
        """One profile, with all that it gave a device, stops working."""
        profile.superseded_at = profile.superseded_at or self.now
        profile.content_sealed = None
        for token in self.store.living_tokens(profile.id):
            token.revoked_at, token.revoked_reason = self.now, reason
        certificate = self.store.certificate_of(profile.id)
        if certificate is not None and certificate.revoked_at is None:
            certificate.revoked_at, certificate.revoked_reason = self.now, reason
