"""Mail through a real SMTP server: STARTTLS with a verified certificate, authentication, refusals, outages."""

import email
import email.policy
import socket
import ssl
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from portal import clock as portal_clock
from portal.notifications import outbox
from portal.notifications.email import NotDelivered, SmtpTransport, Undeliverable
from portal.settings.schema import Mail
from portal.simulator.server import free_port
from tests.servers import loopback_certificate


class Mailbox:
    """What the server takes, and whom it refuses."""

    def __init__(self):
        self.messages = []
        self.refusals = {}

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802  (aiosmtpd's name)
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.messages.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@pytest.fixture
def certificate(tmp_path):
    """(certificate, key) files for 127.0.0.1 and localhost."""
    return loopback_certificate(tmp_path)


@pytest.fixture
def mailbox(certificate):
    """A server on loopback that wants STARTTLS and a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    box = Mailbox()

    def login(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"portal", b"secret"))

    class Server(Controller):
        def factory(self):
            return SMTP(
                self.handler, tls_context=context, require_starttls=True, auth_required=True, authenticator=login
            )

    controller = Server(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


def transport(port, **changes):
    values = {"transport": "smtp", "sender": "Portal <no-reply@example.com>", "host": "127.0.0.1", "port": port,
              "security": "starttls", "username": "portal", "password": "secret", "timeout_seconds": 3}  # fmt: skip
    return SmtpTransport(Mail(**{**values, **changes}))


def message(to="erika@example.com"):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "no-reply@example.com", to, "Hello"
    made.set_content("Text")
    return made


def send(sender, *arguments):
    sender.send("1", message(*arguments), portal_clock.now())


def test_a_mail_arrives_over_starttls_with_a_password(mailbox, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    send(transport(mailbox.port))
    assert mailbox.messages[0]["Subject"] == "Hello"


def test_an_unknown_certificate_is_never_accepted(mailbox, monkeypatch, tmp_path):
    (tmp_path / "empty.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(NotDelivered, match="SSLCertVerificationError"):
        send(transport(mailbox.port))
    assert mailbox.messages == []


def test_a_wrong_password_is_a_reason_without_the_password(mailbox, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with pytest.raises(NotDelivered) as refusal:
        send(transport(mailbox.port, password="wrong-one"))
    assert "wrong-one" not in str(refusal.value)
    assert mailbox.messages == []


def test_lasting_and_passing_refusals_are_told_apart(mailbox, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    mailbox.refusals = {"gone@example.com": "550 no such user", "full@example.com": "452 mailbox full"}
    with pytest.raises(Undeliverable, match="550"):
        send(transport(mailbox.port), "gone@example.com")
    with pytest.raises(NotDelivered, match="452"):
        send(transport(mailbox.port), "full@example.com")


def test_a_server_that_is_down_or_silent_is_tried_again_later():
    with pytest.raises(NotDelivered, match="ConnectionRefusedError"):
        send(transport(free_port()))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NotDelivered, match=r"TimeoutError|SMTPServerDisconnected"):
            send(transport(silent.getsockname()[1], timeout_seconds=1))


def test_an_invitation_survives_an_outage_and_arrives(company, mailbox, certificate, monkeypatch, clock):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    invitation = company.invite(company.person())
    portal = company.portal
    outbox.deliver_due(portal.database, portal.vault, transport(free_port()))
    assert ("mail.delayed", "invitation") in company.events(invitation)
    clock.forward(minutes=1)
    outbox.deliver_due(portal.database, portal.vault, transport(mailbox.port))
    assert invitation.passcode in mailbox.messages[0].get_body(("plain",)).get_content()
    assert ("mail.sent", "invitation") in company.events(invitation)
