"""An iPhone that a user-enrollment profile reached: what iOS would do, as far as the facts go.

It verifies the profile's signature, gets its own identity over SCEP, checks in, connects and answers commands. In
``settings_app`` it signs in to a work account by itself. It imports nothing of the portal but the pki helpers.
"""

import base64
import ipaddress
import json
import plistlib
import re
import secrets
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from portal.pki import cms
from portal.pki.authority import Identity
from portal.simulator import scep_client
from portal.simulator.declarative import Declared, identities_of, read_profile
from portal.simulator.model import FIRST_WITHOUT_PROFILES, Model
from portal.simulator.scep_client import InstallationFailed, expect
from portal.simulator.work_apps import WorkApps

CHECKIN_TYPE = "application/x-apple-aspen-mdm-checkin"
CONNECT_TYPE = "application/x-apple-aspen-mdm"
USER_AGENT = "MDM/1.0"
UNENROLL_CODE = "com.apple.unrecognized.device"
MOST_COMMANDS = 100
FIRST_WITH_DECLARATIONS = 15
TIMEOUT_SECONDS = 20.0


class Unenrolled(Exception):
    """The server ended the enrollment: the iPhone removes its profile."""


class SignInAgain(Exception):
    """The server wants the owner of an account-driven iPhone to sign in, as its ``challenge`` says."""

    def __init__(self, challenge: dict[str, str]) -> None:
        super().__init__("the owner has to sign in again")
        self.challenge = challenge


VOUCHES = "com.apple.mdm.token"
KEPT = ("ServerURL", "CheckInURL", "Topic", "ManagedAppleID")
"""What of the MDM payload a phone needs later on."""


@dataclass
class IPhone:
    """One phone. ``install`` enrolls it; then ``connect`` serves the command queue and ``remove`` leaves."""

    model: Model = field(default_factory=Model)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=TIMEOUT_SECONDS))
    key: rsa.RSAPrivateKey | None = None
    work_key: rsa.RSAPrivateKey | None = None
    """For identities of policies; a new one each time if none is given."""
    enrollment_id: str = ""
    identity: Identity | None = None
    mdm: dict[str, Any] = field(default_factory=dict)
    profile_identifier: str = ""
    account: str = ""
    token: str = ""
    mood: dict[str, str] = field(default_factory=dict)
    """By RequestType: the Status it answers with instead of obeying (NotNow, Error, CommandFormatError)."""
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What IT installed, by PayloadIdentifier."""
    apps: WorkApps = field(default_factory=WorkApps)
    push_token: bytes = b""
    push_magic: str = ""
    _looks: list[bytes | None] = field(default_factory=list)

    @property
    def account_driven(self) -> bool:
        """Whether it enrolled from Settings, with an access token."""
        return bool(self.account)

    @property
    def work_account(self) -> str:
        """The Managed Apple Account on it."""
        return self.account or str(self.mdm.get("ManagedAppleID", ""))

    # --- installing ------------------------------------------------------------------------------------------

    def install(self, profile: bytes) -> list[str]:
        """Install a downloaded profile and enroll; returns a line for each thing done. Raises InstallationFailed."""
        lines = []
        payload = self.open_profile(profile)
        lines.append(f"profile verified: {payload['PayloadDisplayName']}")
        self.obtain_identity(payload)
        lines.append("certificate issued over SCEP")
        self.authenticate()
        lines.append("Authenticate accepted")
        self.token_update()
        lines.append("TokenUpdate accepted")
        answered = self.connect()
        lines.append(f"commands answered: {', '.join(answered) or 'none'}")
        return lines

    def open_profile(self, profile: bytes) -> dict[str, Any]:
        """Check the signature and every rule that would make a real iPhone refuse; returns the plist."""
        try:
            signed = cms.verify(profile)
            payload: dict[str, Any] = plistlib.loads(signed.content, fmt=plistlib.FMT_XML)
            cms.verify_chain(signed.certificates, self._root(payload))
        except (cms.CmsError, plistlib.InvalidFileException, ValueError) as error:
            raise InstallationFailed(f"the profile is not properly signed: {error}") from error
        mdm = payload_of(payload, "com.apple.mdm")
        self._check_way(mdm)
        if "AccessRights" in mdm or payload.get("PayloadRemovalDisallowed"):
            raise InstallationFailed("not allowed in user enrollment")
        if not mdm["Topic"].startswith("com.apple.mgmt."):
            raise InstallationFailed("the topic is no MDM topic")
        for key in ("ServerURL", "CheckInURL"):
            _check_url(mdm[key])
        self.mdm, self.profile_identifier = mdm, payload["PayloadIdentifier"]
        return payload

    def _check_way(self, mdm: dict[str, Any]) -> None:
        if self.account_driven:
            if mdm.get("EnrollmentMode") != "BYOD" or not mdm.get("AssignedManagedAppleID") or "ManagedAppleID" in mdm:
                raise InstallationFailed("not a profile for account-driven user enrollment")
        elif not mdm.get("ManagedAppleID"):
            raise InstallationFailed("no ManagedAppleID: this would enroll the whole device")
        elif self.model.major >= FIRST_WITHOUT_PROFILES:
            raise InstallationFailed("iOS 18 and later enroll from Settings only")

    def obtain_identity(self, payload: dict[str, Any]) -> None:
        """SCEP with a key of its own, checked against the profile's CA fingerprint."""
        settings = payload_of(payload, "com.apple.security.scep")["PayloadContent"]
        self.key = self.key or rsa.generate_private_key(65537, settings["Keysize"])
        self.identity = scep_client.obtain(self.http, settings, self.key)

    def authenticate(self) -> None:
        """Introduce the phone under a fresh EnrollmentID."""
        self.enrollment_id = self.enrollment_id or str(uuid.uuid4()).upper()
        self._checkin(
            {
                "MessageType": "Authenticate",
                "OSVersion": self.model.os_version,
                "BuildVersion": self.model.build_version,
                "ProductName": self.model.product_name,
            }
        )

    def token_update(self) -> None:
        """Hand over the push token: the phone is enrolled."""
        self.push_token, self.push_magic = secrets.token_bytes(32), str(uuid.uuid4()).upper()
        push = {"Token": self.push_token, "PushMagic": self.push_magic}
        self._checkin({"MessageType": "TokenUpdate", **push, "AwaitingConfiguration": False})

    # --- managed ---------------------------------------------------------------------------------------------

    def connect(self) -> list[str]:
        """Say Idle and answer commands until there is none; returns their request types."""
        answered: list[str] = []
        report: dict[str, Any] = {"Status": "Idle"}
        for _ in range(MOST_COMMANDS):
            answer = self._send(self.mdm["ServerURL"], CONNECT_TYPE, report)
            if not answer.content:
                break
            order = plistlib.loads(answer.content, fmt=plistlib.FMT_XML)
            answered.append(order["Command"]["RequestType"])
            report = {"CommandUUID": order["CommandUUID"], **self.obey(order["Command"])}
        while self._looks:  # a phone looks at what is declared when it has answered, and again if that did not work
            self.declared.synchronize(self._looks[0])
            del self._looks[0]
        self._confirm_apps()
        return answered

    def _confirm_apps(self) -> None:
        """Its owner answers what it asks about apps; it tells by itself what came of that, if it was told to."""
        self.apps.ask_owner()
        if "declared" not in self.__dict__:
            return  # it never heard of declarations
        names = ("mdm.app", "app.managed.list")
        before = [self.declared.values.get(each, []) for each in names]
        now = [self.apps.reported(), self.apps.declared_list()]
        self.declared.values |= dict(zip(names, now, strict=True))
        began, self.apps.began = self.apps.began, False
        if (before != now or began) and self.declared.reported:
            self.declared.report()

    @cached_property
    def declared(self) -> Declared:
        """Its declarative management."""
        told = {
            "device.model.identifier": self.model.product_name,
            "device.model.marketing-name": self.model.marketing_name,
            "device.operating-system.version": self.model.os_version,
            "device.operating-system.build-version": self.model.build_version,
            "device.operating-system.supplemental.build-version": self.model.build_version,
            "passcode.is-present": True,
            "passcode.is-compliant": True,
        }
        made = Declared(self.model, self._ask_declared, self._get_declared, self._obtain_for_work, values=told)
        made.declare_apps = self.apps.declare
        return made

    def _obtain_for_work(self, settings: dict[str, Any]) -> Identity:
        """An identity for a policy, with a key of its own."""
        return scep_client.obtain(self.http, settings, self.work_key or rsa.generate_private_key(65537, 2048))

    def _get_declared(self, url: str) -> bytes:
        """What a declaration refers to: a plain GET, as one that carries nothing but its address."""
        _check_url(url)
        answer = self.http.get(url)
        if answer.status_code != 200:
            raise KeyError(url)
        return answer.content

    def _ask_declared(self, endpoint: str, data: bytes | None) -> bytes:
        message: dict[str, Any] = {"MessageType": "DeclarativeManagement", "Endpoint": endpoint}
        answer = self._send(
            self.mdm["CheckInURL"], CHECKIN_TYPE, message | ({"Data": data} if data else {}), missing=True
        )
        if answer.status_code == 404:
            raise KeyError(endpoint)
        if answer.content and answer.headers["content-type"] != "application/json":
            raise InstallationFailed("declarative management is answered with JSON")
        return answer.content

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """The report on one command; what user enrollment forbids is refused."""
        kind = command["RequestType"]
        if kind in self.mood:
            return _refusal(f"{kind} did not work.", self.mood[kind])
        if kind == "DeviceInformation":
            known = self.model.answers()
            return {
                "Status": "Acknowledged",
                "QueryResponses": {query: known[query] for query in command["Queries"] if query in known},
            }
        if kind == "ProfileList":
            entry = {"PayloadIdentifier": self.profile_identifier, "PayloadDisplayName": "Enrollment"}
            return {"Status": "Acknowledged", "ProfileList": [entry, *self.profiles.values()]}
        if kind == "ManagedApplicationList":
            return self.apps.listed(command)
        if kind == "CertificateList":
            return {"Status": "Acknowledged", kind: [self._certificate()]}
        if kind == "InstallProfile":
            return self._install(command["Payload"])
        if kind == "RemoveProfile":
            return self._remove(command["Identifier"])
        if kind == "InstallApplication":
            return self.apps.install(command)
        if kind == "RemoveApplication":
            return self.apps.remove(command["Identifier"])
        if kind == "Settings":
            return self.apps.settings(command["Settings"])
        if kind == "SecurityInfo":
            status = {"EnrolledViaDEP": False, "IsUserEnrollment": True}
            return {"Status": "Acknowledged", "SecurityInfo": {"ManagementStatus": status}}
        if kind == "DeclarativeManagement" and self.model.major >= FIRST_WITH_DECLARATIONS:
            self._looks.append(command.get("Data"))
            return {"Status": "Acknowledged"}
        if kind == "DeviceLock":
            return {"Status": "Acknowledged"}
        return _refusal(f"{kind} is not allowed in user enrollment.")

    def _install(self, content: bytes) -> dict[str, Any]:
        try:
            profile = read_profile(content)
            identities_of(profile, self._obtain_for_work)
        except InstallationFailed as problem:
            return _refusal(str(problem))
        keys = ("PayloadIdentifier", "PayloadDisplayName", "PayloadUUID")
        self.profiles[profile["PayloadIdentifier"]] = {key: profile[key] for key in keys if key in profile}
        return {"Status": "Acknowledged"}

    def _remove(self, identifier: str) -> dict[str, Any]:
        if identifier == self.profile_identifier:  # work apps, accounts, data and their volume go with it
            self.profiles, self._looks = {}, []
            self.apps.forget()
        elif self.profiles.pop(identifier, None) is None:
            return _refusal(f"The profile {identifier} is not installed.")
        return {"Status": "Acknowledged"}

    def _certificate(self) -> dict[str, Any]:
        assert self.identity is not None
        data = self.identity.certificate.public_bytes(Encoding.DER)
        return {"CommonName": "Identity certificate", "Data": data, "IsIdentity": True}

    def ask_for_token(self) -> bytes:
        """Its owner signs in with the Managed Apple Account, and Apple asks who manages the phone: what it can show.

        Only asked of a server that announced it.
        """
        if VOUCHES not in self.mdm.get("ServerCapabilities", []):
            raise InstallationFailed("Apple asks who manages the phone, and its server does not say")
        asked = {"MessageType": "GetToken", "TokenServiceType": "com.apple.maid"}
        answer = self._send(self.mdm["CheckInURL"], CHECKIN_TYPE, asked)
        return bytes(plistlib.loads(answer.content, fmt=plistlib.FMT_XML)["TokenData"])

    def remove(self) -> None:
        """The owner removes the profile in Settings: CheckOut, then everything is gone from the phone."""
        self._checkin({"MessageType": "CheckOut"})

    # --- kept between commands ---------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the phone to a file that only its owner reads."""
        assert self.identity is not None
        state = {
            "enrollment_id": self.enrollment_id,
            "certificate": self.identity.certificate.public_bytes(Encoding.PEM).decode(),
            "key": self.identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "urls": {key: self.mdm[key] for key in KEPT if key in self.mdm},
            "profile_identifier": self.profile_identifier,
            "account": self.account,
            "token": self.token,
            "apps": self.apps.states,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(json.dumps(state, indent=1))

    @classmethod
    def load(cls, path: Path) -> "IPhone":
        """The phone that ``save`` wrote."""
        state = json.loads(path.read_text())
        key = load_pem_private_key(state["key"].encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        certificate = x509.load_pem_x509_certificate(state["certificate"].encode())
        return cls(
            key=key,
            enrollment_id=state["enrollment_id"],
            identity=Identity(certificate, key),
            mdm=state["urls"],
            profile_identifier=state["profile_identifier"],
            account=state["account"],
            token=state["token"],
            apps=WorkApps(state["apps"]),
        )

    # --- how it talks ------------------------------------------------------------------------------------------

    def _root(self, payload: dict[str, Any]) -> x509.Certificate:
        root = payload_of(payload, "com.apple.security.root")
        return x509.load_der_x509_certificate(root["PayloadContent"])

    def _checkin(self, message: dict[str, Any]) -> None:
        self._send(self.mdm["CheckInURL"], CHECKIN_TYPE, {"Topic": self.mdm["Topic"], **message})

    def _send(self, url: str, content_type: str, message: dict[str, Any], missing: bool = False) -> httpx.Response:
        body = plistlib.dumps({"EnrollmentID": self.enrollment_id, **message})
        headers = {"Content-Type": content_type, "User-Agent": USER_AGENT, "Mdm-Signature": self.signature(body)}
        if self.account_driven:
            headers["Authorization"] = f"Bearer {self.token}"
        answer = self.http.put(url, content=body, headers=headers)
        if answer.status_code == 401 and self.account_driven:
            raise SignInAgain(challenge_of(answer))
        if answer.status_code == 401 or (answer.status_code == 403 and UNENROLL_CODE in answer.text):
            raise Unenrolled(answer.text.strip())
        if not (missing and answer.status_code == 404):
            expect(answer, str(message.get("MessageType", "connect")))
        return answer

    def signature(self, body: bytes) -> str:
        """The ``Mdm-Signature`` header for ``body``."""
        assert self.identity is not None
        return base64.b64encode(cms.sign_detached(body, self.identity.key, self.identity.certificate)).decode()


def _refusal(text: str, status: str = "Error") -> dict[str, Any]:
    if status == "NotNow":
        return {"Status": status}
    error = {"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "USEnglishDescription": text}
    return {"Status": status, "ErrorChain": [error | {"LocalizedDescription": text}]}


CHALLENGES = {
    "apple-as-web": {"url"},
    "apple-oauth2": {"authorization-url", "token-url", "redirect-url", "client-id", "scope"},
}


def challenge_of(answer: httpx.Response) -> dict[str, str]:
    """How a 401 wants the owner to sign in. Raises InstallationFailed without a challenge that iOS understands."""
    header = answer.headers.get("www-authenticate", "")
    found = dict(re.findall(r'([a-z-]+)="([^"]*)"', header)) if header.startswith("Bearer ") else {}
    wanted = CHALLENGES.get(found.get("method", ""))
    if wanted is None or not wanted <= found.keys():
        raise InstallationFailed("the server refused without saying how to sign in")
    for name in wanted & {"url", "authorization-url", "token-url"}:
        _check_url(found[name])
    return found


def payload_of(profile: dict[str, Any], kind: str) -> dict[str, Any]:
    """The payload of that PayloadType in a profile. Raises InstallationFailed."""
    for payload in profile["PayloadContent"]:
        if payload["PayloadType"] == kind:
            return dict(payload)
    raise InstallationFailed(f"the profile has no {kind} payload")


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return
    try:
        loopback = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = False
    if parts.scheme != "http" or not loopback:  # a simulator's liberty, for a demo on this machine
        raise InstallationFailed("server addresses must begin with https://")
