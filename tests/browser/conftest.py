"""A real portal, web and worker, for the browsers."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.simulator.server import Server, running
from tests import databases
from tests.browser import engines

needs_chromium = pytest.mark.skipif(engines.CHROMIUM is None, reason="Debian's package chromium is not installed")
needs_webkit = pytest.mark.skipif(
    not (engines.WEBKIT_DRIVER and engines.MINI_BROWSER and os.environ.get("DISPLAY")),
    reason="needs Debian's package webkit2gtk-driver and a display (xvfb-run make test)",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = databases.create() if databases.SERVER else ""
    environment = {"PORTAL_DATABASE_URL": databases.named(database)} if database else {}
    try:
        with running(tmp_path_factory.mktemp("server"), environment) as started:
            yield started
    finally:
        if database:
            databases.drop(database)


class Cast:
    """The demo's people on a running server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.accounts = {each["username"]: each for each in json.loads(server.flask("demo-accounts", "--json"))}

    def invite(self, username: str) -> dict[str, str]:
        return json.loads(self.server.flask("invite", username, "--json"))

    def status(self, invitation: dict[str, str]) -> dict[str, object]:
        return json.loads(self.server.flask("status", invitation["id"], "--json"))

    @property
    def data(self) -> Path:
        return Path(self.server.environment["PORTAL_DATA_DIR"])


@pytest.fixture(scope="module")
def cast(server: Server) -> Cast:
    return Cast(server)
