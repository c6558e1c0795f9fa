"""Policies by hand: made, published and given, without the pages."""

from dataclasses import replace

import pytest

from portal import clock
from portal.people.audiences import Line
from portal.policies.content import Part, new_part
from portal.storage import policies, policy_rounds
from portal.storage.cases import CaseServices
from tests.factories import editing, phone

EVERYBODY = (Line("in", "everybody"),)


def wifi(ssid="Work", password="secret for Wi-Fi", **more) -> Part:
    return new_part(
        "com.apple.wifi.managed", {"SSID_STR": ssid, "EncryptionType": "WPA2", "Password": password, **more}
    )


def mail(**more) -> Part:
    values = {
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAddress": "{email}",
        "EmailAccountName": "{name}",
        "IncomingMailServerHostName": "imap.example.com",
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerUsername": "{username}",
        "OutgoingMailServerHostName": "smtp.example.com",
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
    }
    return new_part("com.apple.mail.managed", values | more)


def passcode(minutes=None) -> Part:
    values = {"forcePIN": True} | ({"maxInactivity": minutes} if minutes else {})
    return new_part("com.apple.mobiledevice.passwordpolicy", values)


def restrictions(**values) -> Part:
    return new_part("com.apple.applicationaccess", values)


class Policies:
    """What an admin does with policies, and what the worker makes of it."""

    def __init__(self, portal, ticks):
        self.portal, self.ticks = portal, ticks

    def make(self, name, *parts, audience=EVERYBODY, pilot=False):
        """A published policy; its id."""
        with self.portal.database.transaction() as session:
            by = editing(self.portal, session)
            made = policies.create(by, name)
            policies.set_audience(by, made, audience)
            policy_id = made.id
        self.publish(policy_id, *parts, pilot=pilot)
        return policy_id

    def publish(self, policy_id, *parts, pilot=False):
        """Its next version."""
        self.ticks.forward(seconds=1)
        with self.portal.database.transaction() as session:
            policy = policies.locked(session, policy_id)
            by = editing(self.portal, session)
            policies.save_draft(by, policy, parts)
            policies.publish(by, policy, pilot=pilot)

    def change(self, policy_id, act, *arguments, **named):
        """Let ``act`` change a policy."""
        self.ticks.forward(seconds=1)
        with self.portal.database.transaction() as session:
            return act(editing(self.portal, session), policies.locked(session, policy_id), *arguments, **named)

    def audience(self, policy_id, *lines):
        """Who gets it."""
        self.change(policy_id, policies.set_audience, lines)

    def round(self):
        """The worker comes by; how many devices were marked and told."""
        settings = self.portal.settings
        marked = policy_rounds.mark_devices(self.portal.database, settings, clock.now())
        told = policy_rounds.tell_devices(self.portal.database, CaseServices(settings, self.portal.vault), clock.now())
        return marked, told

    def states(self, device_id):
        """By policy: state and reason."""
        from sqlalchemy import select

        from portal.models import DevicePolicy

        with self.portal.database.session() as session:
            rows = session.scalars(select(DevicePolicy).where(DevicePolicy.device_id == device_id))
            return {each.policy_id: (each.state, each.reason) for each in rows}


@pytest.fixture
def held_policies(company, configure, clock):
    """The room, open."""
    configure(policies__enabled=True)
    return Policies(company.portal, clock)


@pytest.fixture
def enrolled(app, company):
    """Enrolls somebody's phone; the phone and its device."""

    def enroll(username="erika", number=0, ios=None, person=None):
        invitation = company.invite(person or company.person(username))
        held = phone(app, number)
        held.model = replace(held.model, os_version=ios) if ios else held.model
        held.install(company.profile(invitation))
        return held, company.device(invitation).id

    return enroll
