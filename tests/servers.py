"""A running portal for tests that need processes: web and worker, on SQLite or the test's PostgreSQL."""

import contextlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portal.simulator.server import Server, running
from tests import databases
from tests.factories import phone_key


@contextlib.contextmanager
def portal_server(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A started portal with its data in ``folder``; how it ends by itself is the business of ``make run``'s test."""
    database = databases.create() if databases.SERVER else ""
    variables = {"PORTAL_DATABASE_URL": databases.named(database)} if database else {}
    try:
        with running(folder, {**variables, **(environment or {})}) as started:
            yield started
            started.kill()
    finally:
        if database:
            databases.drop(database)


class Cast:
    """The demo's people on a running portal."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.accounts = {each["username"]: each for each in json.loads(server.flask("demo-accounts", "--json"))}

    def password(self, username: str) -> str:
        return str(self.accounts[username]["password"])

    def invite(self, username: str) -> dict[str, str]:
        return dict(json.loads(self.server.flask("invite", username, "--json")))

    def status(self, invitation: dict[str, str]) -> dict[str, Any]:
        return self.server.status(invitation["id"])

    @property
    def data(self) -> Path:
        return Path(self.server.environment["PORTAL_DATA_DIR"])


def loopback_certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) files for 127.0.0.1 and localhost, signed by themselves."""
    key, now = phone_key(3), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
