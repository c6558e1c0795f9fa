"""Waking devices through Apple's push service, over HTTP/2 with the MDM push certificate.

A push says nothing but "come": the device connects and fetches what waits for it. Apple keeps the newest push for a
device that is off. Facts: developer.apple.com, "Sending notification requests to APNs", "Handling notification
responses from APNs", "Sending MDM commands to a device", "Dealing with inactive MDM devices and invalid push tokens".
Apple's own service took no part in the tests; which of its refusals concern one device and which everybody is read off
those pages [?].
"""

import logging
import ssl
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx

from portal import bounded, clock
from portal.backends.base import BackendDown, CommandRefused
from portal.pki.uploads import valid_until

TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER = 64 * 1024
KEEP_SECONDS = 600.0
"""How long an idle connection stays open; Apple asks not to open one for each push."""
KEPT_SECONDS = 7 * 24 * 3600
"""How long Apple keeps a push for a device that is off."""
NOBODY = "00" * 32
"""A token that no device has."""
GONE = {"BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Unregistered"}
"""Apple's reasons that concern this one device."""

log = logging.getLogger("portal.push")


@dataclass(frozen=True, slots=True)
class PushToken:
    """What a device told in its TokenUpdate: its token (hexadecimal), and the PushMagic that it waits for."""

    token: str
    magic: str


class ApplePush:
    """Apple's push service for one topic. ``identity`` is the certificate with its key in one PEM text.

    ``server`` is its address, ``folder`` where the key may lie for the moment in which OpenSSL reads it.
    """

    def __init__(self, identity: str, topic: str, server: str, folder: Path) -> None:
        self._identity, self._topic, self._server, self._folder = identity, topic, server, folder
        self._valid_until = valid_until(identity)
        self._one_at_a_time = threading.Lock()
        """One connection for the worker's threads; what fails on it then concerns one push."""

    @property
    def expired(self) -> bool:
        """Whether Apple will take nothing more from this certificate."""
        return clock.now() >= self._valid_until

    def wake(self, device: PushToken) -> str | None:
        """Have a device connect. None if Apple took the push, else a code for why this one cannot be woken.

        Raises BackendDown: nobody can be woken now.
        """
        if self.expired:
            return "push_certificate_expired"
        answer = self._send(device)
        if answer.status_code == 200:
            return None
        reason = _reason(answer)
        log.warning("push.refused status=%d reason=%s", answer.status_code, reason)
        if answer.status_code == 410 or reason in GONE:
            return "push_token_gone"
        if answer.status_code == 403:
            raise BackendDown("push_certificate_refused")
        if answer.status_code == 429 or answer.status_code >= 500:
            raise BackendDown(f"push_{answer.status_code}")
        return "push_failed"

    def check(self) -> None:
        """Whether Apple takes the certificate, asked with a push to nobody. Raises CommandRefused, BackendDown."""
        if self.expired:
            raise CommandRefused("it has expired")
        answer = self._send(PushToken(NOBODY, "check"))
        reason = _reason(answer)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise BackendDown(f"push_{answer.status_code}")
        if answer.status_code not in (200, 410) and reason not in GONE:
            raise CommandRefused(reason)

    def _send(self, device: PushToken) -> httpx.Response:
        headers = {
            "apns-topic": self._topic,
            "apns-push-type": "mdm",
            "apns-expiration": str(int(clock.now().timestamp()) + KEPT_SECONDS),
        }
        address, body = f"/3/device/{device.token}", {"mdm": device.magic}
        try:
            with self._one_at_a_time:
                try:
                    return self._http.post(address, json=body, headers=headers)
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                    # Apple may have closed the idle connection; the same push twice is one push.
                    return self._http.post(address, json=body, headers=headers)
        except httpx.TimeoutException:
            raise BackendDown("push_timeout") from None
        except (httpx.HTTPError, OSError) as error:
            log.warning("push.unreachable error=%s", type(error).__name__)
            raise BackendDown("push_unreachable") from None

    @cached_property
    def _http(self) -> httpx.Client:
        context = httpx.create_ssl_context()
        with NamedTemporaryFile(dir=self._folder, prefix="push-", suffix=".pem") as file:  # only its owner can read it
            file.write(self._identity.encode())
            file.flush()
            try:
                context.load_cert_chain(file.name)
            except ssl.SSLError:
                raise BackendDown("push_certificate_unreadable") from None
        limits = httpx.Limits(max_connections=1, keepalive_expiry=KEEP_SECONDS)
        return httpx.Client(
            base_url=self._server,
            verify=context,
            http1=False,
            http2=True,
            timeout=TIMEOUT_SECONDS,
            limits=limits,
            event_hooks=bounded.within(LARGEST_ANSWER, TIMEOUT_SECONDS),
        )


def _reason(answer: httpx.Response) -> str:
    """Apple's word for what is wrong; the status if it says none."""
    try:
        return str(bounded.document(answer.content)["reason"])[:100]
    except (ValueError, KeyError):
        return f"status {answer.status_code}"
