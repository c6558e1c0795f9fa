"""How mails travel: by SMTP, or as files in the demo."""

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from typing import Protocol

from portal.settings import Settings
from portal.settings.schema import Mail

FOLDER = "outbox"


class Undeliverable(Exception):
    """This mail will never be accepted (a lasting refusal); trying again is useless."""


class NotDelivered(Exception):
    """The mail could not be handed over now; try again later."""


class Transport(Protocol):
    """Hands one message over. Raises NotDelivered or Undeliverable, with a reason without secrets."""

    def send(self, message_id: str, message: EmailMessage, now: datetime) -> None: ...


class FileTransport:
    """Writes ``.eml`` files, for the demo."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message_id: str, message: EmailMessage, now: datetime) -> None:
        """Write the message under a name that sorts by time; sending it again replaces the file."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for earlier in self._folder.glob(f"*-{message_id}.eml"):
                earlier.unlink()
            path = self._folder / f"{now:%Y%m%dT%H%M%S}-{message_id}.eml"
            path.write_bytes(message.as_bytes(policy=SMTP_POLICY))
        except OSError as error:
            raise NotDelivered(f"cannot write: {error.strerror}") from error


class SmtpTransport:
    """Hands over to an SMTP server; with STARTTLS or TLS its certificate is verified."""

    def __init__(self, settings: Mail) -> None:
        self._settings = settings

    def send(self, message_id: str, message: EmailMessage, now: datetime) -> None:
        """See Transport."""
        try:
            with self._connect() as server:
                server.send_message(message, to_addrs=[each.addr_spec for each in message["To"].addresses])
        except smtplib.SMTPRecipientsRefused as error:
            code = max(code for code, _ in error.recipients.values())
            if code >= 500:
                raise Undeliverable(f"address refused ({code})") from error
            raise NotDelivered(f"address refused for now ({code})") from error
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"mail server answered {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(f"mail server: {type(error).__name__}") from error

    def _connect(self) -> smtplib.SMTP:
        mail = self._settings
        if mail.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                mail.host, mail.port, timeout=mail.timeout_seconds, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(mail.host, mail.port, timeout=mail.timeout_seconds)
        try:
            if mail.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if mail.username:
                server.login(mail.username, mail.password)
        except BaseException:
            server.close()
            raise
        return server


def open_transport(settings: Settings) -> Transport:
    """The configured way for mails."""
    if settings.mail.transport == "file":
        return FileTransport(settings.data / FOLDER)
    return SmtpTransport(settings.mail)
