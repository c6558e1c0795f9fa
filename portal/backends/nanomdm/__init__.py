"""Devices managed by a NanoMDM server (v0.9.0): commands go to its API, what devices say comes back as webhooks.

Facts: github.com/micromdm/nanomdm v0.9.0, its operations guide and source; each was tried against the real server.
NanoMDM trusts the certificates of the portal's CA and checks every message's signature. It knows nothing of tokens and
revocation, and lets a certificate speak for whatever EnrollmentID its Authenticate names. So the proxy in front of it
asks the portal about each connection (``web/apple/authorize.py``), and sends check-ins through it
(``web/apple/mdm.py``).
"""

import contextlib
import logging
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx
from circuitbreaker import CircuitBreaker
from sqlalchemy.orm import Session

from portal import bounded
from portal.backends import reconciling
from portal.backends.base import BackendDown, CommandRefused, Duties, Health, OutgoingCommand
from portal.backends.nanomdm import events
from portal.database import Database
from portal.enrollment import allowed
from portal.enrollment.profile import Management
from portal.kept import Kept
from portal.settings import Settings
from portal.storage.cases import Cases
from portal.vault import Vault

USERNAME = "nanomdm"
FAILURES_TO_PAUSE = 3
PAUSE_SECONDS = 10
LARGEST_ANSWER = 8 * 1024 * 1024
HEALTH_SECONDS = 3.0
"""How old the answer to "is it up" may be."""
HEALTH_TIMEOUT_SECONDS = 2.0
ALREADY_QUEUED = ("already exists", "duplicate")
"""How its storages (inmem and filekv; pgsql and mysql) complain of a CommandUUID that they have."""
NEVER = {"foreign key": "NanoMDM does not know this device", "decoding command": "NanoMDM cannot read the command"}
"""Complaints that no repetition changes."""

log = logging.getLogger("portal.nanomdm")


class NanoMdmBackend:
    """The Backend that delegates to NanoMDM."""

    name = "nanomdm"
    does = Duties()
    elsewhere = None
    keeps_queue = True
    wakes_devices = True

    def __init__(self, settings: Settings, topic: str, transport: httpx.BaseTransport | None = None) -> None:
        chosen = settings.nanomdm
        self.topic = topic
        self._server_url = chosen.server_url
        self._public = settings.url("/mdm")
        self._http = httpx.Client(
            base_url=chosen.api_url,
            auth=(USERNAME, chosen.api_key),
            timeout=chosen.timeout_seconds,
            transport=transport,
            event_hooks=bounded.within(LARGEST_ANSWER, chosen.timeout_seconds),
        )
        self._breaker = CircuitBreaker(FAILURES_TO_PAUSE, PAUSE_SECONDS, BackendDown, name="nanomdm")
        self._health = Kept(HEALTH_SECONDS, first=Health(ready=True))

    def management(self, profile_id: str) -> Management:
        """See Backend. By default the portal's own address: the proxy there forwards it.

        The query tells whose device it is; where a proxy asks the portal, it puts the reference in by itself from the
        device's certificate. That iOS keeps the query is likely, but not confirmed [?].
        """
        reference = "?" + urlencode({events.REFERENCE: profile_id})
        if self._server_url:
            return Management(self._server_url + reference, self._server_url + reference, self.topic)
        return Management(f"{self._public}/connect{reference}", f"{self._public}/checkin{reference}", self.topic)

    def health(self) -> Health:
        """See Backend. Asked at most every few seconds."""
        return self._health.get(self._probe)

    def hand_over(self, outgoing: OutgoingCommand) -> str | None:
        """See Backend. 500 may mean that only the push failed: the answer says whether the command was taken."""
        if not allowed.ENROLLMENT_ID.fullmatch(outgoing.enrollment_id):
            raise CommandRefused("an EnrollmentID that NanoMDM cannot be asked about")
        answer = self._ask("PUT", f"/v1/enqueue/{outgoing.enrollment_id}", outgoing.payload)
        told = _told(answer, 200, 207, 500)
        status = told.get("status") or {}
        one = status.get(outgoing.enrollment_id) or {}
        complaint = str(told.get("command_error") or one.get("command_error") or "")
        if complaint and not any(each in complaint.casefold() for each in ALREADY_QUEUED):
            for sign, why in NEVER.items():
                if sign in complaint.casefold():
                    raise CommandRefused(why)
            log.warning("nanomdm.command_error error=%r", complaint[:200])
            raise BackendDown("storage")
        if complaint:  # it was taken before, and its answer lost: only the waking is left to do
            return self._wake(outgoing.enrollment_id)
        return _push_problem(told, one)

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """See Backend; what its webhooks stored."""
        return events.take_up(database, vault, settings, self.topic)

    def next_due(self, session: Session) -> datetime | None:
        """See Backend; when the next webhook that waits is to be taken up."""
        return events.next_due(session)

    def look_after(self, cases: Cases) -> int:
        """See Backend; lost answers and webhooks are found."""
        return reconciling.reconcile(cases)

    def pass_on(self, message: bytes, signature: str, profile_id: str, kind: str) -> bytes:
        """See Backend; the query tells its webhook whose device it is."""
        headers = {"Content-Type": kind, "Mdm-Signature": signature}
        answer = self._ask("PUT", f"/mdm?{urlencode({events.REFERENCE: profile_id})}", message, headers=headers)
        if answer.status_code != 200:
            raise BackendDown(f"status_{answer.status_code}")
        return answer.content

    def take_push_certificate(self, identity: str) -> None:
        """See Backend; it keeps the certificate under its topic."""
        answer = self._ask("PUT", "/v1/pushcert", identity.encode())
        told = _told(answer, 200, 400)
        if answer.status_code == 400:
            raise CommandRefused(str(told.get("error", ""))[:200])

    def _wake(self, enrollment_id: str) -> str | None:
        told = _told(self._ask("GET", f"/v1/push/{enrollment_id}"), 200, 207, 500)
        return _push_problem(told, (told.get("status") or {}).get(enrollment_id) or {})

    def _probe(self) -> Health:
        try:
            # Without a body nothing is stored; the complaint shows that the key is right.
            answer = self._ask("GET", "/v1/pushcert", timeout=HEALTH_TIMEOUT_SECONDS)
        except BackendDown as down:
            return Health(ready=False, reason=down.reason)
        if answer.status_code >= 500:
            return Health(ready=False, reason=f"status_{answer.status_code}")
        return Health(ready=True)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        timeout: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        if self._breaker.opened:
            raise BackendDown("paused")
        limit = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        with self._breaker:
            try:
                answer = self._http.request(method, path, content=body, timeout=limit, headers=headers)
            except httpx.TimeoutException:
                raise BackendDown("timeout") from None
            except httpx.HTTPError as error:
                log.warning("nanomdm.unreachable error=%s", type(error).__name__)
                raise BackendDown("unreachable") from None
            if answer.status_code in (401, 403):
                raise BackendDown("api_key")
            return answer


def _told(answer: httpx.Response, *fine: int) -> dict[str, Any]:
    """The JSON of an answer of NanoMDM itself. Raises BackendDown for anybody else's, e.g. a proxy's."""
    if answer.status_code in fine:
        with contextlib.suppress(ValueError):
            return bounded.document(answer.content)
    raise BackendDown(f"status_{answer.status_code}")


def _push_problem(told: dict[str, Any], one: dict[str, Any]) -> str | None:
    complaint = str(told.get("push_error") or one.get("push_error") or "").casefold()
    if not complaint:
        return None
    log.info("nanomdm.not_woken error=%r", complaint[:200])
    return "push_data_missing" if "push data missing" in complaint else "push_failed"
