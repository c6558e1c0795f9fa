"""A MaaS360 that is none: its web services in the shapes that IBM's and other public clients recorded, with oddities.

What nobody has seen it makes up (how a device enrolls there, what ``checkActionStatus`` says); nothing of the portal
relies on more of it than ``docs/backends.md`` says. It imports nothing of the portal.
"""

import contextlib
import itertools
import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

BILLING_ID = "30012345"
APP_ID, ACCESS_KEY = "com.30012345.portal", "simulated-access-key"
ADMIN, PASSWORD = "portal-script", "simulated password"
PLATFORM = "3"
RESULTS = "apple-remotemanagement-user-login://authentication-results?access-token="
PROFILE_TYPE = "application/x-apple-aspen-config"
DEFAULT_PAGE = 50
ALLOWS = (
    "MDM_LOCK",
    "MDM_SELECTIVE_WIPE",
    "MDM_REVOKE_SELECTIVE_WIPE",
    "MDM_REMOVE_CONTROL",
    "MDM_MESSAGE",
    "MDM_REFRESH",
    "MDM_LOCATE",
)
"""What a device allows; one of it the portal never asks for."""
Environ = dict[str, Any]
Start = Callable[..., Any]


@dataclass
class Device:
    """One device of the fake tenant; ``row`` is what a search tells of it."""

    row: dict[str, Any]
    pending: list[dict[str, Any]] = field(default_factory=list)
    """Actions that it did not hear of yet."""

    @property
    def server_id(self) -> str:
        """Its name at MaaS360."""
        return str(self.row["maas360DeviceID"])

    @property
    def account(self) -> str:
        """Whose it is."""
        return str(self.row["emailAddress"])


class FakeMaaS360:
    """One tenant. A WSGI application; ``mood`` answers calls as told, by the name in their path."""

    def __init__(self, url: str = "http://127.0.0.1") -> None:
        self.url = url
        self.users: list[dict[str, Any]] = []
        self.devices: list[Device] = []
        self.actions: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        """Token -> good, expired."""
        self.refresh_tokens: set[str] = set()
        self.calls: list[str] = []
        """The name of each call, in order."""
        self.mood: dict[str, Callable[[], tuple[int, Any]]] = {}
        self.allows = list(ALLOWS)
        self.messages: list[tuple[str, str, str]] = []
        self._numbers = itertools.count(128_294_549)
        self._lock = threading.Lock()

    # --- the tenant ------------------------------------------------------------------------------------------------

    def add_user(self, email: str, **changes: Any) -> None:
        """A user, who has no device yet."""
        known = {"userName": email.partition("@")[0], "emailAddress": email, "fullName": "", "domain": "example",
                 "status": "Active", "authType": "LOCAL", "userIdentifier": len(self.users) + 1}  # fmt: skip
        self.users.append(known | changes)

    def enroll(self, account: str, model: str = "iPhone 14", **changes: Any) -> Device:
        """A device enrolls with somebody's account."""
        number, now = next(self._numbers), _milliseconds()
        row = {
            "maas360DeviceID": f"ApplSIM{number}",
            "deviceName": "A personal name for it",
            "username": account.partition("@")[0],
            "emailAddress": account,
            "userDomain": "example",
            "ownership": "Employee Owned",
            "platformName": "iOS",
            "deviceType": "Smartphone",
            "manufacturer": "Apple",
            "model": model,
            "osName": "iOS 18",
            "osVersion": 18.1,
            "deviceStatus": "Active",
            "maas360ManagedStatus": "Enrolled",
            "enrollmentMode": "ENROLLMENT",
            "mdmPolicy": "Default iOS MDM Policy",
            "selectiveWipeStatus": "N/a",
            "policyComplianceState": "In Compliance",
            "passcodeCompliance": "Compliant",
            "isSupervisedDevice": False,
            "installedDateInEpochms": now,
            "lastMdmRegisteredInEpochms": str(now),
            "lastReportedInEpochms": now,
            "udid": "00008110-001A2B3C4D5E6F70",
            "imeiEsn": 356938035643809,
            "platformSerialNumber": "C39SIMULATED",
            "phoneNumber": "+49 170 0000000",
            "wifiMacAddress": "a4:83:e7:00:00:01",
            "unknown": "",
        }
        device = Device(row | changes)
        with self._lock:
            self.devices.append(device)
        return device

    def connect(self, device: Device) -> list[str]:
        """The device hears of what waits for it and does it; what it did."""
        done = []
        for action in device.pending:
            action["actionStatus"] = "Completed"
            done.append(str(action["name"]))
            if action["name"] == "selectiveWipeDevice":
                device.row["selectiveWipeStatus"] = "Completed"
            elif action["name"] == "revokeSelectiveWipe":
                device.row["selectiveWipeStatus"] = "Revoked"
            elif action["name"] == "removeDevice":
                device.row |= {"maas360ManagedStatus": "Control Removed", "deviceStatus": "InActive"}
        device.pending.clear()
        device.row["lastReportedInEpochms"] = _milliseconds()
        return done

    def leave(self, device: Device) -> None:
        """Its owner removed the account. The row still says Active: that was recorded, so nobody may judge by it."""
        device.row["maas360ManagedStatus"] = "User Removed Control"

    def expire_tokens(self) -> None:
        """As if an hour had passed."""
        self.tokens = dict.fromkeys(self.tokens, "expired")

    def settings(self) -> dict[str, str]:
        """What the portal's ``[maas360]`` has to say to reach it."""
        return {
            "host": self.url,
            "billing_id": BILLING_ID,
            "app_id": APP_ID,
            "app_access_key": ACCESS_KEY,
            "username": ADMIN,
            "password": PASSWORD,
            "discovery_url": f"{self.url}/enroll/byod",
            "enrollment_url": f"{self.url}/e/example",
            "console_url": f"{self.url}/console",
        }

    # --- HTTP --------------------------------------------------------------------------------------------------------

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """WSGI."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size) if size else b""
        query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        headers = {"Content-Type": "application/json"}
        if path.startswith("/enroll") or path.startswith("/e/"):
            status, headers, content = self._enrolling(path, method, query, body, environ)
        else:
            status, told = self._service(path, method, query, body, environ)
            content = told if isinstance(told, bytes) else json.dumps(told).encode()
        start(f"{status} {status}", list(headers.items()))
        return [content]

    def _service(self, path: str, method: str, query: dict[str, str], body: bytes, environ: Environ) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        name = parts[3] if len(parts) > 4 else ""
        if parts[0] == "user-apis" and name == "search":
            name = "searchUsers"
        with self._lock:
            self.calls.append(name)
            if name in self.mood:
                return self.mood[name]()
            if parts[-1] != BILLING_ID:
                return 401, {"authResponse": {"errorCode": 1008, "errorDesc": "Billing ID does not match"}}
            if parts[0] == "auth-apis":
                return self._signing_in(parts, json.loads(body))
            shown = environ.get("HTTP_AUTHORIZATION", "")
            token = shown.removeprefix('MaaS token="').removesuffix('"')
            state = self.tokens.get(token)
            if state != "good":
                code = 1007 if state == "expired" else 1009
                return 401, {"authResponse": {"errorCode": code, "errorDesc": "Token expired or invalid"}}
            form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
            answers = {
                "searchUsers": self._users,
                "addUser": self._added,
                "addUserToGroup": lambda values: (200, {"user": {"status": "Success"}}),
                "search": self._found,
                "deviceActions": self._allowed,
                "checkActionStatus": self._state_of,
            }
            if name in answers:
                return answers[name](query | form)
            return self._acted(name, form) if method == "POST" else (404, b"")

    def _signing_in(self, parts: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        asked = body["authRequest"]["maaS360AdminAuth"]
        public = (asked.get("billingID"), asked.get("platformID"), asked.get("appID"), asked.get("userName"))
        good = public == (BILLING_ID, PLATFORM, APP_ID, ADMIN)
        if "refreshToken" in parts:
            good = good and asked.get("refreshToken") in self.refresh_tokens
            self.refresh_tokens.discard(str(asked.get("refreshToken")))
        else:
            good = good and (asked.get("appAccessKey"), asked.get("password")) == (ACCESS_KEY, PASSWORD)
        if not good:  # with status 200, as MaaS360 does
            return 200, {"authResponse": {"errorCode": 1002, "errorDesc": "Invalid credentials", "authToken": ""}}
        token, refresh = f"{secrets.token_hex(8)}-sim", secrets.token_hex(8)
        self.tokens[token] = "good"
        told = {"authToken": token, "errorCode": 0, "errorDesc": ""}
        if "1.0" not in parts:
            self.refresh_tokens.add(refresh)
            told["refreshToken"] = refresh
        return 200, {"authResponse": told}

    # --- calls -------------------------------------------------------------------------------------------------------

    def _users(self, asked: dict[str, str]) -> tuple[int, Any]:
        wanted = asked.get("partialEmailAddress", "").casefold()
        exact, which = asked.get("match") == "1", asked.get("includeAllUsers", "0")
        owners = {device.account.casefold() for device in self.devices}
        found = [
            user
            for user in self.users
            if (user["emailAddress"].casefold() == wanted if exact else wanted in user["emailAddress"].casefold())
            and (which == "1" or (user["emailAddress"].casefold() in owners) == (which == "0"))
        ]
        return 200, {"users": _page("user", found, asked)}

    def _added(self, form: dict[str, str]) -> tuple[int, Any]:
        if not form.get("userName") or not form.get("email"):
            return 400, b""
        self.add_user(form["email"], userName=form["userName"], fullName=form.get("fullName", ""))
        return 200, {"user": {"status": "Success", "userIdentifier": len(self.users)}}

    def _found(self, asked: dict[str, str]) -> tuple[int, Any]:
        email, status = asked.get("email", "").casefold(), asked.get("deviceStatus", "Active")
        found = [
            device.row
            for device in self.devices
            if (not email or device.account.casefold() == email)
            and device.row["deviceStatus"] == status
            and device.row["platformName"] == asked.get("platformName", device.row["platformName"])
        ]
        return 200, {"devices": _page("device", found, asked)}

    def _allowed(self, asked: dict[str, str]) -> tuple[int, Any]:
        if self._device(asked) is None:
            return 400, b""
        rows = [{"actionId": each, "actionName": each, "actionOrder": "", "actionType": 1} for each in self.allows]
        return 200, {"deviceActions": {"deviceAction": _odd(rows)}}

    def _state_of(self, asked: dict[str, str]) -> tuple[int, Any]:
        action = self.actions.get(asked.get("actionId", ""))
        return (200, {"actionResponse": action}) if action is not None else (400, b"")

    def _acted(self, name: str, form: dict[str, str]) -> tuple[int, Any]:
        device = self._device(form)
        if device is None or device.row["maas360ManagedStatus"] not in ("Enrolled", "Activated"):
            return 200, {"actionResponse": {"actionStatus": 1, "description": "The device is not managed."}}
        number = next(self._numbers)
        action = {"maas360DeviceID": device.server_id, "actionID": number, "actionStatus": "Pending", "name": name}
        if name == "changeDevicePolicy":
            device.row["mdmPolicy"] = form.get("policyName", "")
        if name == "sendMessage":
            self.messages.append((device.server_id, form.get("messageTitle", ""), form.get("message", "")))
        if name == "selectiveWipeDevice":
            device.row["selectiveWipeStatus"] = "Pending"
        self.actions[str(number)] = action
        device.pending.append(action)
        said = "The action was executed successfully on the device."
        return 200, {"actionResponse": {"maas360DeviceID": device.server_id, "actionID": number, "actionStatus": 0,
                                        "description": said}}  # fmt: skip

    def _device(self, asked: dict[str, str]) -> Device | None:
        wanted = asked.get("deviceId") or asked.get("maas360DeviceId")
        return next((device for device in self.devices if device.server_id == wanted), None)

    # --- how a device enrolls there: made up -------------------------------------------------------------------------

    def _enrolling(
        self, path: str, method: str, query: dict[str, str], body: bytes, environ: Environ
    ) -> tuple[int, dict[str, str], bytes]:
        if path == "/enroll/byod":
            token = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
            account = self.tokens.get(f"device {token}")
            if account is None:
                return 401, {"WWW-Authenticate": f'Bearer method="apple-as-web", url="{self.url}/enroll/sign-in"'}, b""
            self.enroll(account)
            return 200, {"Content-Type": PROFILE_TYPE}, b"a profile of MaaS360"
        if method == "GET":
            return (
                200,
                {"Content-Type": "text/html"},
                b"<form method=post><input name=account><input name=password></form>",
            )
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        account = form.get("account", "")
        if not any(user["emailAddress"].casefold() == account.casefold() for user in self.users):
            return 403, {"Content-Type": "text/plain"}, b"nobody is known by that account"
        if path.startswith("/e/"):
            self.enroll(account, "iPhone 8", osVersion="14.8")
            return 200, {"Content-Type": PROFILE_TYPE}, b"a profile of MaaS360"
        token = secrets.token_urlsafe(16)
        self.tokens[f"device {token}"] = account
        return 308, {"Location": RESULTS + token}, b""


def owner_at(post: Callable[[str, dict[str, str]], Any], password: str = "") -> Callable[[str], str]:
    """The owner of a device who signs in on the fake's own page: for ``SettingsApp``. ``post`` sends a form."""

    def sign_in(url: str) -> str:
        account = parse_qs(urlsplit(url).query)["user-identifier"][0]
        answer = post(url, {"account": account, "password": password})
        return str(answer.headers["location"]).removeprefix(RESULTS)

    return sign_in


@contextlib.contextmanager
def serving() -> Iterator[FakeMaaS360]:
    """A fake tenant on a port of 127.0.0.1; stopped at the end."""
    tenant = FakeMaaS360()
    server = make_server("127.0.0.1", 0, tenant, WSGIServer, _Quiet)
    tenant.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield tenant
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _page(key: str, found: list[dict[str, Any]], asked: dict[str, str]) -> dict[str, Any]:
    size, number = int(asked.get("pageSize", DEFAULT_PAGE)), int(asked.get("pageNumber", 1))
    rows = found[(number - 1) * size : number * size]
    told: dict[str, Any] = {"count": len(found), "pageNumber": number, "pageSize": len(rows)}
    return told | ({key: _odd(rows)} if rows else {})


def _odd(rows: list[dict[str, Any]]) -> Any:
    """One row is an object, several are a list."""
    return rows[0] if len(rows) == 1 else rows


def _milliseconds() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
