"""Policies for many devices: what it costs to find out whose device has something new, and to tell it.

``python -m tests.bench.policies [--devices N]``: 20 policies, of which half go to everybody and half to a group of one
in twenty. Rows are put into the tables as they are, without walking.
"""

import argparse
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import event, func, insert, select

from portal import clock
from portal.models import (
    Certificate,
    DeclarativeState,
    Device,
    EnrollmentRequest,
    IssuedProfile,
    Membership,
    Person,
    new_id,
)
from portal.people.audiences import Line
from portal.policies.content import Part, new_part
from portal.services import Portal
from portal.storage import policies, policy_rounds
from portal.storage.cases import CaseServices
from tests.bench import own
from tests.bench.request_list import BATCH_SIZE, outside_transactions
from tests.factories import editing

POLICIES = 20
ONE_IN = 20
"""In the group that half of the policies go to."""
GROUP = "directory:Sales"
VERSIONS = ("17.6.1", "18.2", "26.0", "14.8")


def fill(portal: Portal, count: int) -> None:
    """``count`` people, each with one managed device."""
    now = clock.now()
    rows: dict[type, list[dict[str, Any]]] = {
        each: [] for each in (Person, Membership, EnrollmentRequest, IssuedProfile, Certificate, Device)
    }
    for number in range(count):
        for table, row in _one(number, now).items():
            rows[table] += [row] if row else []
    with portal.database.transaction() as session:
        for table, of_it in rows.items():
            for start in range(0, len(of_it), BATCH_SIZE):
                session.execute(insert(table.__table__), of_it[start : start + BATCH_SIZE])  # type: ignore[attr-defined]
    outside_transactions(portal.database.engine, "VACUUM", "ANALYZE")


def _one(number: int, now: datetime) -> dict[type, dict[str, Any]]:
    person, request, profile = new_id(), new_id(), new_id()
    name = f"person{number}"
    return {
        Person: {"id": person, "username": name, "name": f"Person {number}", "email": f"{name}@example.com",
                 "managed_apple_account": f"{name}@work.example.com", "locale": "en", "role": "employee",
                 "source": "local", "created_at": now},
        Membership: {"person_id": person, "source": "directory", "name": GROUP} if number % ONE_IN == 0 else {},
        EnrollmentRequest: {"id": request, "person_id": person, "created_by": "bench", "created_at": now,
                            "source": "helpdesk", "expires_at": now, "enrolled_at": now, "profile_id": profile,
                            "managed_apple_account": f"{name}@work.example.com", "passcode_secret_sealed": b"",
                            "passcode_counter": 1, "passcode_sends": 1, "passcode_sent_at": now, "passcode_tries": 0},
        IssuedProfile: {"id": profile, "request_id": request, "ticket_hash": new_id() * 4, "way": "profile",
                        "challenge_hash": new_id() * 4, "issued_at": now, "expires_at": now, "downloaded_at": now,
                        "certificate_at": now, "authenticated_at": now},
        Certificate: {"fingerprint": profile, "serial": profile, "profile_id": profile, "request_id": request,
                      "der": b"", "issued_at": now, "expires_at": now},
        Device: {"id": new_id(), "enrollment_id": profile, "request_id": request, "profile_id": profile,
                 "certificate_fingerprint": profile, "way": "profile", "authenticated_at": now, "enrolled_at": now,
                 "last_seen_at": now, "attributes": {}, "profiles": [], "os_version": VERSIONS[number % len(VERSIONS)]},
    }  # fmt: skip


def parts(number: int, changed: int = 0) -> list[Part]:
    """What the policy with that number holds; ``changed``: how often it was."""
    wifi = {"SSID_STR": f"Network {number} {changed}", "EncryptionType": "WPA2", "Password": "secret"}
    mail = {"EmailAccountType": "EmailTypeIMAP", "EmailAddress": "{email}", "EmailAccountName": "{name}",
            "IncomingMailServerHostName": f"imap{number}.example.com", "IncomingMailServerUsername": "{username}",
            "IncomingMailServerAuthentication": "EmailAuthPassword",
            "OutgoingMailServerHostName": f"smtp{number}.example.com",
            "OutgoingMailServerAuthentication": "EmailAuthPassword"}  # fmt: skip
    clip = {"Label": f"Page {number}", "URL": "https://intranet.example.com/{username}"}
    kinds = (("com.apple.wifi.managed", wifi), ("com.apple.mail.managed", mail), ("com.apple.webClip.managed", clip),
             ("com.apple.applicationaccess", {"allowScreenShot": bool(number % 2)}))  # fmt: skip
    return [new_part(*kinds[number % 4]), new_part(*kinds[(number + 1) % 3])]


def publish(portal: Portal, number: int, policy_id: str | None = None, changed: int = 0) -> str:
    """A policy, or its next version; its id."""
    with portal.database.transaction() as session:
        by = editing(portal, session)
        if policy_id is None:
            made = policies.create(by, f"Policy {number}")
            line = Line("in", "everybody") if number % 2 else Line("in", "group", GROUP)
            policies.set_audience(by, made, [line])
        policy = policies.locked(session, policy_id or made.id)
        assert policy is not None
        policies.save_draft(by, policy, parts(number, changed))
        policies.publish(by, policy, pilot=False)
        return policy.id


class Bench:
    """Measures rounds of one portal."""

    def __init__(self, portal: Portal) -> None:
        self.portal, self.statements = portal, 0
        event.listen(portal.database.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.statements += 1

    def measure(self, name: str, act: Callable[[], int], unit: str = "devices") -> int:
        """Print what ``act`` costs; what it returned."""
        self.statements, cpu, began = 0, time.process_time(), time.perf_counter()
        found = act()
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"{name:<44} {found:6} {unit:<8}  CPU {cpu:6.2f} s  {took:6.2f} s  {self.statements:6} statements")
        return found

    def plan(self) -> int:
        """One look at all devices."""
        return policy_rounds.mark_devices(self.portal.database, self.portal.settings, clock.now())

    def tell(self) -> int:
        """Tell all who are to be told."""
        services, total = CaseServices(self.portal.settings, self.portal.vault), 0
        while found := policy_rounds.tell_devices(self.portal.database, services, clock.now()):
            total += found
        return total

    def due(self) -> int:
        """How many are to be told."""
        with self.portal.database.session() as session:
            query = select(func.count()).select_from(DeclarativeState)
            return session.scalar(query.where(DeclarativeState.due_at.is_not(None))) or 0


def main() -> None:
    """Fill, plan, change, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    with own.portals() as make:
        portal: Portal = make(policies={"enabled": True}).extensions["portal"]
        fill(portal, chosen.devices)
        bench = Bench(portal)
        print(f"{chosen.devices} devices, {POLICIES} policies, {portal.database.engine.dialect.name}")
        bench.measure("before there is any policy", bench.plan)
        made = [publish(portal, number) for number in range(POLICIES)]
        bench.measure("all published: planned", bench.plan)
        bench.measure("all published: told", bench.tell)
        bench.measure("nothing changed", bench.plan)
        publish(portal, 0, made[0], 1)
        assert bench.measure("one of a group changed: planned", bench.plan) == chosen.devices // ONE_IN
        assert bench.due() == chosen.devices // ONE_IN
        bench.measure("one of a group changed: told", bench.tell)
        publish(portal, 1, made[1], 1)
        bench.measure("one of everybody changed: planned", bench.plan)


if __name__ == "__main__":
    main()
