"""Cases out of the database and back: loaded once, their request locked, written with the transaction.

The lock of one enrollment is its request's row: whoever changes anything of it, or of its device, holds that.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, defer
from sqlalchemy.orm.attributes import set_committed_value

from portal import audit, clock, people
from portal.apple_business.vouching import Voucher
from portal.database import lock_name
from portal.enrollment import commands
from portal.enrollment.access import LONGEST_TOKEN
from portal.enrollment.case import Case, GrantedApp
from portal.enrollment.errors import LinkUnusable
from portal.enrollment.journey import SignedInBrowser
from portal.enrollment.steps import TOLD_ONCE
from portal.events import Actor, Event
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
    OutboxMessage,
    Person,
    RequestLink,
    Terms,
)
from portal.notifications import outbox
from portal.people import accounts
from portal.pki import scep, work_authority
from portal.policies.composing import Grant
from portal.policies.content import Part
from portal.settings import Settings
from portal.storage import apple_business, apps, brake, policies, terms, work_certificates
from portal.storage.licenses import marking, rows
from portal.vault import Vault, token_hash

FAILED_RESTS = timedelta(minutes=10)
"""How long the worker leaves a device in peace for which something failed that nobody foresaw."""
NEWEST_EVENTS = 20
"""More than there are kinds and reasons that one device can bring about."""
REFUSED_LATELY = 200
"""Refusals of people among which one is looked for, so that the same is told once a day."""
log = logging.getLogger("portal.cases")

COMMANDS_QUEUED, APPS_DUE = "commands_queued", "apps_due"
"""Keys in ``Session.info``: commands were queued, or somebody was handed over; somebody needs other licenses, or a
device is soon asked how far an app is. Then the worker wants a nudge."""


class Services(Protocol):
    """What of a running portal a case needs."""

    @property
    def settings(self) -> Settings:
        """As they are now."""
        ...

    @property
    def vault(self) -> Vault:
        """Opens and seals."""
        ...


@dataclass(frozen=True)
class CaseServices:
    """Services where no whole portal is at hand, as in the worker."""

    settings: Settings
    vault: Vault


class Cases:
    """The cases of one portal, in one session. ``now``: when what is done happens."""

    def __init__(self, session: Session, services: Services, now: datetime | None = None) -> None:
        self.session = session
        self.services = services
        self.now = now or clock.now()
        self._open_commands: dict[str, list[Command]] = {}
        self._declarative_states: dict[str, tuple[DeclarativeState, bool]] = {}
        self._living_tokens: dict[str, list[AccessToken]] = {}

    # --- cases -------------------------------------------------------------------------------------------------

    def lock(self, request_id: str, browser: SignedInBrowser | None = None) -> Case:
        """The case of a request, locked until the transaction ends. Raises LinkUnusable if there is none."""
        request = self.session.scalar(_LOCKED, {"id": request_id})
        if request is None:
            raise LinkUnusable
        return self._locked(request, browser)

    def view(self, request: EnrollmentRequest, browser: SignedInBrowser | None = None) -> Case:
        """The case of a request that was read, for a page: not locked, so nothing may be decided on it."""
        return self._case(request, browser)

    def new(self, request: EnrollmentRequest, person: Person) -> Case:
        """The case of a request that is made now."""
        self.session.add(request)
        self.session.flush()
        request.person = person
        audit.locked(self.session, request)
        return self._case(request, None)

    def open_of(self, person: Person, browser: SignedInBrowser | None = None) -> Case | None:
        """The newest request of ``person`` that can still be walked, locked."""
        newest = (
            select(EnrollmentRequest.id)
            .where(EnrollmentRequest.person_id == person.id, EnrollmentRequest.can_enroll(self.now))
            .order_by(EnrollmentRequest.created_at.desc())
            .limit(1)
        )
        request = self.session.scalar(_locked_by(newest))
        return self._locked(request, browser) if request is not None else None

    def by_token(self, token: str) -> EnrollmentRequest | None:
        """The request behind a link. The look-up is by hash, so its time tells nothing about the token."""
        return self.session.scalar(_BY_LINK, {"hash": token_hash(token)})

    def knows_ticket(self, ticket: str) -> bool:
        """Whether a profile is, or was, at the address with this ticket."""
        hashed = token_hash(ticket)
        return self.session.scalar(select(IssuedProfile.id).where(IssuedProfile.ticket_hash == hashed)) is not None

    def of_ticket(self, ticket: str) -> Case | None:
        """The case of a profile by the ticket in its address, with that profile."""
        return self._of_profile("ticket_hash", token_hash(ticket))

    def of_challenge(self, challenge: str, common_names: tuple[str, ...]) -> Case | None:
        """The case to which a SCEP challenge leads, else the common name in the request; with the profile of it."""
        found = self._of_profile("challenge_hash", token_hash(challenge))
        if found is None and common_names and common_names[0].isalnum():
            found = self.of_profile(common_names[0])
        return found

    def of_profile(self, profile_id: str) -> Case | None:
        """The case of a profile, with that profile and its device."""
        return self._of_profile("id", profile_id)

    def of_token(self, token: str) -> tuple[Case, AccessToken] | None:
        """The case of an access token that was granted, whatever became of it, with the profile that it fetches."""
        found = self.session.get(AccessToken, token_hash(token)) if len(token) <= LONGEST_TOKEN else None
        case = self.of_profile(found.profile_id) if found is not None else None
        if found is None or case is None:
            return None
        self.session.refresh(found, with_for_update=True)
        return case, found

    def knows_token(self, token: str) -> bool:
        """Whether ``token`` was granted, whatever became of it."""
        return len(token) <= LONGEST_TOKEN and self.session.get(AccessToken, token_hash(token)) is not None

    def of_certificate(self, fingerprint: str) -> Case | None:
        """The case of who signs with this certificate; with certificate, profile, its living tokens, device."""
        request = self.session.scalar(_LOCKED_BY_CERTIFICATE, {"fingerprint": fingerprint})
        if request is None:
            return None
        case = self._locked(request, None)
        found = self.session.execute(_OF_CERTIFICATE, {"fingerprint": fingerprint}).all()
        case.certificate, case.profile, case.device, state, _ = found[0]
        self._living_tokens[case.certificate.profile_id] = [token for *_, token in found if token is not None]
        if case.device is not None and state is not None:  # most of what devices say is about it
            self._declarative_states[case.device.id] = state, False
        return case

    def of_enrollment(self, enrollment_id: str) -> Case | None:
        """The case of the device with an EnrollmentID, with it and its profile."""
        profile_id = self.session.scalar(select(Device.profile_id).where(Device.enrollment_id == enrollment_id))
        return self.of_profile(profile_id) if profile_id is not None else None

    def of_device(self, device_id: str) -> Case | None:
        """The case of a device, with it and its profile."""
        profile_id = self.session.scalar(select(Device.profile_id).where(Device.id == device_id))
        return self.of_profile(profile_id) if profile_id is not None else None

    def of_devices(self, wanted: Select[str]) -> Iterator[Case]:
        """The cases of the devices whose ids ``wanted`` finds, all locked before the first is given.

        For the worker, which never waits for one while it holds others: whoever somebody else is at is left out.
        """
        ids = self.session.scalars(wanted).all()
        theirs = select(Device.request_id).where(Device.id.in_(ids))
        free = self.session.scalars(_free(EnrollmentRequest.id.in_(theirs))).all()
        wanted = select(Device.id).where(Device.id.in_(ids), Device.request_id.in_(free)).order_by(Device.request_id)
        for device_id in self.session.scalars(wanted).all():
            case = self.of_device(device_id)
            if case is not None:
                yield case

    def of_requests(self, wanted: Select[str]) -> Iterator[Case]:
        """The same for requests whose ids ``wanted`` finds."""
        for request_id in self.session.scalars(_free(EnrollmentRequest.id.in_(wanted))).all():
            yield self.lock(request_id)

    def each(
        self, found: Iterator[Case], act: Callable[[Case], object], put_off: Callable[[Case], object] | None = None
    ) -> list[bool]:
        """Do something with each case (of ``of_devices``, ``of_requests``); for each, whether ``act`` said that it did.

        What fails for one is undone and logged, and keeps nothing from being done for the others. ``put_off`` says then
        when it is tried again, where the next round would come at once.
        """
        done = []
        for case in found:
            recorded = audit.pending(self.session)
            before = len(recorded)
            try:
                with self.session.begin_nested():
                    done.append(bool(act(case)))
            except Exception:
                log.exception("cases.one_failed request=%s", case.request.id)
                del recorded[before:]
                done.append(False)
                if put_off is not None:
                    put_off(case)
        return done

    def _of_profile(self, column: str, value: str) -> Case | None:
        lock, load = _BY_PROFILE[column]
        request = self.session.scalar(lock, {"value": value})
        if request is None:
            return None
        case = self._locked(request, None)
        case.profile, case.device = self.session.execute(load, {"value": value}).one()
        return case

    def one_at_a_time(self, person: Person) -> None:
        """Two phones at once still make one request."""
        lock_name(self.session, f"requests of {person.id}")

    def managed_devices(self, person: Person) -> int:
        """How many devices of ``person`` are managed."""
        return self.count_managed([person.id]).get(person.id, 0)

    def count_managed(self, person_ids: Sequence[str]) -> dict[str, int]:
        """The same for many, by person; who has none is left out."""
        query = (
            select(EnrollmentRequest.person_id, func.count())
            .join(Device, Device.request_id == EnrollmentRequest.id)
            .where(EnrollmentRequest.person_id.in_(person_ids), Device.is_managed)
            .group_by(EnrollmentRequest.person_id)
        )
        return {str(person_id): count for person_id, count in self.session.execute(query)}

    def refused(self, person: Person, reason: str, actor: str) -> None:
        """Tell helpdesk that ``person`` could not be invited; what they bring about themselves once a day."""
        if actor == Actor.EMPLOYEE and self._told_today(person, reason):
            return
        detail = {"person": person.id, "username": person.username}
        audit.record(
            self.session,
            people.PEOPLE_CHAIN,
            Event.REQUEST_REFUSED,
            self.now,
            reason=reason,
            actor=actor,
            detail=detail,
        )

    def _told_today(self, person: Person, reason: str) -> bool:
        newest = audit.newest_of(self.session, people.PEOPLE_CHAIN, REFUSED_LATELY)
        return any(
            (each.kind, each.reason) == (Event.REQUEST_REFUSED.value, reason)
            and (each.detail or {}).get("person") == person.id
            and each.at > self.now - timedelta(days=1)
            for each in newest
        )

    def sign_in_failed_without_link(self, reason: str, detail: dict[str, str]) -> None:
        """Somebody who opened no link could not sign in: told on the chain of what concerns no request yet.

        Being throttled, and an outage, is told once in a row.
        """
        newest = audit.newest(self.session, people.PEOPLE_CHAIN)
        known = (newest.kind, newest.reason) if newest is not None else None
        if reason in TOLD_ONCE and known == (Event.SIGN_IN_REFUSED.value, reason):
            return
        told = {key: value for key, value in detail.items() if value}
        chain, event = people.PEOPLE_CHAIN, Event.SIGN_IN_REFUSED
        audit.record(self.session, chain, event, self.now, reason=reason, detail=told)

    def _locked(self, request: EnrollmentRequest, browser: SignedInBrowser | None) -> Case:
        if request.profile_id is not None and self.session.get_bind().dialect.name == "postgresql":
            # The joined row may be from before this waited for the lock; only the locked one is read anew by that.
            newest = self.session.get(IssuedProfile, request.profile_id, populate_existing=True)
            set_committed_value(request, "profile", newest)
        audit.locked(self.session, request)
        return self._case(request, browser)

    def _case(self, request: EnrollmentRequest, browser: SignedInBrowser | None) -> Case:
        services = self.services
        pending = audit.pending(self.session)
        return Case(request, self.now, services.settings, services.vault, self, browser, pending)

    # --- the store of a case -----------------------------------------------------------------------------------

    def add(self, row: object) -> None:
        """See Store; mail and commands want the worker's attention after the commit."""
        self.session.add(row)
        if isinstance(row, (Device, IssuedProfile)):
            self.session.flush()  # others of the transaction refer to it
            if isinstance(row, IssuedProfile) and row.server is not None:
                self.session.info[COMMANDS_QUEUED] = True
        elif isinstance(row, OutboxMessage):
            self.session.info[outbox.QUEUED] = True
        elif isinstance(row, Command):
            self.session.info[COMMANDS_QUEUED] = True
            if row.device_id in self._open_commands:
                self._open_commands[row.device_id].append(row)
        elif isinstance(row, AccessToken) and row.profile_id in self._living_tokens:
            self._living_tokens[row.profile_id].append(row)

    def newest_events(self, request_id: str) -> Sequence[tuple[str, str | None, datetime]]:
        """See Store."""
        events = audit.newest_of(self.session, audit.request_chain(request_id), NEWEST_EVENTS)
        return [(each.kind, each.reason, each.at) for each in events]

    def profile(self, profile_id: str) -> IssuedProfile | None:
        """See Store."""
        return self.session.get(IssuedProfile, profile_id)

    def terms(self, version: str) -> Mapping[str, Terms]:
        """See Store."""
        return terms.texts_of(self.session, version)

    def account_of(self, person: Person, settings: Settings) -> str | None:
        """See Store."""
        return accounts.of(self.session, person, settings)

    def living_tokens(self, profile_id: str) -> Sequence[AccessToken]:
        """See Store; where a device speaks they came with its certificate."""
        living = self._living_tokens.get(profile_id)
        if living is None:
            return self.session.scalars(_LIVING_TOKENS, {"profile": profile_id}).all()
        return [each for each in living if each.revoked_at is None]

    def certificate_of(self, profile_id: str) -> Certificate | None:
        """See Store."""
        return self.session.scalars(_CERTIFICATE, {"profile": profile_id}).one_or_none()

    def device_of(self, profile_id: str) -> Device | None:
        """See Store."""
        return self.session.scalars(_DEVICE, {"profile": profile_id}).one_or_none()

    def device_named(self, enrollment_id: str) -> Device | None:
        """See Store."""
        return self.session.scalar(select(Device).where(Device.enrollment_id == enrollment_id))

    def devices_of(self, request_id: str) -> Sequence[Device]:
        """See Store."""
        return self.session.scalars(select(Device).where(Device.request_id == request_id).order_by(Device.id)).all()

    def profiles_of(self, request_id: str) -> Sequence[IssuedProfile]:
        """See Store."""
        of_it = (IssuedProfile.request_id == request_id, IssuedProfile.superseded_at.is_(None))
        current = (
            IssuedProfile.id
            == select(EnrollmentRequest.profile_id).where(EnrollmentRequest.id == request_id).scalar_subquery()
        )
        return self.session.scalars(select(IssuedProfile).where(or_(and_(*of_it), current))).all()

    def token(self, token_hash: str) -> AccessToken | None:
        """See Store."""
        return self.session.get(AccessToken, token_hash, populate_existing=True)

    def open_commands(self, device: Device) -> Sequence[Command]:
        """See Store; read once, with what was queued since."""
        if device.id not in self._open_commands:
            self._open_commands[device.id] = list(self.session.scalars(_OPEN_COMMANDS, {"device": device.id}))
        return [each for each in self._open_commands[device.id] if each.status in commands.OPEN]

    def command(self, device: Device, uuid: str | None) -> Command | None:
        """One command of a device, whatever became of it."""
        found = next((each for each in self.open_commands(device) if each.uuid == uuid), None)
        if found is None and uuid is not None:
            found = self.session.scalar(select(Command).where(Command.uuid == uuid, Command.device_id == device.id))
        return found

    def work_authority_fingerprint(self) -> bytes:
        """See Store."""
        services = self.services
        ca = work_authority.load(self.session, services.vault) or work_authority.make(
            self.session, services.vault, services.settings.company.name, self.now
        )
        return scep.fingerprint_of(ca.certificate)

    def revoke_work_certificates(self, device: Device, parts: Collection[str]) -> None:
        """See Store."""
        work_certificates.revoke_others(self.session, device.id, parts, self.now)

    def voucher(self) -> Voucher | None:
        """See Store."""
        return apple_business.voucher(self.session, self.services.vault)

    def declarative_state(self, device: Device, *, lock: bool = False) -> DeclarativeState:
        """See Store."""
        state, locked = self._declarative_states.get(device.id, (None, False))
        if state is None or (lock and not locked):
            state = self.session.get(DeclarativeState, device.id, with_for_update=True if lock else None)
        if state is None:
            state = DeclarativeState(device_id=device.id, known={})
            self.session.add(state)
        self._declarative_states[device.id] = state, locked or lock  # a session forgets what nobody holds
        return state

    def granted(self, person_id: str) -> Sequence[Grant]:
        """See Store."""
        return policies.granted(self.session, person_id)

    def policy_parts(self, policy_id: str, version: int) -> Sequence[Part]:
        """See Store."""
        return policies.opened(self.session, self.services.vault, policy_id, version)

    def device_policies(self, device: Device) -> Sequence[DevicePolicy]:
        """See Store."""
        return self.session.scalars(_DEVICE_POLICIES, {"device": device.id}).all()

    def granted_apps(self, person_id: str) -> Sequence[GrantedApp]:
        """See Store."""
        return apps.granted(self.session, person_id)

    def device_apps(self, device: Device) -> Sequence[DeviceApp]:
        """See Store; read once for a device, and its rows stay those of the session."""
        return self.session.scalars(_DEVICE_APPS, {"device": device.id}).all()

    def apps(self, ids: Collection[str]) -> Mapping[str, App]:
        """See Store."""
        query = select(App).where(App.id.in_(ids)).options(defer(App.icon))
        return {each.id: each for each in self.session.scalars(query)} if ids else {}

    def license_user(self, account: str, person_id: str) -> str:
        """See Store."""
        return marking.user_of(self.session, self.services.vault, account, person_id, self.now)

    def seats_of(self, user_id: str) -> Sequence[LicenseSeat]:
        """See Store."""
        return self.session.scalars(select(LicenseSeat).where(LicenseSeat.user_id == user_id)).all()

    def licenses_due(self, user_id: str) -> None:
        """See Store."""
        marking.look_at_commit(self.session, user_id)
        self.session.info[APPS_DUE] = True

    def license_doubted(self, user_id: str, adam_id: str) -> None:
        """See Store."""
        rows.doubt(self.session, user_id, adam_id, self.now)
        self.session.info[APPS_DUE] = True

    def device_ended(self, device: Device) -> None:
        """See Store."""
        marking.device_ended(self.session, device.id)

    def apps_due(self) -> None:
        """See Store."""
        self.session.info[APPS_DUE] = True

    def remove(self, row: object) -> None:
        """See Store."""
        self.session.delete(row)

    def removal_passes(self, actor: str) -> bool:
        """See Store."""
        return brake.passes(self.session, actor, self.now)


def _locked_by(request_id: Select[str]) -> Select[EnrollmentRequest]:
    return (
        select(EnrollmentRequest)
        .where(EnrollmentRequest.id == request_id.scalar_subquery())
        .with_for_update(of=EnrollmentRequest)
        .execution_options(populate_existing=True)
    )


def _free(wanted: ColumnElement[bool]) -> Select[str]:
    """The ids of those requests at which nobody is, locked."""
    of_them = select(EnrollmentRequest.id).where(wanted).order_by(EnrollmentRequest.id)
    return of_them.with_for_update(skip_locked=True)


# Asked at every step, so built once.
_LOCKED = (
    select(EnrollmentRequest)
    .where(EnrollmentRequest.id == bindparam("id"))
    .with_for_update(of=EnrollmentRequest)
    .execution_options(populate_existing=True)
)
_BY_LINK = (
    select(EnrollmentRequest)
    .join(RequestLink, RequestLink.request_id == EnrollmentRequest.id)
    .where(RequestLink.token_hash == bindparam("hash"))
)
_LIVING_TOKENS = (
    select(AccessToken)
    .where(AccessToken.profile_id == bindparam("profile"), AccessToken.revoked_at.is_(None))
    .execution_options(populate_existing=True)
)
_CERTIFICATE = select(Certificate).where(Certificate.profile_id == bindparam("profile"))
_DEVICE = select(Device).where(Device.profile_id == bindparam("profile"))
_LOCKED_BY_CERTIFICATE = _locked_by(
    select(Certificate.request_id).where(Certificate.fingerprint == bindparam("fingerprint"))
)
_OF_CERTIFICATE = (
    select(Certificate, IssuedProfile, Device, DeclarativeState, AccessToken)
    .join(IssuedProfile, IssuedProfile.id == Certificate.profile_id)
    .outerjoin(Device, Device.certificate_fingerprint == Certificate.fingerprint)
    .outerjoin(DeclarativeState, DeclarativeState.device_id == Device.id)
    .outerjoin(AccessToken, and_(AccessToken.profile_id == IssuedProfile.id, AccessToken.revoked_at.is_(None)))
    .where(Certificate.fingerprint == bindparam("fingerprint"))
    .execution_options(populate_existing=True)
)
_BY_PROFILE = {
    column.key: (
        _locked_by(select(IssuedProfile.request_id).where(column == bindparam("value"))),
        select(IssuedProfile, Device)
        .outerjoin(Device, Device.profile_id == IssuedProfile.id)
        .where(column == bindparam("value"))
        .execution_options(populate_existing=True),
    )
    for column in (IssuedProfile.id, IssuedProfile.ticket_hash, IssuedProfile.challenge_hash)
}
"""By column of a profile: how its request is locked, and how it is read with its device."""
_DEVICE_POLICIES = select(DevicePolicy).where(DevicePolicy.device_id == bindparam("device"))
_DEVICE_APPS = select(DeviceApp).where(DeviceApp.device_id == bindparam("device")).order_by(DeviceApp.app_id)
_OPEN_COMMANDS = (
    select(Command)
    .where(Command.device_id == bindparam("device"), Command.status.in_(commands.OPEN))
    .order_by(Command.id)
)
