"""Work apps for many people: what Apple is asked, and what it costs, until everybody has a license for everything.

``python -m tests.bench.apps [--people N] [--apps N]``: every app goes to everybody. Apple is the fake, which counts
what it is asked, and refuses what is over its limits. Afterwards one in ten leaves.
"""

import argparse
import logging
from collections import Counter
from datetime import timedelta

import httpx
from sqlalchemy import select, update

from portal import clock
from portal.apps.origin import Origin
from portal.apps_and_books.client import Client
from portal.apps_and_books.store import Described
from portal.models import Device, DeviceApp, LicenseUser
from portal.people.audiences import Line
from portal.services import Portal
from portal.simulator.apps_and_books import FakeAppsAndBooks
from portal.storage import app_intake, app_rounds, apps, policy_rounds
from portal.storage.cases import CaseServices
from portal.storage.licenses import exchanging
from tests.bench import own
from tests.bench.policies import Bench, fill
from tests.factories import editing

ROUNDS = 60


class AppsBench(Bench):
    """The worker's rounds, by hand and without waiting."""

    def __init__(self, portal: Portal, location: FakeAppsAndBooks) -> None:
        super().__init__(portal)
        self.location, self.time = location, clock.now()
        clock.use(lambda: self.time)

    def client(self, settings: object, token: str, own: str, uid: str) -> Client:
        """To the fake, as fast as it answers."""
        transport = httpx.WSGITransport(app=self.location)
        return Client("http://127.0.0.1/mdm/v2", token, own, uid, transport, sleep=lambda seconds: None)

    def plan_and_tell(self) -> int:
        """Every device is looked at."""
        services = CaseServices(self.portal.settings, self.portal.vault)
        marked = app_rounds.mark_devices(self.portal.database, self.portal.settings, clock.now())
        while policy_rounds.tell_devices(self.portal.database, services, clock.now()):
            pass
        return marked

    def license(self) -> int:
        """Apple is asked until nothing is open any more; how many requests that took."""
        before, services = len(self.location.calls), CaseServices(self.portal.settings, self.portal.vault)
        for _ in range(ROUNDS):
            self.time += timedelta(minutes=3)
            exchanging.exchange(self.portal.database, services, self.time, self.client, _nameless)
        return len(self.location.calls) - before


def _nameless(*_arguments: object) -> Described:
    return Described("com.example.app", "App", "")


def main() -> None:
    """Print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--apps", type=int, default=50)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    location = FakeAppsAndBooks()
    with own.portals() as make:
        portal: Portal = make(apps={"enabled": True}).extensions["portal"]
        fill(portal, chosen.people)
        bench = AppsBench(portal, location)
        exchanging.open_client = bench.client  # type: ignore[assignment]
        app_intake.take_token(portal.database, portal, location.token(), "admin:bench")
        for number in range(chosen.apps):
            asset = location.add(f"App {number}", 2 * chosen.people)
            described = Described(asset.bundle_id, asset.name, "13.0")
            with portal.database.transaction() as session:
                by = editing(portal, session)
                made = apps.add(by, Origin(adam_id=asset.adam_id), described, None)
                apps.set_audience(by, made, [Line("in", "everybody")])
        bench.measure("every device is to have every app", bench.plan_and_tell)
        _ask(bench, "licenses for everybody")
        print(f"{'given':<44} {len(location.given):6} licenses, {len(location.twice)} twice")
        with portal.database.transaction() as session:
            leaving = session.scalars(select(Device.id).order_by(Device.id).limit(chosen.people // 10)).all()
            session.execute(update(Device).where(Device.id.in_(leaving)).values(ended_at=clock.now()))
            theirs = select(DeviceApp.license_user_id).where(DeviceApp.device_id.in_(leaving))
            session.execute(update(LicenseUser).where(LicenseUser.id.in_(theirs)).values(due_at=clock.now()))
        _ask(bench, "one in ten leaves")
        print(f"{'left':<44} {len(location.given):6} licenses")


def _ask(bench: AppsBench, name: str) -> None:
    bench.location.calls.clear()
    bench.measure(name, bench.license, "requests")
    for call, count in Counter(bench.location.calls).most_common():
        print(f"    {call:<40} {count:6} requests")


if __name__ == "__main__":
    main()
