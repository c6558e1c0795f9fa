"""An Apps and Books that is none: Apple's published shapes, its events, limits, refusals and oddities; and a store.

It counts what it is asked, refuses what is over its limits, and notices when a license is given twice. It imports
nothing of the portal.
"""

import base64
import contextlib
import json
import struct
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

LIMITS = {
    "maxAssets": 25,
    "maxClientUserIds": 1000,
    "maxSerialNumbers": 1000,
    "maxUsers": 100,
    "maxRevokeClientUserIds": 100,
    "maxNotificationLength": 512,
    "maxRequestPerSecond": 15,
    "maxMdmIdLength": 100,
    "maxMdmNameLength": 100,
    "maxMdmMetadataLength": 255,
}
UNLIMITED = 2_147_483_647
PAGE = 300
"""Records on a page."""
Environ = dict[str, Any]
Answer = tuple[int, Any]


@dataclass
class Asset:
    """The licenses of one app."""

    adam_id: str
    name: str
    bundle_id: str
    total: int = UNLIMITED
    minimum_ios: str = "15.0"
    changes: dict[str, Any] = field(default_factory=dict)
    """What an answer says of it instead."""
    refuses: int = 0
    """The error number with which it is never given to a user."""
    families: tuple[str, ...] = ("iphone", "ipad")


@dataclass
class Event:
    """Something that is done by and by: after so many questions about it."""

    kind: str
    do: Callable[[], list[dict[str, Any]]]
    requested: int
    polls: int
    failures: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False


class FakeAppsAndBooks:
    """One location. A WSGI application; ``mood`` answers calls as told, by the path."""

    def __init__(self, url: str = "http://127.0.0.1") -> None:
        self.url = url
        self.assets: dict[str, Asset] = {}
        self.all_or_nothing = False
        """What fails for somebody is done for nobody; Apple does not say which of the two holds."""
        self.users: list[dict[str, str]] = []
        self.given: set[tuple[str, str]] = set()
        """Adam id and clientUserId."""
        self.config: dict[str, Any] = {}
        self.uid, self.name, self.country = "2049025000431439", "Headquarters", "DE"
        self.tokens: dict[str, str] = {}
        self._expires = ""
        """Token -> good, expired, revoked."""
        self.limits = dict(LIMITS)
        self.calls: list[str] = []
        """Method and path of each request."""
        self.twice: list[tuple[str, str]] = []
        """What was given to somebody who had it."""
        self.mood: dict[str, Callable[[], Answer]] = {}
        self.loses: set[str] = set()
        """Paths whose answers get lost once, though what was asked is done."""
        self.polls = 1
        """How often an event is asked about before it is over."""
        self.events: dict[str, Event] = {}
        self.file: Path | None = None
        """Where it keeps what it knows, if it is to outlive its process."""
        self._lock = threading.RLock()

    # --- the location ---------------------------------------------------------------------------------------

    def add(self, name: str, total: int = UNLIMITED, **more: Any) -> Asset:
        """Licenses for an app."""
        adam_id = str(361_309_001 + len(self.assets))
        made = Asset(adam_id, name, f"com.example.{name.lower().replace(' ', '-')}", total, **more)
        self.assets[adam_id] = made
        return made

    def token(self, days: int = 365, organization: str = "Example Company", now: datetime | None = None) -> bytes:
        """A content token, as it is downloaded."""
        expires = (now or datetime.now(UTC)) + timedelta(days=days)
        inside = {
            "token": uuid.uuid4().hex,
            "expDate": expires.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "orgName": organization,
        }
        made = base64.b64encode(json.dumps(inside).encode()).decode()
        self.tokens[made] = "good"
        self._expires = inside["expDate"]
        return made.encode()

    def holders(self, asset: Asset) -> set[str]:
        """The Managed Apple Accounts of those who have it."""
        accounts = {each["clientUserId"]: each["managedAppleId"] for each in self.active()}
        return {accounts[client] for each, client in self.given if each == asset.adam_id and client in accounts}

    def active(self) -> list[dict[str, str]]:
        """Users that are not retired."""
        return [each for each in self.users if each["status"] != "Retired"]

    def keep(self, file: Path) -> None:
        """Read what it knew before, and keep in ``file`` what it learns."""
        self.file = file
        if file.exists():
            told = json.loads(file.read_text())
            self.assets = {each["adam_id"]: Asset(**each) for each in told["assets"]}
            self.users, self.config, self.tokens = told["users"], told["config"], told["tokens"]
            self.given = {(adam_id, client) for adam_id, client in told["given"]}
            self._expires = told["expires"]

    def _write(self) -> None:
        if self.file is not None:
            known = {"users": self.users, "config": self.config, "tokens": self.tokens, "given": sorted(self.given)}
            known |= {"assets": [asdict(each) for each in self.assets.values()], "expires": self._expires}
            self.file.touch(0o600)
            self.file.write_text(json.dumps(known))

    def settings(self) -> dict[str, str]:
        """What the portal's ``[apps]`` has to say to reach it."""
        return {"service": f"{self.url}/mdm/v2", "store": f"{self.url}/lookup"}

    # --- HTTP -----------------------------------------------------------------------------------------------

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size) if size else b""
        query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        with self._lock:
            status, told = self._answered(method, path, query, body, environ)
            self._write()
        headers, content = [("Content-Type", "application/json")], b""
        if isinstance(told, tuple):
            told, more = told
            headers += list(more.items())
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        start(f"{status} {status}", headers)
        return [content]

    def _answered(self, method: str, path: str, query: dict[str, str], body: bytes, environ: Environ) -> Answer:
        if path == "/lookup":
            return self._looked_up(query, environ)
        if path.startswith("/icon/"):
            return 200, _icon(int(path.rpartition("/")[2].partition(".")[0] or 0))
        path = path.removeprefix("/mdm/v2")
        self.calls.append(f"{method} {path}")
        if path in self.mood:
            return self.mood[path]()
        if path == "/service/config":
            return 200, {"limits": self.limits, "urls": {}, "errorCodes": [], "notificationTypes": []}
        refused = self._token_refused(environ)
        if refused:
            return refused
        asked = json.loads(body) if body else {}
        known: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/client/config"): lambda: (200, self.config),
            ("POST", "/client/config"): lambda: self._configured(asked),
            ("GET", "/assets"): lambda: self._page(
                "assets", [self._asset(each) for each in self.assets.values()], query
            ),
            ("GET", "/users"): lambda: self._page("users", self._users(query), query),
            ("GET", "/assignments"): lambda: self._page("assignments", self._assignments(query), query),
            ("POST", "/users/create"): lambda: self._begin("CREATE", asked),
            ("POST", "/users/retire"): lambda: self._begin("RETIRE", asked),
            ("POST", "/assets/associate"): lambda: self._begin("ASSOCIATE", asked),
            ("POST", "/assets/disassociate"): lambda: self._begin("DISASSOCIATE", asked),
            ("GET", "/status"): lambda: self._status(query),
        }
        answer = known.get((method, path))
        if answer is None:
            return 405, _error(9726)
        status, told = answer()
        if path in self.loses:
            self.loses.discard(path)
            return 502, b"<html>Bad gateway</html>"
        if status == 200 and isinstance(told, dict) and "errorNumber" not in told:
            told = {**told, "uId": self.uid, "tokenExpirationDate": self._expires}
            if path == "/client/config":
                told |= {"locationName": self.name, "countryISO2ACode": self.country}
            if "mdmInfo" in self.config:
                told["mdmInfo"] = self.config["mdmInfo"]
        return status, told

    def _token_refused(self, environ: Environ) -> Answer | None:
        state = self.tokens.get(environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer "), "unknown")
        number = {"good": 0, "expired": 9621, "revoked": 9625}.get(state, 9622)
        return (200, _error(number)) if number else None  # with status 200, as Apple has answered

    def _configured(self, asked: dict[str, Any]) -> Answer:
        if len(asked.get("mdmInfo", {}).get("id", "")) > self.limits["maxMdmIdLength"]:
            return 400, _error(9724)
        self.config |= asked
        return 200, self.config

    def _page(self, key: str, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        index = int(query.get("pageIndex", 0))
        some = rows[index * PAGE : (index + 1) * PAGE]
        told: dict[str, Any] = {key: some, "currentPageIndex": index, "size": len(some), "versionId": "one"}
        told["totalPages"] = -(-len(rows) // PAGE)
        return 200, told | ({"nextPageIndex": index + 1} if len(rows) > (index + 1) * PAGE else {})

    def _asset(self, asset: Asset) -> dict[str, Any]:
        used = sum(adam_id == asset.adam_id for adam_id, _ in self.given)
        return {
            "adamId": asset.adam_id,
            "pricingParam": "STDQ",
            "productType": "App",
            "supportedPlatforms": ["iOS"],
            "totalCount": asset.total,
            "availableCount": asset.total - used,
            "assignedCount": used,
            "retiredCount": 0,
            "revocable": True,
            "deviceAssignable": True,
            **asset.changes,
        }

    def _users(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = self.active() if query.get("activeOnly") == "true" else self.users
        for name in ("clientUserId", "managedAppleId"):
            rows = [each for each in rows if each[name] == query.get(name, each[name])]
        return [{"clientUserId": each["clientUserId"], "status": each["status"], "idHash": "x"} for each in rows]

    def _assignments(self, query: dict[str, str]) -> list[dict[str, Any]]:
        rows = [
            {"adamId": adam_id, "clientUserId": client, "pricingParam": "STDQ"}
            for adam_id, client in sorted(self.given)
        ]
        for name in ("adamId", "clientUserId"):
            rows = [each for each in rows if each[name] == query.get(name, each[name])]
        return rows

    # --- what is done by and by -----------------------------------------------------------------------------

    def _begin(self, kind: str, asked: dict[str, Any]) -> Answer:
        users, assets, clients = asked.get("users", []), asked.get("assets", []), asked.get("clientUserIds", [])
        over = (
            len(users) > self.limits["maxUsers"]
            or len(assets) > self.limits["maxAssets"]
            or len(clients) > self.limits["maxClientUserIds"]
        )
        if over or len({*clients}) < len(clients) or len({each["adamId"] for each in assets}) < len(assets):
            return 400, _error(9700)
        if kind in ("ASSOCIATE", "DISASSOCIATE"):
            known = {each["clientUserId"] for each in self.active()}
            if not set(clients) <= known:
                return 400, _error(9609)
        work = {
            "CREATE": lambda: [each for user in users for each in self._create(user)],
            "RETIRE": lambda: [each for user in users for each in self._retire(user)],
            "ASSOCIATE": lambda: [each for asset in assets for each in self._give(asset["adamId"], clients)],
            "DISASSOCIATE": lambda: [each for asset in assets for each in self._take(asset["adamId"], clients)],
        }[kind]
        event_id = str(uuid.uuid4())
        self.events[event_id] = Event(kind, work, len(users) or len(assets) * len(clients), self.polls)
        return 200, {"eventId": event_id}

    def _status(self, query: dict[str, str]) -> Answer:
        event = self.events.get(query.get("eventId", ""))
        if event is None:
            return 400, _error(9708)
        self._go_on(event)
        told: dict[str, Any] = {"eventType": event.kind, "numRequested": event.requested}
        if not event.over:
            return 200, told | {"eventStatus": "PENDING", "numCompleted": 0}
        done = {"numCompleted": event.requested - len(event.failures)}
        status = {"eventStatus": "FAILED" if event.failures else "COMPLETE"}
        return 200, told | done | status | ({"failures": event.failures} if event.failures else {})

    def _go_on(self, event: Event) -> None:
        event.polls -= 1
        if event.polls <= 0 and not event.over:
            self._finish(event)

    def settle(self) -> None:
        """Everything that is under way is done, whether anybody asks or not."""
        for event in self.events.values():
            if not event.over:
                self._finish(event)

    def _finish(self, event: Event) -> None:
        before = set(self.given), [dict(each) for each in self.users]
        event.failures, event.over = event.do(), True
        if event.failures and self.all_or_nothing:
            self.given, self.users = before

    def _create(self, user: dict[str, str]) -> list[dict[str, Any]]:
        client, account = user["clientUserId"], user["managedAppleId"]
        if any(each["clientUserId"] == client for each in self.active()):
            return [_failure(9716, [client])]
        if any(each["managedAppleId"] == account for each in self.active()):
            return [_failure(9717, [client])]
        self.users.append({"clientUserId": client, "managedAppleId": account, "status": "Associated"})
        return []

    def _retire(self, user: dict[str, str]) -> list[dict[str, Any]]:
        for each in self.active():
            if each["clientUserId"] == user["clientUserId"]:
                each["status"] = "Retired"
                self.given = {pair for pair in self.given if pair[1] != user["clientUserId"]}
        return []

    def _give(self, adam_id: str, clients: list[str]) -> list[dict[str, Any]]:
        asset = self.assets.get(adam_id)
        failures, used = [], sum(each == adam_id for each, _ in self.given)
        for client in clients:
            if asset is None or asset.refuses:
                failures.append(_failure(asset.refuses if asset else 9600, [client], adam_id))
            elif (adam_id, client) in self.given:
                self.twice.append((adam_id, client))
            elif used >= asset.total:
                failures.append(_failure(9709, [client], adam_id))
            else:
                self.given.add((adam_id, client))
                used += 1
        return failures

    def _take(self, adam_id: str, clients: list[str]) -> list[dict[str, Any]]:
        self.given -= {(adam_id, client) for client in clients}
        return []

    # --- the store ------------------------------------------------------------------------------------------

    def _looked_up(self, query: dict[str, str], environ: Environ) -> Answer:
        asset = self.assets.get(query.get("id", ""))
        cookie = environ.get("HTTP_COOKIE", "")
        if self.tokens.get(cookie.removeprefix("itvt=")) != "good":
            return 401, b""
        found = {}
        if asset is not None:
            number = int(asset.adam_id) % 6
            found[asset.adam_id] = {
                "id": asset.adam_id,
                "name": asset.name,
                "bundleId": asset.bundle_id,
                "minimumOSVersion": asset.minimum_ios,
                "deviceFamilies": list(asset.families),
                "artwork": {"url": f"{self.url}/icon/{number}.png?{{w}}x{{h}}.{{f}}", "width": 1024, "height": 1024},
            }
        return 200, {"results": found, "version": 2}


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[FakeAppsAndBooks]:
    """A fake location on a port of 127.0.0.1; stopped at the end."""
    location = FakeAppsAndBooks()
    server = make_server("127.0.0.1", port, location, WSGIServer, _Quiet)
    location.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield location
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _error(number: int) -> dict[str, Any]:
    return {"errorNumber": number, "errorMessage": f"error {number}"}


def _failure(number: int, clients: list[str], adam_id: str = "") -> dict[str, Any]:
    assets = [{"adamId": adam_id, "pricingParam": "STDQ"}] if adam_id else []
    return _error(number) | {"errorInfo": {"clientUserIds": clients} | ({"assets": assets} if assets else {})}


_COLOURS = ((35, 99, 199), (31, 138, 87), (190, 88, 36), (124, 77, 178), (176, 48, 80), (84, 96, 112))


def _icon(number: int, side: int = 64) -> bytes:
    """A plain picture: one colour, with a lighter square in it."""
    red, green, blue = _COLOURS[number % len(_COLOURS)]
    rows = bytearray()
    for y in range(side):
        rows.append(0)
        for x in range(side):
            light = side // 4 <= x < 3 * side // 4 and side // 4 <= y < 3 * side // 4
            rows += bytes(min(255, each + (90 if light else 0)) for each in (red, green, blue))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    )
