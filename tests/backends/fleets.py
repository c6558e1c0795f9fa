"""A portal with each of its backends, with phones, and with the worker's part by hand, for the conformance suite.

Time is real here: NanoMDM checks certificates against its own clock.
"""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from portal import clock, jobs
from portal.backends import dispatch, messages, reconciling
from portal.backends.nanomdm import events
from portal.models import BackendEvent, Command, Device
from portal.services import Portal
from portal.simulator.iphone import IPhone
from portal.simulator.model import MODELS
from portal.simulator.nanomdm import VERSION, NanoMdm
from portal.simulator.settings_app import SettingsApp
from portal.storage.cases import Cases
from tests import databases
from tests.account_driven.steps import ACCOUNT, walking
from tests.factories import BASE, Company, phone_key
from tests.peers.proxy import Proxy

PATIENCE_SECONDS = 20.0
FIRST = ["DeviceInformation", "ProfileList", "DeclarativeManagement"]
"""What a phone is asked first."""
MOST_CONNECTIONS = 5
"""In a row, until there is nothing more for a phone."""


class Fleet:
    """The embedded backend: phones talk to the portal."""

    name = "embedded"

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.portal: Portal = app.extensions["portal"]
        self.company = Company(self.portal)
        self.worker = jobs.Worker(self.portal.live.base)
        self.reachable = True

    def close(self) -> None:
        self.worker.database.engine.dispose()

    # --- people and phones ---------------------------------------------------------------------------------------

    def invite(self, username: str = "erika"):
        return self.company.invite(self.company.person(username))

    def phone(self, number: int = 0, ios: int = 17) -> IPhone:
        """A phone whose way to the portal and to its device management is the real one."""
        portal = httpx.WSGITransport(app=self.app.wsgi_app, raise_app_exceptions=False)
        client = httpx.Client(transport=_Reachable(self, portal), mounts=self.mounts(), timeout=20)
        return IPhone(model=MODELS[ios], http=client, key=phone_key(number))

    def mounts(self) -> dict[str, httpx.BaseTransport]:
        return {}

    def prepared(self, invitation, number: int = 0) -> IPhone:
        """A phone with its certificate that did not check in yet."""
        phone = self.phone(number)
        phone.obtain_identity(phone.open_profile(self.company.profile(invitation)))
        return phone

    def enrolled(self, invitation, number: int = 0) -> IPhone:
        """The same, enrolled, with the first questions answered."""
        phone = self.prepared(invitation, number)
        phone.authenticate()
        phone.token_update()
        self.until(lambda: self.company.status(invitation) == "enrolled")
        assert self.connect(phone) == FIRST
        return phone

    def from_settings(self, invitation, number: int = 0, username: str = "erika") -> SettingsApp:
        """An iPhone with iOS 18 that enrolled from Settings."""
        settings_app = SettingsApp(self.phone(number, 18))
        account = ACCOUNT.replace("erika", username)
        settings_app.sign_in(account, walking(self.app, invitation, username), BASE)
        self.until(lambda: self.company.status(invitation) == "enrolled")
        self.connect(settings_app.phone)
        return settings_app

    # --- the worker, and what is under way ---------------------------------------------------------------------------

    def work(self) -> None:
        self.worker.manage()

    def heal(self) -> None:
        """The reconcile job, long after."""
        if self.portal.backend.keeps_queue:
            with self.portal.database.transaction() as session:
                reconciling.reconcile(Cases(session, self.portal))
        self.work()

    def until(self, holds: Callable[[], bool]) -> None:
        """Let the worker work until it holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.work()
            if holds():
                return
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.02)

    def connect(self, phone: IPhone) -> list[str]:
        """The phone is woken, and again as long as its answers lead to something new; what it answered to."""
        answered: list[str] = []
        for _ in range(MOST_CONNECTIONS):
            self.until(lambda: not self.commands("queued") or not self.portal.backend.keeps_queue)
            answered += self._connect_once(phone)
            if not self._waiting(phone):
                return answered
        raise AssertionError(f"after {answered} there is always something more")

    def _connect_once(self, phone: IPhone) -> list[str]:
        waited = self._waiting(phone)
        answered = phone.connect()
        self.until(lambda: self.pending() == 0 and not waited & self._waiting(phone, "sent"))
        return answered

    def _waiting(self, phone: IPhone, *states: str) -> set[int]:
        """The commands that it would fetch, or in these states."""
        states = states or (("sent", "queued") if self.portal.backend.keeps_queue else ("sent",))
        with self.portal.database.session() as session:
            theirs = select(Device.id).where(Device.enrollment_id == phone.enrollment_id)
            query = select(Command.id).where(Command.device_id.in_(theirs), Command.status.in_(states))
            return set(session.scalars(query))

    def pending(self) -> int:
        """Messages that the worker has not taken up."""
        return 0

    def commands(self, *states: str) -> list[Command]:
        with self.portal.database.session() as session:
            query = select(Command).order_by(Command.id)
            return list(session.scalars(query.where(Command.status.in_(states)) if states else query))

    def device(self, invitation) -> Device:
        return self.company.device(invitation)

    # --- trouble ---------------------------------------------------------------------------------------------------

    def cut_off(self) -> None:
        """Device management is out of reach."""
        self.reachable = False

    def bring_back(self) -> None:
        self.reachable = True


class _Reachable(httpx.BaseTransport):
    """The network between phones and the portal."""

    def __init__(self, fleet: Fleet, to: httpx.BaseTransport) -> None:
        self._fleet, self._to = fleet, to

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not self._fleet.reachable and request.url.path.startswith("/mdm"):
            raise httpx.ConnectError("no route", request=request)
        return self._to.handle_request(request)


class DelegatedFleet(Fleet):
    """NanoMDM: phones talk to nginx, which asks the portal and forwards to NanoMDM, which tells the portal."""

    name = "nanomdm"

    def __init__(self, app: Flask, nanomdm: NanoMdm, proxy: Proxy | None) -> None:
        super().__init__(app)
        self.nanomdm, self.proxy = nanomdm, proxy
        self.portal_is_down = False
        self.lose: set[int] = set()
        """Numbers of the webhooks that never arrive, from 0."""
        self.webhooks = 0

    def serve(self, environ, start):
        """The portal's web server, for nginx and NanoMDM."""
        if self.portal_is_down:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("502 Bad Gateway", [("Connection", "close")])
            return [b""]
        if environ["PATH_INFO"] == "/hooks/nanomdm":
            self.webhooks += 1
            if self.webhooks - 1 in self.lose:
                environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                start("500 Lost", [("Connection", "close")])
                return [b""]
        return self.app(environ, start)

    def mounts(self) -> dict[str, httpx.BaseTransport]:
        """Phones try again when a connection does not come about; so far nothing was said."""
        return {self.proxy.url: httpx.HTTPTransport(verify=False, retries=2)} if self.proxy else {}

    def pending(self) -> int:
        with self.portal.database.session() as session:
            undone = select(BackendEvent.id).where(BackendEvent.done_at.is_(None))
            return len(session.scalars(undone).all())

    def cut_off(self) -> None:
        self.nanomdm.kill()

    def bring_back(self) -> None:
        self.nanomdm.again()
        self.portal.__dict__.pop("backend", None)  # their circuit breakers need not wait out their pause
        self.worker.portal.__dict__.pop("backend", None)


@contextlib.contextmanager
def delegated(
    make_app: Callable[..., Flask], folder: Path, *, with_proxy: bool = True, **settings: Any
) -> Iterator[DelegatedFleet]:
    """A portal served on loopback, with NanoMDM and nginx around it; without, it passes everything on by itself."""
    held: list[DelegatedFleet] = []
    server = make_server("127.0.0.1", 0, lambda environ, start: held[0].serve(environ, start), threaded=True)
    storage, drop = _storage()
    nanomdm = NanoMdm(folder / "nanomdm", f"http://127.0.0.1:{server.port}/hooks/nanomdm", storage)
    proxy = Proxy(folder / "nginx", server.port, nanomdm.port) if with_proxy else None
    app = make_app(
        mdm={"backend": "nanomdm", "topic": "", "push_identity": "", "refresh_hours": 24},
        nanomdm={**nanomdm.settings(), "server_url": f"{proxy.url}/mdm" if proxy else "", "timeout_seconds": 5},
        **settings,
    )
    clock.use(None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    fleet = DelegatedFleet(app, nanomdm, proxy)
    held.append(fleet)
    quick = _quick()
    try:
        thread.start()
        nanomdm.start(fleet.portal.authority.ca.certificate.public_bytes(Encoding.PEM))
        if proxy is not None:
            proxy.start()
        yield fleet
    finally:
        quick.undo()
        if proxy is not None:
            proxy.stop()
        nanomdm.stop()
        server.shutdown()
        server.server_close()
        fleet.close()
        drop()


def _storage() -> tuple[tuple[str, str] | None, Callable[[], object]]:
    """Where NanoMDM keeps what it knows: in files, or beside the portal's data in PostgreSQL; and how to clean up."""
    schema = _schema()
    if not databases.SERVER or schema is None:
        return None, lambda: None
    name = databases.create()
    engine = sqlalchemy.create_engine(databases.named(name), poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(schema.read_text())
    server = sqlalchemy.make_url(databases.SERVER).set(drivername="postgres", database=name)
    dsn = server.render_as_string(hide_password=False) + "?sslmode=disable"
    return ("pgsql", dsn), lambda: databases.drop(name)


def _schema() -> Path | None:
    """NanoMDM's tables, where Go keeps its source."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        return None
    cache = subprocess.run([go, "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    found = Path(cache) / f"github.com/micromdm/nanomdm@{VERSION}" / "storage" / "pgsql" / "schema.sql"
    return found if found.exists() else None


def _quick() -> pytest.MonkeyPatch:
    """Waits that take seconds and minutes in earnest."""
    patch = pytest.MonkeyPatch()
    patch.setattr(dispatch, "WAITS", (timedelta(seconds=0.2),))
    patch.setattr(events, "PATIENCE", timedelta(seconds=1))
    patch.setattr(events, "LOOK_AGAIN", timedelta(seconds=0.1))
    patch.setattr(messages, "SEEN_EVERY_SECONDS", 0)
    for name, seconds in (("OVERDUE", 0.5), ("NEVER_ENROLLED", 0.5), ("UNDER_WAY", 0)):
        patch.setattr(reconciling, name, timedelta(seconds=seconds))
    return patch


@contextlib.contextmanager
def embedded(make_app: Callable[..., Flask], _folder: Path, **settings: Any) -> Iterator[Fleet]:
    """A portal with its own device management."""
    app = make_app(**settings)
    clock.use(None)
    fleet = Fleet(app)
    try:
        yield fleet
    finally:
        fleet.close()


FLEETS = {"embedded": embedded, "nanomdm": delegated, "passed on": partial(delegated, with_proxy=False)}
