"""The SCEP responder against a client that we did not write: micromdm's scepclient, and openssl on what it got."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone, payload_of
from portal.simulator.server import Server, running
from tests import databases

SCEPCLIENT = shutil.which("scepclient")
pytestmark = pytest.mark.skipif(
    SCEPCLIENT is None,
    reason="scepclient is not installed (go install github.com/micromdm/scep/v2/cmd/scepclient@v2.3.0)",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    database = databases.create() if databases.SERVER else ""
    environment = {"PORTAL_DATABASE_URL": databases.named(database)} if database else {}
    try:
        # This client signs with SHA-1 and encrypts with DES, whatever the server announces.
        environment["PORTAL_SCEP_ACCEPT_LEGACY"] = "true"
        with running(tmp_path_factory.mktemp("scep"), environment) as started:
            yield started
    finally:
        if database:
            databases.drop(database)


def downloaded(server: Server, username: str = "employee1") -> tuple[dict, dict]:
    """(invitation, SCEP settings of a freshly downloaded profile)."""
    accounts = {each["username"]: each for each in json.loads(server.flask("demo-accounts", "--json"))}
    invitation = json.loads(server.flask("invite", username, "--json"))
    profile = Employee(server.url).walk(
        invitation["url"], username, accounts[username]["password"], lambda: invitation["passcode"]
    )
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


def test_a_foreign_client_gets_a_certificate_that_openssl_verifies(server, tmp_path):
    invitation, settings = downloaded(server)
    done = scepclient(settings, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "client.pem").exists(), done.stderr
    ca = IPhone().fetch_ca(settings)
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    verified = subprocess.run(
        ["openssl", "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "client.pem"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    text = subprocess.run(
        ["openssl", "x509", "-in", "client.pem", "-noout", "-text"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert "TLS Web Client Authentication" in text
    kinds = [event["kind"] for event in json.loads(server.flask("status", invitation["id"], "--json"))["events"]]
    assert kinds[-1] == "certificate.issued"


def test_a_reused_challenge_is_refused(server, tmp_path):
    invitation, settings = downloaded(server)
    assert scepclient(settings, tmp_path / "first").returncode == 0
    again = scepclient(settings, tmp_path / "second")
    assert again.returncode != 0
    assert not (tmp_path / "second" / "client.pem").exists()
    events = json.loads(server.flask("status", invitation["id"], "--json"))["events"]
    assert ("certificate.refused", "challenge_used") in [(event["kind"], event["reason"]) for event in events]


def test_another_subject_is_refused_and_the_challenge_stays_good(server, tmp_path):
    _, settings = downloaded(server)
    assert scepclient(settings, tmp_path / "wrong", common_name="somebody-else").returncode != 0
    assert scepclient(settings, tmp_path / "right").returncode == 0


def test_a_made_up_challenge_is_refused(server, tmp_path):
    _, settings = downloaded(server)
    assert scepclient(settings, tmp_path, challenge="made-up").returncode != 0


def test_a_superseded_challenge_is_refused(server, tmp_path):
    accounts = {each["username"]: each for each in json.loads(server.flask("demo-accounts", "--json"))}
    invitation = json.loads(server.flask("invite", "employee2", "--json"))
    employee = Employee(server.url)
    first = employee.walk(
        invitation["url"], "employee2", accounts["employee2"]["password"], lambda: invitation["passcode"]
    )
    employee.download()
    settings = payload_of(IPhone().open_profile(first), "com.apple.security.scep")["PayloadContent"]
    assert scepclient(settings, tmp_path).returncode != 0
