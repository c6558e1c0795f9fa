"""An OpenID provider that we did not write (npm oidc-provider) on loopback, and somebody who logs in there."""

import json
import os
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from joserfc.jwk import RSAKey

from portal.simulator.server import free_port

NODE = shutil.which("node")
MODULE = Path(os.environ.get("PORTAL_TEST_NODE_MODULES", "node_modules")) / "oidc-provider" / "lib" / "index.js"
needs_openid = pytest.mark.skipif(
    NODE is None or not MODULE.exists(),
    reason="needs node and npm's oidc-provider (PORTAL_TEST_NODE_MODULES names the folder it is installed in)",
)
START_SECONDS = 30.0
CLIENT_SECRET = "a secret of the test"
MOST_PAGES = 12

PEOPLE = {
    "sub-olga": {
        "sub": "sub-olga", "preferred_username": "olga", "name": "Olga", "email": "olga@example.com", "locale": "de-DE",
        "groups": ["enroll"], "work_account": "olga@work.example.com",
    },
    "sub-noah": {"sub": "sub-noah", "preferred_username": "noah", "name": "Noah", "email": "noah@example.com"},
    "sub-helga": {
        "sub": "sub-helga", "preferred_username": "helga", "name": "Helga", "email": "helga@example.com",
        "groups": ["enroll", "portal-helpdesk"], "work_account": "helga@work.example.com",
    },
    "sub-thief": {  # another person who calls themselves like somebody else
        "sub": "sub-thief", "preferred_username": "local", "name": "Thief", "email": "olga@example.com",
        "groups": ["enroll"], "work_account": "olga@work.example.com",
    },
}  # fmt: skip


class OpenIdProvider:
    """One provider; it can be stopped, and started again with new keys."""

    def __init__(self, redirects: list[str]) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.redirects = redirects
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it with a fresh signing key."""
        key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        values = {
            "port": self.port, "issuer": self.issuer, "redirects": self.redirects, "people": PEOPLE,
            "jwks": {"keys": [key.as_dict(private=True)]},
        }  # fmt: skip
        told = {
            "OPENID_PROVIDER": json.dumps(values),
            "OPENID_PROVIDER_MODULE": str(MODULE.resolve()),
        }
        script = Path(__file__).with_name("openid_provider.mjs")
        self.process = subprocess.Popen([NODE, script], env={**os.environ, **told}, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(self.issuer + "/.well-known/openid-configuration").status_code == 200:
                    return
            except httpx.HTTPError:
                assert self.process.poll() is None, "the provider ended by itself"
                time.sleep(0.1)
        raise AssertionError("the provider does not answer")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def settings(self, **changes: object) -> dict[str, object]:
        """The portal's table for this provider."""
        return {
            "name": "test", "title": "Test SSO", "issuer": self.issuer, "client_id": "portal",
            "client_secret": CLIENT_SECRET, "scopes": "openid profile email work", "groups_claim": "groups",
            "required_group": "", "helpdesk_group": "portal-helpdesk",
            "managed_apple_account_claim": "work_account", **changes,
        }  # fmt: skip


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = values.get("action") or ""
        elif tag == "input" and values.get("name"):
            self.fields[values["name"]] = values.get("value") or ""


def log_in(address: str, login: str, back_to: str) -> str:
    """Walk the provider's own pages as ``login``; returns the address of the portal that it leads back to."""
    with httpx.Client(timeout=20) as http:
        answer = http.get(address)
        for _ in range(MOST_PAGES):
            if answer.is_redirect:
                address = urljoin(str(answer.url), answer.headers["location"])
                if address.startswith(back_to):
                    return address
                answer = http.get(address)
                continue
            form = _Form()
            form.feed(answer.text)
            assert form.action, answer.text[:500]
            filled = {**form.fields, **({"login": login, "password": "x"} if "login" in form.fields else {})}
            answer = http.post(urljoin(str(answer.url), form.action), data=filled)
    raise AssertionError("the provider leads nowhere")
