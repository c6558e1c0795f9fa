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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import AttributeOID, NameOID

from portal.pki import cms, scep
from portal.pki.authority import Identity

CHECKIN_TYPE = "application/x-apple-aspen-mdm-checkin"
CONNECT_TYPE = "application/x-apple-aspen-mdm"
USER_AGENT = "MDM/1.0"
UNENROLL_CODE = "com.apple.unrecognized.device"
FIRST_WITHOUT_PROFILES = 18
MOST_COMMANDS = 100
TIMEOUT_SECONDS = 20.0


class InstallationFailed(Exception):
    """The iPhone refuses the profile, or the server refused the iPhone."""


class Unenrolled(Exception):
    """The server ended the enrollment: the iPhone removes its profile."""


class SignInAgain(Exception):
    """The server wants the owner of an account-driven iPhone to sign in at ``url``."""

    def __init__(self, url: str) -> None:
        super().__init__("the owner has to sign in again")
        self.url = url


@dataclass
class Model:
    """What the phone is; the defaults are those of one real model."""

    product_name: str = "iPhone14,5"
    model_name: str = "iPhone"
    os_version: str = "17.6.1"
    build_version: str = "21G93"

    @property
    def major(self) -> int:
        """18 for iOS 18.2."""
        return int(self.os_version.split(".")[0])

    def machine_info(self, language: str) -> dict[str, Any]:
        """What Settings tells when an enrollment begins; before iOS 17 without the version."""
        info: dict[str, Any] = {"LANGUAGE": language, "PRODUCT": self.product_name, "VERSION": self.build_version}
        if self.major >= 17:
            info |= {
                "OS_VERSION": self.os_version,
                "SUPPLEMENTAL_BUILD_VERSION": self.build_version,
                "MDM_CAN_REQUEST_SOFTWARE_UPDATE": True,
            }
        return info

    def user_agent(self) -> str:
        """Safari's and the web view's; iOS 26 keeps saying iPhone OS 18_6."""
        system = "18.6" if self.major > FIRST_WITHOUT_PROFILES else self.os_version
        version = ".".join(self.os_version.split(".")[:2])
        return (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS {system.replace('.', '_')} like Mac OS X) AppleWebKit/605.1.15 "
            f"(KHTML, like Gecko) Version/{version} Mobile/15E148 Safari/604.1"
        )

    def answers(self) -> dict[str, Any]:
        """Query answers of DeviceInformation that a user-enrolled phone gives."""
        return {
            "OSVersion": self.os_version,
            "BuildVersion": self.build_version,
            "ProductName": self.product_name,
            "ModelName": self.model_name,
            "Model": "MLPF3",
            "DeviceCapacity": 128.0,
            "AvailableDeviceCapacity": 74.5,
            "SupplementalBuildVersion": self.build_version,
            "IsSupervised": False,
            "BatteryLevel": 0.8,
            "TimeZone": "Europe/Berlin",
            "DeviceName": "iPhone",
        }


MODELS = {
    15: Model("iPhone12,1", os_version="15.8.3", build_version="19H386"),
    17: Model(),
    18: Model("iPhone16,1", os_version="18.2.1", build_version="22C161"),
    26: Model("iPhone17,2", os_version="26.0", build_version="23A341"),
}
"""One phone for each kind of iOS that behaves differently."""


@dataclass
class IPhone:
    """One phone. ``install`` enrolls it; then ``connect`` serves the command queue and ``remove`` leaves."""

    model: Model = field(default_factory=Model)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=TIMEOUT_SECONDS))
    key: rsa.RSAPrivateKey | None = None
    enrollment_id: str = ""
    identity: Identity | None = None
    mdm: dict[str, Any] = field(default_factory=dict)
    profile_identifier: str = ""
    account: str = ""
    token: str = ""

    @property
    def account_driven(self) -> bool:
        """Whether it enrolled from Settings, with an access token."""
        return bool(self.account)

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
        ca = self.fetch_ca(settings)
        self.key = self.key or rsa.generate_private_key(65537, settings["Keysize"])
        subject = x509.Name([x509.NameAttribute(_OIDS[kind], value) for [[kind, value]] in settings["Subject"]])
        temporary = Identity(self_signed(subject, self.key), self.key)
        csr = certificate_request(subject, self.key, settings["Challenge"])
        message, nonce = scep.request(csr, ca, temporary, secrets.token_hex(16))
        answer = self.http.post(settings["URL"], params={"operation": "PKIOperation"}, content=message)
        _expect(answer, "SCEP")
        reply = scep.read(answer.content)
        if reply.recipient_nonce != nonce or reply.signer != ca:
            raise InstallationFailed("the SCEP answer is not for this request")
        if reply.pki_status != scep.PkiStatus.SUCCESS:
            raise InstallationFailed(f"SCEP refused, failInfo {reply.fail_info}")
        self.identity = Identity(scep.issued_certificate(reply, temporary), self.key)

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
        token, magic = secrets.token_bytes(32), str(uuid.uuid4()).upper()
        self._checkin(
            {"MessageType": "TokenUpdate", "Token": token, "PushMagic": magic, "AwaitingConfiguration": False}
        )

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
        return answered

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """The report on one command; what user enrollment forbids is refused."""
        kind = command["RequestType"]
        if kind == "DeviceInformation":
            known = self.model.answers()
            return {
                "Status": "Acknowledged",
                "QueryResponses": {query: known[query] for query in command["Queries"] if query in known},
            }
        if kind == "ProfileList":
            entry = {"PayloadIdentifier": self.profile_identifier, "PayloadDisplayName": "Enrollment"}
            return {"Status": "Acknowledged", "ProfileList": [entry]}
        if kind == "SecurityInfo":
            status = {"EnrolledViaDEP": False, "IsUserEnrollment": True}
            return {"Status": "Acknowledged", "SecurityInfo": {"ManagementStatus": status}}
        if kind in ("DeviceLock", "RemoveProfile", "InstallProfile"):
            return {"Status": "Acknowledged"}
        text = f"{kind} is not allowed in user enrollment."
        error = {"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "USEnglishDescription": text}
        return {"Status": "Error", "ErrorChain": [error | {"LocalizedDescription": text}]}

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
            "urls": {key: self.mdm[key] for key in ("ServerURL", "CheckInURL", "Topic")},
            "profile_identifier": self.profile_identifier,
            "account": self.account,
            "token": self.token,
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
        )

    # --- how it talks ------------------------------------------------------------------------------------------

    def _root(self, payload: dict[str, Any]) -> x509.Certificate:
        root = payload_of(payload, "com.apple.security.root")
        return x509.load_der_x509_certificate(root["PayloadContent"])

    def fetch_ca(self, settings: dict[str, Any]) -> x509.Certificate:
        """The SCEP server's CA, if it can do what is needed and is the one of the profile."""
        capabilities = self.http.get(settings["URL"], params={"operation": "GetCACaps"})
        _expect(capabilities, "GetCACaps")
        if not {"AES", "SHA-256", "POSTPKIOperation"} <= set(capabilities.text.split()):
            raise InstallationFailed("the SCEP server lacks what is needed")
        answer = self.http.get(settings["URL"], params={"operation": "GetCACert", "message": settings.get("Name", "")})
        _expect(answer, "GetCACert")
        if answer.headers["content-type"] != "application/x-x509-ca-cert":
            raise InstallationFailed("GetCACert answered something else than a certificate")
        ca = x509.load_der_x509_certificate(answer.content)
        if ca.fingerprint(hashes.SHA1()) != settings["CAFingerprint"]:  # noqa: S303
            raise InstallationFailed("the CA is not the one of the profile")
        return ca

    def _checkin(self, message: dict[str, Any]) -> None:
        self._send(self.mdm["CheckInURL"], CHECKIN_TYPE, {"Topic": self.mdm["Topic"], **message})

    def _send(self, url: str, content_type: str, message: dict[str, Any]) -> httpx.Response:
        body = plistlib.dumps({"EnrollmentID": self.enrollment_id, **message})
        headers = {"Content-Type": content_type, "User-Agent": USER_AGENT, "Mdm-Signature": self.signature(body)}
        if self.account_driven:
            headers["Authorization"] = f"Bearer {self.token}"
        answer = self.http.put(url, content=body, headers=headers)
        if answer.status_code == 401 and self.account_driven:
            raise SignInAgain(challenge_url(answer))
        if answer.status_code == 401 or (answer.status_code == 403 and UNENROLL_CODE in answer.text):
            raise Unenrolled(answer.text.strip())
        _expect(answer, str(message.get("MessageType", "connect")))
        return answer

    def signature(self, body: bytes) -> str:
        """The ``Mdm-Signature`` header for ``body``."""
        assert self.identity is not None
        return base64.b64encode(cms.sign_detached(body, self.identity.key, self.identity.certificate)).decode()


def challenge_url(answer: httpx.Response) -> str:
    """Where a 401 sends the owner to sign in. Raises InstallationFailed without a challenge that iOS understands."""
    challenge = re.fullmatch(
        r'Bearer method="apple-as-web",? url="(https?://[^"]+)"', answer.headers.get("www-authenticate", "")
    )
    if challenge is None:
        raise InstallationFailed("the server refused without saying where to sign in")
    _check_url(challenge[1])
    return challenge[1]


_OIDS = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}


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


def _expect(answer: httpx.Response, what: str) -> None:
    if answer.status_code != 200:
        raise InstallationFailed(f"{what}: the server answered {answer.status_code} {answer.text.strip()[:200]}")


def certificate_request(subject: x509.Name, key: rsa.RSAPrivateKey, challenge: str) -> bytes:
    """A CSR with a challenge password, DER (RFC 2985 section 5.4.1)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def self_signed(subject: x509.Name, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The temporary certificate that signs a first SCEP request (RFC 8894 section 2.3)."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
