"""A real portal, web and worker, for the browsers."""

import os
from collections.abc import Iterator

import pytest

from portal.simulator.server import Server
from tests.browser import engines
from tests.browser.scene import scene
from tests.servers import Cast, portal_server

__all__ = ["scene"]

needs_chromium = pytest.mark.skipif(
    engines.CHROMIUM is None, reason="Debian's package chromium-headless-shell is not installed"
)
needs_webkit = pytest.mark.skipif(
    not (engines.WEBKIT_DRIVER and engines.MINI_BROWSER and os.environ.get("DISPLAY")),
    reason="needs Debian's package webkit2gtk-driver and a display (xvfb-run make test)",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with portal_server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def cast(server: Server) -> Cast:
    return Cast(server)
