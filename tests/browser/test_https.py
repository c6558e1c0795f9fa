"""Outside the demo, over TLS: Secure cookies in a real browser, and the pages for browsers that cannot go on."""

import itertools
import json
import ssl

import httpx
import pytest

from portal.enrollment.eligibility import judge
from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone
from portal.simulator.server import free_port
from tests.browser import engines
from tests.browser.conftest import needs_chromium
from tests.servers import loopback_certificate, portal_server
from tests.web.employee.test_eligibility import AGENTS

PASSWORD = "a password of a test"


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """(server, certificate file) of a real portal that is no demo."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = loopback_certificate(folder)
    port = free_port()
    environment = {
        "PORTAL_DEMO": "false",
        "PORTAL_PUBLIC_URL": f"https://127.0.0.1:{port}",
        "BIND": f"127.0.0.1:{port}",
        "GUNICORN_CMD_ARGS": f"--certfile={certificate} --keyfile={key}",
    }
    with portal_server(folder / "portal", environment) as server:
        yield server, certificate


def invite(server):
    """Somebody new, called ``username``: nobody is invited twice."""
    username = f"erika{next(_numbers)}"
    server.flask("people", "add", username, "--name", "Erika", "--email", "erika@example.com",
                 "--managed-apple-account", f"{username}@work.example.com", "--password", PASSWORD)  # fmt: skip
    return {"username": username, **json.loads(server.flask("invite", username, "--json"))}


_numbers = itertools.count()


@needs_chromium
def test_the_session_works_with_secure_host_cookies(secure):
    server, _ = secure
    invitation = invite(server)
    with engines.chromium(trust_anything=True) as engine:
        engine.open(invitation["url"])
        engine.fill("username", invitation["username"])
        engine.fill("password", PASSWORD)
        engine.tap("main button[type=submit]")
        engine.wait_for_heading("Whose device is this?")
        (cookie,) = engine.page.context.cookies()
        assert cookie["name"] == "__Host-portal"
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
        assert engine.problems == []


def test_the_simulated_iphone_enrolls_over_tls(secure):
    server, certificate = secure
    invitation = invite(server)
    trust = ssl.create_default_context(cafile=str(certificate))
    employee = Employee(server.url)
    employee.http = httpx.Client(
        base_url=server.url, headers=employee.http.headers, follow_redirects=True, verify=trust, timeout=20
    )
    profile = employee.walk(invitation["url"], invitation["username"], PASSWORD, lambda: invitation["passcode"])
    IPhone(http=httpx.Client(verify=trust, timeout=20)).install(profile)
    employee.open("/enroll/finish")
    assert employee.heading == "You are ready for work"


@needs_chromium
def test_every_other_browser_gets_a_page_that_helps(secure):
    server, _ = secure
    invitation = invite(server)
    seen = set()
    for agent, verdict, _ in AGENTS:
        if verdict in seen or verdict.value == "ok" or not agent:
            continue
        seen.add(verdict)
        with engines.chromium(user_agent=agent, trust_anything=True) as engine:
            engine.open(invitation["url"])
            engine.picture(f"browser-{judge(agent).verdict.value}")
            assert engine.problems == []
    assert len(seen) == 5


@needs_chromium
def test_error_pages_look_right_too(secure):
    server, _ = secure
    with engines.chromium(trust_anything=True) as engine:
        engine.open(server.url + "/e/unknown")
        engine.picture("error-link")
        engine.open(server.url + "/nowhere")
        engine.picture("error-not-found")


@needs_chromium
def test_an_ipad_that_says_it_is_a_mac_is_found_out(secure):
    """Its touch points tell; without a script its owner says so."""
    server, _ = secure
    mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15"
    with engines.chromium(mac, trust_anything=True) as engine:
        engine.open(server.url + "/enroll")
        engine.wait_for_heading("Sign in to begin")
    with engines.chromium(mac, trust_anything=True, touch=False) as engine:
        engine.open(server.url + "/enroll")
        engine.wait_for_heading("Continue on your iPhone")
        engine.picture("browser-computer-or-ipad")
        engine.tap("text=This is an iPad")
        engine.wait_for_heading("Sign in to begin")
