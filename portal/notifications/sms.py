"""How text messages travel: by an SMS gateway's HTTP interface, or as files in the demo."""

from datetime import datetime
from email.message import EmailMessage

import httpx

from portal import bounded
from portal.notifications import messages
from portal.notifications.email import FOLDER, FileTransport, NotDelivered, Transport, Undeliverable
from portal.settings import Settings
from portal.settings.schema import Sms

LARGEST_ANSWER = 64 * 1024
TRY_AGAIN = {408, 425, 429}
"""Statuses below 500 that only mean "later" (RFC 9110, RFC 6585, RFC 8470)."""


class NoGateway:
    """No SMS gateway is configured (any more): what waits is kept for when there is one."""

    def send(self, message_id: str, message: EmailMessage, now: datetime) -> None:
        """See Transport."""
        raise NotDelivered("no SMS gateway")


class HttpGateway:
    """Hands a message over with one POST; number and text go into the fields that the gateway names so."""

    def __init__(self, settings: Sms) -> None:
        self._settings = settings

    def send(self, message_id: str, message: EmailMessage, now: datetime) -> None:
        """See Transport. The gateway's certificate is verified and redirects are not followed."""
        chosen = self._settings
        fields = dict(each.split("=", 1) for each in chosen.fields)
        fields |= {chosen.to_field: str(message[messages.PHONE]), chosen.text_field: message.get_content().strip()}
        headers = {"Authorization": chosen.authorization_secret} if chosen.authorization_secret else {}
        try:
            hooks = bounded.within(LARGEST_ANSWER, chosen.timeout_seconds)
            with httpx.Client(timeout=chosen.timeout_seconds, event_hooks=hooks) as gateway:
                if chosen.format == "json":
                    answer = gateway.post(chosen.url, json=fields, headers=headers)
                else:
                    answer = gateway.post(chosen.url, data=fields, headers=headers)
        except httpx.HTTPError as error:
            raise NotDelivered(f"SMS gateway: {type(error).__name__}") from error
        if answer.is_success:
            return
        if answer.is_client_error and answer.status_code not in TRY_AGAIN:
            raise Undeliverable(f"SMS gateway answered {answer.status_code}")
        raise NotDelivered(f"SMS gateway answered {answer.status_code}")


def open_gateway(settings: Settings) -> Transport:
    """The configured way for text messages."""
    if settings.sms.transport == "http":
        return HttpGateway(settings.sms)
    return FileTransport(settings.data / FOLDER) if settings.sms.transport == "file" else NoGateway()
