"""One portal in this process and a browser before it, for pages that need the portal's insides moved."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from werkzeug.serving import make_server

from portal.simulator.server import free_port
from tests.browser import engines
from tests.factories import PASSWORD, Company, totp_code


class Scene:
    """One portal in this process, so that its clock and its insides can be moved, and one browser before it."""

    def __init__(self, app, engine: engines.Chromium, url: str) -> None:
        self.app = app
        self.portal = app.extensions["portal"]
        self.company = Company(self.portal)
        self.engine = engine
        self.url = url

    def open(self, path: str) -> None:
        self.engine.open(self.url + path)

    def sees(self, name: str, heading: str, desk: bool = False) -> None:
        """The page says so; it has its pictures and nothing to complain of."""
        self.engine.wait_for_heading(heading)
        self.engine.picture(name, desk=desk)

    def sign_in_as_staff(self, role: str, at: datetime) -> None:
        """Sign in somebody of ``role``, who is made for it."""
        self.company.person(role, role=role, name=f"Demo {role.title()}")
        self.open("/staff/sign-in")
        self.engine.fill("username", role)
        self.engine.fill("password", PASSWORD)
        self.engine.fill("code", totp_code(at))
        self.engine.tap("main button[type=submit]")
        self.engine.wait_for_heading("Enrollment requests")

    def sign_in(self, username: str, password: str = PASSWORD) -> None:
        self.engine.fill("username", username)
        self.engine.fill("password", password)
        self.engine.tap("main button[type=submit]")

    def walk_to_download(self) -> tuple[object, bytes]:
        """From a fresh invitation to a downloaded profile."""
        invitation = self.company.invite(self.company.person())
        self.open(f"/e/{invitation.token}")
        self.sign_in("erika")
        for selector in ("button[value=employee]", "button[name=acknowledge]"):
            self.engine.tap(selector)
        self.engine.fill("passcode", invitation.passcode)
        for selector in ("button[form=enter]", "button[name=continue]", "button[name=accept]"):
            self.engine.tap(selector)
        with self.engine.page.expect_download() as waiting:
            self.engine.tap("main a.button")
        return invitation, waiting.value.path().read_bytes()


@pytest.fixture
def scene(make_app) -> Iterator[Callable[..., Scene]]:
    """Serve a portal with the test's clock and open a browser."""
    stops: list[Callable[[], None]] = []

    def stage(host: str = "127.0.0.1", **settings: object) -> Scene:
        port = free_port()
        url = f"http://{host}:{port}"
        app = make_app(demo=True, public_url=url, **settings)
        server = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stops.append(thread.join)
        stops.append(server.shutdown)
        browsing = engines.chromium()
        engine = browsing.__enter__()
        stops.append(lambda: browsing.__exit__(None, None, None))
        return Scene(app, engine, url)

    yield stage
    for stop in reversed(stops):
        stop()
