"""Builders for what a test needs: people, invitations, phones."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

import httpx
import pyotp
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, clock, people
from portal.audit import Editor
from portal.credentials import passwords, second_factor
from portal.enrollment import commands, invitations, journey, steps
from portal.enrollment import profile as profiles
from portal.enrollment import terms as license_terms
from portal.enrollment.commands import Order
from portal.enrollment.invitations import Asker, Invitation
from portal.enrollment.journey import SignedInBrowser
from portal.enrollment.profile import ProfileIssuer
from portal.models import AuditEvent, Command, Device, EnrollmentRequest, LocalAccount, Person, new_id
from portal.services import Portal
from portal.settings.saving import SettingsEditor
from portal.simulator.employee import SAFARI, Employee
from portal.simulator.iphone import IPhone
from portal.simulator.model import MODELS
from portal.storage import apple_business
from portal.storage.cases import Cases

BASE = "https://portal.example.com"
PASSWORD = "correct horse battery"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


class Company:
    """The people of one portal."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    def person(self, username: str = "erika", role: str = "employee", **values: object) -> Person:
        """A person with a local account; employees have a Managed Apple Account unless told otherwise."""
        values.setdefault("managed_apple_account", f"{username}@work.example.com" if role == "employee" else None)
        values.setdefault("name", username.title())
        values.setdefault("email", f"{username}@example.com")
        with self.portal.database.transaction() as session:
            person = Person(username=username, role=role, locale="en", created_at=clock.now(), **values)
            session.add(person)
            session.add(LocalAccount(person=person, password_hash=_password_hash()))
            session.flush()
            if role in people.STAFF_ROLES:
                second_factor.set_up(session, self.portal.vault, person, TOTP_SECRET)
        return person

    def invite(self, person: Person, source: str = "helpdesk") -> Invitation:
        """An enrollment request with its link's token and passcode."""
        with self.portal.database.transaction() as session:
            cases, by = Cases(session, self.portal), Asker("helpdesk:test", "Helpdesk")
            return invitations.invite(cases, session.merge(person), source, by)

    def profile(self, invitation: Invitation) -> bytes:
        """The signed profile, downloaded, as if its person had answered everything; the pages are tried elsewhere."""
        portal, browser = self.portal, SignedInBrowser(new_id())
        texts = ("Work", "", {"default": ""})
        with portal.database.transaction() as session:
            vouches = apple_business.vouches(session)
            issuer = ProfileIssuer(portal.authority, portal.signer, portal.backend.management, *texts, vouches)
            case = Cases(session, portal).lock(invitation.request.id, browser)
            steps.sign_in(case, case.request.person)
            steps.seen_with(case, "safari 17.6", "en")
            steps.choose_ownership(case, "employee")
            steps.acknowledge_privacy(case)
            steps.enter_passcode(case, invitation.passcode)
            steps.see_overview(case)
            version = case.request.terms_current
            text = license_terms.in_language(case.store.terms(version), "en")
            steps.accept_terms(case, version, license_terms.sha256(text.text), "en")
            profiles.issue(case, issuer)
            made = case.store.profile(case.request.profile_id)
            steps.profile_downloaded(case, made.id)
            return portal.vault.open(made.content_sealed)

    def act(self, invitation: Invitation, function: Callable[..., object], *arguments: object) -> object:
        """Let ``function`` decide on the locked case of a request, in a transaction of its own."""
        with self.portal.database.transaction() as session:
            return function(Cases(session, self.portal).lock(invitation.request.id), *arguments)

    def act_on(self, device_id: str, function: Callable[..., object], *arguments: object) -> object:
        """The same for the case of a device."""
        with self.portal.database.transaction() as session:
            return function(Cases(session, self.portal).of_device(device_id), *arguments)

    def request(self, invitation: Invitation) -> EnrollmentRequest:
        """The request as it is now."""
        with self.portal.database.session() as session:
            return session.get_one(EnrollmentRequest, invitation.request.id)

    def status(self, invitation: Invitation) -> str:
        """What helpdesk sees."""
        with self.portal.database.session() as session:
            request = session.get_one(EnrollmentRequest, invitation.request.id)
            return journey.status(journey.of(request), clock.now()).value

    def step(self, invitation: Invitation) -> str:
        """The step the request is at."""
        with self.portal.database.session() as session:
            request = session.get_one(EnrollmentRequest, invitation.request.id)
            return journey.current_step(journey.of(request), clock.now()).value

    def events(self, invitation: Invitation) -> list[tuple[str, str | None]]:
        """The timeline as (kind, reason)."""
        with self.portal.database.session() as session:
            return [(event.kind, event.reason) for event in audit.timeline(session, invitation.request.id)]

    def all_events(self) -> list[AuditEvent]:
        """Every event of the portal."""
        with self.portal.database.session() as session:
            return list(session.scalars(select(AuditEvent).order_by(AuditEvent.id)))

    def device(self, invitation: Invitation) -> Device | None:
        """The device of a request."""
        with self.portal.database.session() as session:
            return session.scalar(select(Device).where(Device.request_id == invitation.request.id))


def editing(portal: Portal, session: Session, now: datetime | None = None) -> Editor:
    """An admin who changes something of the company's."""
    return Editor(session, portal.vault, "admin:test", now or clock.now())


def editing_settings(
    portal: Portal, session: Session, now: datetime | None = None, actor: str = "admin:test"
) -> SettingsEditor:
    """An admin who saves settings."""
    return SettingsEditor(session, portal.vault, actor, now or clock.now(), portal.live.base)


def queue_command(session: Session, portal: Portal, device_id: str, wanted: Order) -> Command:
    """Queue a command for a device, past what staff may order."""
    case = Cases(session, portal).of_device(device_id)
    assert case is not None and case.device is not None  # noqa: PT018
    made = commands.order(case, case.device, wanted)
    session.flush()
    return made


def totp_code(at: datetime) -> str:
    """The staff's code at that time."""
    return pyotp.TOTP(TOTP_SECRET).at(at)


@lru_cache(maxsize=1)
def _password_hash() -> str:
    """That of everybody's password: as cheap to verify as it can be, for thousands of tests sign in."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@lru_cache(maxsize=8)
def _phone_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def phone_key(number: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key, made once for all tests: only its time would be new."""
    return _phone_key(number)


def push_identity(begins: datetime, ends: datetime, topic: str = "com.apple.mgmt.External.one", key: int = 0) -> str:
    """An MDM push certificate for ``topic`` with its key, as PEM; signed by itself instead of Apple."""
    name = x509.Name([x509.NameAttribute(NameOID.USER_ID, topic), x509.NameAttribute(NameOID.COMMON_NAME, "APSP")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(phone_key(key).public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
    private = phone_key(key).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return (made.sign(phone_key(key), hashes.SHA256()).public_bytes(Encoding.PEM) + private).decode()


def phone(app: Flask, number: int = 0, ios: int = 17) -> IPhone:
    """A simulated iPhone that talks to ``app`` without a network."""
    transport = httpx.WSGITransport(app=app.wsgi_app, raise_app_exceptions=False)
    key = phone_key(number)
    return IPhone(model=MODELS[ios], http=httpx.Client(transport=transport), key=key, work_key=key)


def owner(app: Flask, user_agent: str = SAFARI) -> Employee:
    """An employee who walks pages by themselves, without a network; each has cookies of their own."""
    employee = Employee(BASE, user_agent=user_agent)
    transport = httpx.WSGITransport(app=app.wsgi_app, raise_app_exceptions=False)
    employee.http = httpx.Client(base_url=BASE, headers=employee.http.headers, transport=transport)
    return employee


def change_password(portal: Portal, session: Session, person: Person, password: str, now: datetime) -> None:
    """As the person does on the page, once the old one was right."""
    passwords.change(session, person, passwords.judged(password, person, portal.settings), now)
