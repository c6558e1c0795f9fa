"""The SCEP responder against a client that we did not write: micromdm's scepclient, and openssl on what it got."""

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from portal.simulator import scep_client
from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone, payload_of
from tests.servers import Cast, portal_server

SCEPCLIENT = shutil.which("scepclient")
pytestmark = pytest.mark.skipif(
    SCEPCLIENT is None,
    reason="scepclient is not installed (go install github.com/micromdm/scep/v2/cmd/scepclient@v2.3.0)",
)


@pytest.fixture(scope="module")
def cast(tmp_path_factory):
    # This client signs with SHA-1 and encrypts with DES, whatever the server announces.
    with portal_server(tmp_path_factory.mktemp("scep"), {"PORTAL_SCEP_ACCEPT_LEGACY": "true"}) as started:
        yield Cast(started)


def downloaded(cast: Cast, username: str, times: int = 1) -> tuple[dict, dict]:
    """(invitation, SCEP settings of the first of ``times`` downloads)."""
    invitation = cast.invite(username)
    employee = Employee(cast.server.url)
    profile = employee.walk(invitation["url"], username, cast.password(username), lambda: invitation["passcode"])
    for _ in range(times - 1):
        employee.download()
    payload = IPhone().open_profile(profile)
    return invitation, payload_of(payload, "com.apple.security.scep")["PayloadContent"]


def scepclient(settings: dict, folder: Path, common_name: str = "", challenge: str = "") -> subprocess.CompletedProcess:
    """Run the client in ``folder``; its key and certificate stay there."""
    folder.mkdir(exist_ok=True)
    names = {kind: value for [[kind, value]] in settings["Subject"]}
    command = [
        str(SCEPCLIENT), "-server-url", settings["URL"], "-challenge", challenge or settings["Challenge"],
        "-cn", common_name or names["CN"], "-organization", names["O"], "-country", "",
        "-private-key", "client.key", "-certificate", "client.pem",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, env={**os.environ})


@pytest.fixture(scope="module")
def issued(cast, tmp_path_factory):
    """(invitation, SCEP settings, folder) of a foreign client that asked for its certificate."""
    folder = tmp_path_factory.mktemp("issued")
    invitation, settings = downloaded(cast, "employee1")
    done = scepclient(settings, folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "client.pem").exists(), done.stderr
    return invitation, settings, folder


def test_a_foreign_client_gets_a_certificate_that_openssl_verifies(cast, issued):
    invitation, settings, folder = issued
    ca = scep_client.fetch_ca(httpx.Client(), settings)
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    verified = subprocess.run(
        ["openssl", "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "client.pem"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    text = subprocess.run(
        ["openssl", "x509", "-in", "client.pem", "-noout", "-text"], cwd=folder, capture_output=True, text=True
    ).stdout
    assert "TLS Web Client Authentication" in text
    assert "certificate.issued" in [event["kind"] for event in cast.status(invitation)["events"]]


def test_a_reused_challenge_is_refused(cast, issued, tmp_path):
    invitation, settings, _ = issued
    again = scepclient(settings, tmp_path)
    assert again.returncode != 0
    assert not (tmp_path / "client.pem").exists()
    events = cast.status(invitation)["events"]
    assert ("certificate.refused", "challenge_used") in [(event["kind"], event["reason"]) for event in events]


def test_another_subject_and_a_made_up_challenge_are_refused_and_the_challenge_stays_good(cast, tmp_path):
    _, settings = downloaded(cast, "employee4")
    assert scepclient(settings, tmp_path / "wrong", common_name="somebody-else").returncode != 0
    assert scepclient(settings, tmp_path / "made-up", challenge="made-up").returncode != 0
    assert scepclient(settings, tmp_path / "right").returncode == 0


def test_a_superseded_challenge_is_refused(cast, tmp_path):
    _, settings = downloaded(cast, "employee2", times=2)
    assert scepclient(settings, tmp_path).returncode != 0
