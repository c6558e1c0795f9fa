"""Apple's Apps and Books management API, version 2, over HTTP: asking, reading answers, knowing whom they are for.

Every answer's ``errorNumber`` is looked at, also of one with status 200, which Apple has sent for a bad token; and its
``mdmInfo``: two servers that give the same licenses undo each other's work, so another server's claim stops everything.
Addresses are made from the base address alone: what Apple's own list of addresses says would be sent the token, too.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from portal import bounded
from portal.apps_and_books import answers
from portal.apps_and_books.answers import Asset, Claim, Event, Limits, Location, User

TIMEOUT_SECONDS, LONGEST_SECONDS = 20.0, 60.0
"""For each piece of an answer, and for the whole."""
LARGEST = 16 * 1024 * 1024
"""Bytes of an answer."""
MOST_PAGES = 2000
LONGEST_WAIT_SECONDS = 3600
"""Apple's Retry-After is believed up to that."""

log = logging.getLogger("portal.apps_and_books")


class Unavailable(Exception):
    """Apple did not answer sensibly: the same again later. ``reason`` is a code, ``wait`` what Apple asked for (s).

    ``unsure``: what was asked may have been done all the same.
    """

    def __init__(self, reason: str, wait: int = 0, *, unsure: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.unsure = reason, wait, unsure


class Refused(Exception):
    """Apple says no: ``number`` says to what."""

    def __init__(self, number: int) -> None:
        super().__init__(str(number))
        self.number = number


class TokenGone(Exception):
    """The token is not taken any more: an admin has to act. ``number`` says why."""

    def __init__(self, number: int) -> None:
        super().__init__(str(number))
        self.number = number


class ClaimedElsewhere(Exception):
    """The location belongs to another device management server."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.name)
        self.claim = claim


class OtherLocation(Exception):
    """The token is about another location than before."""


class Client:
    """One location. ``own``: the id under which this portal claims it; ``uid``: the location, once it is known."""

    def __init__(
        self,
        base: str,
        token: str,
        own: str,
        uid: str = "",
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.asked = 0
        """Requests so far."""
        self.limits = Limits()
        self.expires: datetime | None = None
        """When the token ends, if Apple said so."""
        self._own, self._uid, self._sleep = own, uid, sleep
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "enrollment-portal"}
        self._http = httpx.Client(
            base_url=base.rstrip("/"),
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            event_hooks=bounded.within(LARGEST, LONGEST_SECONDS),
        )
        self._pace, self._last = threading.Lock(), 0.0

    def close(self) -> None:
        """Give up its connections."""
        self._http.close()

    # --- the location ------------------------------------------------------------------------------------------

    def read_limits(self) -> Limits:
        """How much a request may ask; kept for those that follow. Raises Unavailable, Refused, TokenGone."""
        self.limits = answers.limits(self._ask("GET", "/service/config"))
        return self.limits

    def location(self) -> Location:
        """Whose licenses these are, and who claims them; another server's claim is told, not raised.

        Raises Unavailable, Refused, TokenGone.
        """
        return answers.location(self._ask("GET", "/client/config", claimed_ok=True))

    def claim(self, name: str) -> Location:
        """Claim the location for this portal, whoever had it. Raises Unavailable, Refused, TokenGone."""
        body = {"mdmInfo": {"id": self._own, "name": name[:100], "metadata": ""}}
        return answers.location(self._ask("POST", "/client/config", json=body, claimed_ok=True))

    # --- licenses ------------------------------------------------------------------------------------------------

    def assets(self) -> list[Asset]:
        """Every app that there are licenses for.

        Raises Unavailable, Refused, TokenGone, ClaimedElsewhere, OtherLocation.
        """
        return [each for row in self._pages("/assets", "assets") if (each := answers.asset(row)) is not None]

    def user(self, client_id: str) -> User | None:
        """Somebody by our id, if Apple knows them. Raises as ``assets``."""
        return next(iter(self._users(clientUserId=client_id)), None)

    def users_of(self, account: str) -> list[User]:
        """Those with a Managed Apple Account. Raises as ``assets``."""
        return self._users(managedAppleId=account)

    def _users(self, **query: str) -> list[User]:
        return [answers.user(row) for row in self._about_user("/users", "users", activeOnly="true", **query)]

    def assigned(self, client_id: str) -> set[str]:
        """What somebody has: adam ids; nothing, if Apple does not know them. Raises as ``assets``."""
        rows = self._about_user("/assignments", "assignments", clientUserId=client_id)
        return {answers.text(row, "adamId") for row in rows}

    def _about_user(self, path: str, key: str, **query: str) -> list[Mapping[str, Any]]:
        """Nothing is told of somebody whom Apple does not know, nor refused."""
        try:
            return list(self._pages(path, key, **query))
        except Refused as refusal:
            if refusal.number != answers.USER_UNKNOWN:
                raise
            return []

    def holders(self, adam_id: str) -> set[str]:
        """Who has an app: our ids. Raises as ``assets``."""
        rows = self._pages("/assignments", "assignments", adamId=adam_id)
        return {answers.text(row, "clientUserId") for row in rows} - {""}

    # --- what Apple does by and by: each gives the id of an event ------------------------------------------------

    def create_users(self, users: Sequence[tuple[str, str]]) -> str:
        """Make users known: our id and the Managed Apple Account of each. Raises as ``assets``."""
        rows = [{"clientUserId": client_id, "managedAppleId": account} for client_id, account in users]
        return self._begin("/users/create", {"users": rows})

    def retire_users(self, client_ids: Sequence[str]) -> str:
        """Give users up. Raises as ``assets``."""
        return self._begin("/users/retire", {"users": [{"clientUserId": each} for each in client_ids]})

    def associate(self, assets: Sequence[tuple[str, str]], client_ids: Sequence[str]) -> str:
        """Give each of these apps (adam id, pricing) to each of these users. Raises as ``assets``."""
        return self._begin("/assets/associate", _given(assets, client_ids))

    def disassociate(self, assets: Sequence[tuple[str, str]], client_ids: Sequence[str]) -> str:
        """Take each of these apps from each of these users. Raises as ``assets``."""
        return self._begin("/assets/disassociate", _given(assets, client_ids))

    def event(self, event_id: str) -> Event:
        """How far something is. Raises as ``assets``."""
        return answers.event(self._ask("GET", "/status", params={"eventId": event_id}))

    def _begin(self, path: str, body: Mapping[str, Any]) -> str:
        event_id = answers.text(self._ask("POST", path, json=body), "eventId")
        if not event_id:
            raise Unavailable("unexpected", unsure=True)
        return event_id

    # --- HTTP ------------------------------------------------------------------------------------------------------

    def _pages(self, path: str, key: str, **query: str) -> Iterator[Mapping[str, Any]]:
        version, index = None, 0
        for _ in range(MOST_PAGES):
            told = self._ask("GET", path, params={**query, "pageIndex": str(index)})
            rows, following = told.get(key), told.get("nextPageIndex")
            if version is not None and told.get("versionId") != version:
                raise Unavailable("changed_meanwhile")
            version = told.get("versionId")
            yield from (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
            if type(following) is not int:
                return
            if following <= index:
                raise Unavailable("unexpected")
            index = following
        raise Unavailable("unexpected")

    def _ask(self, method: str, path: str, *, claimed_ok: bool = False, **request: Any) -> dict[str, Any]:
        writes = method == "POST"
        self._wait_for_turn()
        self.asked += 1
        try:
            answer = self._http.request(method, path, **request)
        except bounded.TooLarge:
            raise Unavailable("unexpected", unsure=writes) from None
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise Unavailable("unreachable") from None
        except httpx.HTTPError:
            raise Unavailable("unreachable", unsure=writes) from None
        told = _json(answer.content)
        number = answers.number(told or {})
        _check(answer, number, writes)
        if told is None:
            raise Unavailable("unexpected", unsure=writes)
        self.expires = answers.expiry(told) or self.expires
        claim, uid = answers.claim(told), answers.text(told, "uId")
        if self._uid and uid and uid != self._uid:
            raise OtherLocation
        if claim is not None and claim.id != self._own and not claimed_ok:
            raise ClaimedElsewhere(claim)
        return told

    def _wait_for_turn(self) -> None:
        with self._pace:
            wait = self._last + 1 / self.limits.requests_per_second - time.monotonic()
            if wait > 0:
                self._sleep(wait)
            self._last = time.monotonic()


def _given(assets: Sequence[tuple[str, str]], client_ids: Sequence[str]) -> dict[str, Any]:
    rows = [{"adamId": adam_id, "pricingParam": pricing} for adam_id, pricing in assets]
    return {"assets": rows, "clientUserIds": list(client_ids)}


def _check(answer: httpx.Response, number: int, writes: bool) -> None:
    """Raises for an answer that is none."""
    if number or answer.status_code != 200:
        log.warning("apps_and_books.refused status=%s error_number=%s", answer.status_code, number)
    if number in answers.ADMIN_ACTS or (answer.status_code == 401 and not number):
        raise TokenGone(number or 9622)
    if number in answers.LATER or answer.status_code == 429:
        raise Unavailable("too_many" if number != 9603 else "internal", _wait(answer), unsure=writes and number == 9603)
    if answer.status_code >= 500:
        raise Unavailable("internal", _wait(answer), unsure=writes)
    if number or answer.status_code != 200:
        raise Refused(number or answer.status_code)


def _wait(answer: httpx.Response) -> int:
    """Seconds that Apple asks for; its dates are not read: the portal's own waits do."""
    asked = answer.headers.get("retry-after", "").strip()
    return min(int(asked), LONGEST_WAIT_SECONDS) if asked.isascii() and asked.isdecimal() and len(asked) < 9 else 0


def _json(content: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
