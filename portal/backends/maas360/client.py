"""MaaS360's web services over HTTP: signing in, asking, reading answers; nothing that is not in ``CALLS``.

An answer is good if its body says so: MaaS360 sends ``errorCode`` under whatever root the call has, also with status
200. One token serves a whole process; it is renewed once, by whoever notices first. Sources of each shape: ``names``.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx

from portal import bounded
from portal.backends.base import BackendDown
from portal.backends.maas360 import records
from portal.backends.maas360.names import CALLS, Vocabulary
from portal.backends.maas360.records import DeviceRecord, UserRecord
from portal.settings.schema import MaaS360

TOKEN_SECONDS = 50 * 60
"""After that a token is renewed; MaaS360 takes it for 60 minutes."""
CREDENTIALS, EXPIRED, BILLING_ID, INVALID = 1002, 1007, 1008, 1009
TOKEN_GONE = (EXPIRED, INVALID)
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes, unpacked."""
PAGE_SIZE = 250
MOST_PAGES = 400
TRIAL_PAGE_SIZE = 25
WAITS = (5.0, 15.0, 60.0, 300.0)
"""Seconds of rest after each failure in a row; the last one again and again."""
LONGEST_REST = 900.0
DEADLINE = 3
"""An answer has come after so many times the time-out, however slowly it drips."""
GUESSED = ("check_action", "device_actions")
"""Calls whose answers nobody could verify: one that cannot be read is no outage."""
HOSTS = {"1": "https://services.fiberlink.com"} | {n: f"https://services.m{n}.maas360.com" for n in "2346"}
"""By the first digit of the billing ID; a guess, which ``[maas360] host`` replaces."""

_NUMBER = re.compile(r"[0-9]{1,9}")
"""Of an errorCode, which may come as text, as a fraction, or with letters before it."""

log = logging.getLogger("portal.maas360")


class Refused(Exception):
    """MaaS360 answered, and says no: ``code`` is its number. Its own words may name the device: they are never kept."""

    def __init__(self, code: int, says: str) -> None:
        super().__init__(says)
        self.code = code


def host_of(chosen: MaaS360) -> str:
    """The address of the web services; empty if it is neither set nor can be guessed."""
    return chosen.host.rstrip("/") or HOSTS.get(chosen.billing_id[:1], "")


class Client:
    """One account at MaaS360's web services; safe for threads."""

    def __init__(self, chosen: MaaS360, transport: httpx.BaseTransport | None = None) -> None:
        self.names = Vocabulary(chosen.names)
        self._chosen = chosen
        self._http = httpx.Client(
            base_url=host_of(chosen),
            headers={"Accept": "application/json"},
            timeout=chosen.timeout_seconds,
            transport=transport,
            event_hooks=bounded.within(LARGEST_ANSWER, DEADLINE * chosen.timeout_seconds),
        )
        self._renewing = threading.Lock()
        self._token, self._token_until, self._refresh_token = "", 0.0, ""
        self._failures, self._rests_until, self._trouble = 0, 0.0, ""

    @property
    def trouble(self) -> str:
        """Why MaaS360 did not answer sensibly when it was asked last; empty if it did."""
        return self._trouble

    def note(self, reason: str) -> None:
        """Something that the portal relies on is refused: told as long as nothing else is answered."""
        log.warning("maas360.refused reason=%s", reason)
        self._trouble = reason

    # --- what is asked -------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        """Get a token if there is none. Raises BackendDown with why not."""
        self._token_now("")

    def users(self, email: str) -> list[UserRecord]:
        """Users with exactly this e-mail address, with devices or without. Raises BackendDown."""
        query = {"partialEmailAddress": email, "match": "1", "includeAllUsers": "1", "pageSize": "25"}
        found = records.users(self.call("search_users", {**query, "pageNumber": "1"}))
        return [each for each in found if each.email.casefold() == email.casefold()]

    def devices_of(self, email: str) -> list[DeviceRecord]:
        """The iPhones and iPads of the user with exactly this address, whatever their state. Raises BackendDown."""
        found = [each for status in ("Active", "InActive") for each in self._devices(email=email, deviceStatus=status)]
        return [each for each in found if each.email.casefold() == email.casefold()]

    def all_devices(self) -> Iterator[DeviceRecord]:
        """Every iPhone and iPad, page by page. Raises BackendDown."""
        for status in ("Active", "InActive"):
            yield from self._devices(deviceStatus=status)

    def trial(self) -> int:
        """Sign in and read one page; how many devices there are. Raises BackendDown, Refused."""
        root = self.call("search_devices", {"pageSize": str(TRIAL_PAGE_SIZE), "pageNumber": "1"})
        return records.whole(root, "count") or 0

    def _devices(self, **query: str) -> Iterator[DeviceRecord]:
        asked = {"platformName": "iOS", **query, "pageSize": str(PAGE_SIZE)}
        seen: set[str] = set()
        for number in range(1, MOST_PAGES + 1):
            root = self.call("search_devices", {**asked, "pageNumber": str(number)})
            found = [each for each in records.devices(root) if each.server_id not in seen]
            seen |= {each.server_id for each in found}
            yield from (each for each in found if each.platform.casefold() in ("ios", ""))
            # The end: an empty page (pageSize 0), one that is not full, or one that was there before.
            if not found or len(records.rows(root, "device")) < PAGE_SIZE:
                return

    def call(self, name: str, values: dict[str, str]) -> dict[str, Any]:
        """One of ``CALLS``: what stands under the root of its answer. Raises Refused, BackendDown.

        Nothing of it may be kept or logged but what ``records`` takes.
        """
        token = self._token_now("")
        status, told = self._ask(name, token, values)
        if _error(told)[0] in TOKEN_GONE or (status == 401 and _error(told)[0] != BILLING_ID):
            status, told = self._ask(name, self._token_now(token), values)
        code, says = _error(told)
        if code == BILLING_ID:
            raise self._down("billing_id")
        if code in (CREDENTIALS, *TOKEN_GONE) or status == 401:
            raise self._down("credentials")
        if status == 403:
            raise Refused(status, says or "the account has no right to that")
        if code or status >= 400:
            raise Refused(code or status, says or f"status {status}")
        self._failures, self._trouble = 0, ""
        return _root(told)

    # --- tokens --------------------------------------------------------------------------------------------------

    def _token_now(self, gone: str) -> str:
        """The token of this process, a new one if it is old or is the one that is ``gone``. Raises BackendDown."""
        if self._token not in ("", gone) and time.monotonic() < self._token_until:
            return self._token
        with self._renewing:
            if self._token not in ("", gone) and time.monotonic() < self._token_until:
                return self._token  # somebody was faster
            told = self._renewed() or self._signed_in()
            self._token = records.text(told, "authToken")
            self._refresh_token = records.text(told, "refreshToken")
            self._token_until = time.monotonic() + TOKEN_SECONDS
            if not self._token:
                raise self._down("no_token")
            return self._token

    def _renewed(self) -> dict[str, Any] | None:
        """With the refresh token, if there is one and it is still taken."""
        refresh, self._refresh_token = self._refresh_token, ""
        if not refresh:
            return None
        status, told = self._ask("refresh_token", "", {}, body=self._account(refreshToken=refresh))
        return _root(told) if status == 200 and not _error(told)[0] else None

    def _signed_in(self) -> dict[str, Any]:
        chosen = self._chosen
        if not (
            host_of(chosen) and chosen.billing_id and chosen.app_access_key and chosen.username and chosen.password
        ):
            raise BackendDown("not_set_up")
        account = self._account(appAccessKey=chosen.app_access_key, password=chosen.password)
        name = "authenticate_2" if chosen.authentication == "2.0" else "authenticate_1"
        status, told = self._ask(name, "", {}, body=account)
        code = _error(told)[0]
        if code == BILLING_ID:
            raise self._down("billing_id")
        if code or status >= 400:
            raise self._down("credentials" if code in (0, CREDENTIALS) else f"sign_in_{code}")
        return _root(told)

    def _account(self, **secrets: str) -> dict[str, Any]:
        chosen = self._chosen
        public = {
            "billingID": chosen.billing_id,
            "platformID": chosen.platform_id,
            "appID": chosen.app_id,
            "appVersion": chosen.app_version,
            "userName": chosen.username,
        }
        return {"authRequest": {"maaS360AdminAuth": {**public, **secrets}}}

    # --- one request ---------------------------------------------------------------------------------------------

    def _ask(
        self, name: str, token: str, values: dict[str, str], body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON. Raises BackendDown if there is no sensible answer, or it is time to rest."""
        if time.monotonic() < self._rests_until:
            raise BackendDown(self._trouble or "paused")
        wanted = CALLS[name]
        path = wanted.path.replace("{billing}", self._chosen.billing_id)
        headers = {"Authorization": f'MaaS token="{token}"'} if token else {}
        sent: dict[str, Any] = {"json": body} if body is not None else {"data": values}
        if wanted.method == "GET":
            sent = {"params": values}
        try:
            answer = self._http.request(wanted.method, path, headers=headers, **sent)
        except httpx.TimeoutException:
            raise self._down("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("maas360.unreachable error=%s", type(error).__name__)
            raise self._down("unreachable") from None
        if answer.status_code == 429 or answer.status_code >= 500 or answer.is_redirect:
            raise self._down(f"status_{answer.status_code}", _seconds(answer.headers.get("Retry-After", "")))
        try:
            told = bounded.document(answer.content)
        except ValueError:
            if answer.status_code >= 400:  # MaaS360 says nothing useful with a 400
                return answer.status_code, {}
            if name in GUESSED:
                raise Refused(0, "not JSON") from None
            raise self._down("not_json") from None
        return answer.status_code, told

    def _down(self, reason: str, rest: float | None = None) -> BackendDown:
        """Nothing is asked for a while, which grows with each failure in a row; ``rest``: as long as it asked for."""
        wait = WAITS[min(self._failures, len(WAITS) - 1)]
        self._failures, self._trouble = self._failures + 1, reason
        self._rests_until = time.monotonic() + min(max(wait, rest or 0), LONGEST_REST)
        log.warning("maas360.down reason=%s", reason)
        return BackendDown(reason)


def _root(told: dict[str, Any]) -> dict[str, Any]:
    """What stands under the one root of an answer, whatever that is called."""
    under = list(told.values())
    return under[0] if len(under) == 1 and isinstance(under[0], dict) else told


def _error(told: dict[str, Any]) -> tuple[int, str]:
    """(errorCode, errorDesc) of an answer; (0, "") if it is good."""
    root = _root(told)
    found = _NUMBER.search(records.text(root, "errorCode"))
    number = int(found[0]) if found is not None else 0
    return number, records.text(root, "errorDesc", "description") if number else ""


def _seconds(told: str) -> float | None:
    return float(told) if told.isascii() and told.isdigit() and len(told) < 6 else None
