"""Forms for the parts of a policy: for people where work on personal phones lives, made from the schema for the rest.

A form edits the values of one payload. What it has no field for (deep lists, from an upload) stays as it is.
"""

import binascii
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from portal.pki import opening
from portal.policies import catalogue, holding, own_authority
from portal.policies.catalogue import Key
from portal.policies.content import PASSCODE, RESTRICTIONS, Part, at, is_secret, put

WIFI, EXCHANGE, MAIL = "com.apple.wifi.managed", "com.apple.eas.account", "com.apple.mail.managed"
CALENDAR, CONTACTS = "com.apple.caldav.account", "com.apple.carddav.account"
SUBSCRIBED, LDAP = "com.apple.subscribedcalendar.account", "com.apple.ldap.account"
VPN, WEB_CLIP, SSO = "com.apple.vpn.managed.applayer", "com.apple.webClip.managed", "com.apple.extensiblesso"
ROOT, PKCS12, SCEP = "com.apple.security.root", "com.apple.security.pkcs12", "com.apple.security.scep"
IDENTITIES = (PKCS12, SCEP, "com.apple.security.acme")
CERTIFICATES = (ROOT, "com.apple.security.pem", "com.apple.security.pkcs1", PKCS12)

FOR_PEOPLE: dict[str, tuple[str, ...]] = {
    PASSCODE: ("maxInactivity",),
    WIFI: (
        "SSID_STR",
        "HIDDEN_NETWORK",
        "AutoJoin",
        "EncryptionType",
        "Password",
        "EAPClientConfiguration.AcceptEAPTypes",
        "EAPClientConfiguration.UserName",
        "EAPClientConfiguration.UserPassword",
        "EAPClientConfiguration.OuterIdentity",
        "EAPClientConfiguration.TTLSInnerAuthentication",
        "EAPClientConfiguration.TLSTrustedServerNames",
        "EAPClientConfiguration.PayloadCertificateAnchorUUID",
        "EAPClientConfiguration.TLSMinimumVersion",
        "PayloadCertificateUUID",
    ),
    EXCHANGE: (
        "Host",
        "EmailAddress",
        "UserName",
        "Password",
        "OAuth",
        "OAuthSignInURL",
        "OAuthTokenRequestURL",
        "SSL",
        "EnableMail",
        "EnableContacts",
        "EnableCalendars",
        "EnableReminders",
        "EnableNotes",
        "PreventMove",
        "PreventAppSheet",
        "PayloadCertificateUUID",
        "VPNUUID",
    ),
    MAIL: (
        "EmailAccountDescription",
        "EmailAccountType",
        "EmailAccountName",
        "EmailAddress",
        "IncomingMailServerHostName",
        "IncomingMailServerPortNumber",
        "IncomingMailServerUseSSL",
        "IncomingMailServerAuthentication",
        "IncomingMailServerUsername",
        "IncomingPassword",
        "OutgoingMailServerHostName",
        "OutgoingMailServerPortNumber",
        "OutgoingMailServerUseSSL",
        "OutgoingMailServerAuthentication",
        "OutgoingMailServerUsername",
        "OutgoingPasswordSameAsIncomingPassword",
        "PreventMove",
        "PreventAppSheet",
        "VPNUUID",
    ),
    CALENDAR: (
        "CalDAVAccountDescription",
        "CalDAVHostName",
        "CalDAVPort",
        "CalDAVUseSSL",
        "CalDAVPrincipalURL",
        "CalDAVUsername",
        "CalDAVPassword",
        "VPNUUID",
    ),
    CONTACTS: (
        "CardDAVAccountDescription",
        "CardDAVHostName",
        "CardDAVPort",
        "CardDAVUseSSL",
        "CardDAVPrincipalURL",
        "CardDAVUsername",
        "CardDAVPassword",
        "VPNUUID",
    ),
    SUBSCRIBED: (
        "SubCalAccountDescription",
        "SubCalAccountHostName",
        "SubCalAccountUseSSL",
        "SubCalAccountUsername",
        "SubCalAccountPassword",
        "VPNUUID",
    ),
    RESTRICTIONS: (
        "allowOpenFromManagedToUnmanaged",
        "allowOpenFromUnmanagedToManaged",
        "requireManagedPasteboard",
        "forceAirDropUnmanaged",
        "allowUnmanagedToReadManagedContacts",
        "allowManagedAppsCloudSync",
        "allowEnterpriseBookBackup",
        "forceEncryptedBackup",
        "allowScreenShot",
        "allowLockScreenNotificationsView",
        "allowDiagnosticSubmission",
    ),
    VPN: (
        "UserDefinedName",
        "VPNType",
        "VPNSubType",
        "VPN.ProviderBundleIdentifier",
        "VPN.AuthenticationMethod",
        "VPN.PayloadCertificateUUID",
        "VPN.Password",
        "IKEv2.RemoteAddress",
        "IKEv2.RemoteIdentifier",
        "IKEv2.LocalIdentifier",
        "IKEv2.AuthenticationMethod",
        "IKEv2.PayloadCertificateUUID",
        "IKEv2.SharedSecret",
        "SafariDomains",
        "AssociatedDomains",
    ),
    ROOT: ("PayloadContent",),
    PKCS12: ("PayloadContent", "Password"),
    SCEP: (
        "PayloadContent.URL",
        "PayloadContent.Name",
        "PayloadContent.Subject",
        "PayloadContent.SubjectAltName.rfc822Name",
        "PayloadContent.Challenge",
        "PayloadContent.Keysize",
        "PayloadContent.Key Usage",
        "PayloadContent.CAFingerprint",
    ),
    WEB_CLIP: ("Label", "URL", "Icon", "FullScreen", "IsRemovable"),
    SSO: ("ExtensionIdentifier", "TeamIdentifier", "Type", "URLs", "Hosts", "Realm"),
}
"""By type, in the order in which they are offered: the fields that stand in front. All others come behind."""
BEGINNINGS: dict[str, dict[str, Any]] = {
    PASSCODE: {"forcePIN": True},
    WIFI: {"EncryptionType": "WPA2"},
    EXCHANGE: {
        "EmailAddress": "{email}",
        "UserName": "{username}",
        "SSL": True,
        **dict.fromkeys(("EnableMail", "EnableContacts", "EnableCalendars", "EnableReminders", "EnableNotes"), True),
    },
    MAIL: {
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAccountName": "{name}",
        "EmailAddress": "{email}",
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerUsername": "{username}",
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingPasswordSameAsIncomingPassword": True,
    },
    CALENDAR: {"CalDAVUseSSL": True, "CalDAVUsername": "{username}"},
    CONTACTS: {"CardDAVUseSSL": True, "CardDAVUsername": "{username}"},
    RESTRICTIONS: {"allowOpenFromManagedToUnmanaged": False, "requireManagedPasteboard": True},
    VPN: {"VPNType": "IKEv2"},
    SCEP: {
        "PayloadContent": {
            "URL": own_authority.OWN,
            "Keysize": 2048,
            "Key Usage": 5,
            "Subject": [[["CN", "{managed_apple_account}"]]],
        }
    },
    WEB_CLIP: {"IsRemovable": True},
}
"""What a new part begins with."""
NOT_OFFERED = frozenset({"com.apple.education", "com.apple.sso"})
"""Need supervised devices, or have a better successor."""
AUTO_LOCK_MINUTES = 15
"""Any value takes away "Never"; more it does not do in user enrollment."""
LONGEST_VALUE = 2000
MOST_LINES = 100
LARGEST_ICON = 400
"""Pixels, each way."""
LARGEST_FILE = 200_000
"""Bytes of an uploaded certificate or picture."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the dotted path of its value; ``kind`` is how it is entered."""

    path: str
    kind: str
    key: Key

    @property
    def choices(self) -> tuple[Any, ...]:
        """What can be chosen."""
        return self.key.choices or (next(iter(self.key.keys.values())).choices if self.key.keys else ())


def offered() -> list[str]:
    """The types with a form for people, then every other that may be in a policy."""
    known = catalogue.load()
    others = sorted(known.usable() - set(FOR_PEOPLE) - NOT_OFFERED, key=lambda kind: known.payloads[kind].title)
    return [*FOR_PEOPLE, *(each for each in others if any(fields(each)))]


def fields(kind: str) -> tuple[list[Field], list[Field]]:
    """The fields in front and those behind. Raises KeyError for what no policy may carry."""
    payload = catalogue.load().payloads[kind]
    if not payload.usable:
        raise KeyError(kind)
    known = {each.path: each for each in _all(kind, payload.keys)}
    front = [known[path] for path in FOR_PEOPLE.get(kind, ()) if path in known]
    if kind == PASSCODE:
        return front, []
    behind = [each for path, each in sorted(known.items()) if each not in front and not path.startswith("Payload")]
    return front, behind + [each for path, each in known.items() if each not in front and path == "PayloadContent"]


def _all(kind: str, keys: Mapping[str, Key], prefix: str = "") -> Iterator[Field]:
    for name, key in keys.items():
        path = f"{prefix}.{name}" if prefix else name
        if not key.usable and kind != PASSCODE:
            continue
        made = _kind(kind, path, key)
        if made == "dictionary":
            yield from _all(kind, key.keys, path)
        elif made is not None:
            yield Field(path, made, key)


def _kind(kind: str, path: str, key: Key) -> str | None:
    """How a key is entered; None for what a form has no field for."""
    name = path.rpartition(".")[2]
    if kind == PASSCODE:
        return "switch" if path == "maxInactivity" else None
    if name == "PayloadCertificateUUID" or name.endswith("CertificateUUID"):
        return "identity"
    if name in ("PayloadCertificateAnchorUUID", "TLSTrustedCertificates"):
        return "anchors"
    if name == "VPNUUID":
        return "vpn" if kind != VPN else None  # its own is given by the portal
    if path == "PayloadContent.Subject" and kind == SCEP:
        return "subject"
    if key.type == "dictionary":
        return "dictionary" if key.keys and "ANY" not in key.keys else None
    if key.type == "array":
        return _list_kind(key)
    if key.type == "data":
        return "fingerprint" if name == "CAFingerprint" else "file"
    if key.type == "string" and is_secret(kind, path):
        return "secret"
    return {"boolean": "choice" if key.choices else "flag", "string": "choice" if key.choices else "text",
            "integer": "choice" if key.choices else "number"}.get(key.type)  # fmt: skip


def _list_kind(key: Key) -> str | None:
    if len(key.keys) != 1:
        return None
    (entry,) = key.keys.values()
    if entry.choices:
        return "several"
    return {"string": "lines"}.get(entry.type)


# --- shown -----------------------------------------------------------------------------------------------------------


def shown(field: Field, values: Mapping[str, Any], kind: str) -> Any:
    """What the field shows of the values it is filled from; of secrets and files only whether there is one."""
    value = at(values, field.path)
    if field.kind in ("secret", "file") or is_secret(kind, field.path):
        return bool(value)
    if value is None:
        return [] if field.kind in ("several", "anchors") else ""
    if field.kind in ("lines",):
        return "\n".join(map(str, value))
    if field.kind == "subject":
        return ", ".join(f"{pair[0]}={pair[1]}" for level in value for pair in level)
    if field.kind == "fingerprint":
        return value.hex()
    if field.kind == "flag":
        return "yes" if value else "no"
    return [str(each) for each in value] if field.kind in ("several", "anchors") else str(value)


# --- read ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """A submitted form: texts and lists by field name, files by field name."""

    text: Callable[[str], str]
    several: Callable[[str], Sequence[str]]
    file: Callable[[str], bytes]


class Wrong(Exception):
    """A field cannot be read; ``code`` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read(kind: str, before: Part | None, entered: Entered) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of a part as a form says them, and by path what is wrong. Secrets that were not typed stay, as long as
    they go where they went; with ``before`` None there are none."""
    front, behind = fields(kind)
    values = _copy(before.values) if before is not None else _copy({PASSCODE: BEGINNINGS[PASSCODE]}.get(kind, {}))
    problems: dict[str, str] = {}
    for field in (*front, *behind):
        try:
            value = _entered(field, entered)
        except Wrong as wrong:
            problems[field.path] = wrong.code
            continue
        if value is None and field.kind in ("secret", "file"):
            if entered.text(f"forget.{field.path}"):
                _drop(values, field.path)
        elif value is None:
            _drop(values, field.path)
        else:
            put(values, field.path, value)
    if kind == VPN:
        values["VPNUUID"] = values.get("VPNUUID") or str(uuid.uuid4()).upper()
    content = at(values, "PayloadContent")
    if kind == ROOT and isinstance(content, bytes):
        values["PayloadContent"] = as_der(content) or content
    problems = _files(kind, values) | problems
    if before is not None:
        there = {field.path for field in (*front, *behind)}
        for path in holding.sent_elsewhere(before, Part(before.uuid, kind, values)):
            if path in there:
                problems.setdefault(path, "secret_again")
            else:  # from an upload: there is no field to enter it again
                problems.setdefault("", "secret_upload_again")
    return values, problems


def _entered(field: Field, entered: Entered) -> Any:
    """The value that a field says; None for nothing. Raises Wrong."""
    name = field.path
    if field.kind == "file":
        return _file(field, entered.file(name))
    if field.kind in ("several", "anchors"):
        chosen = [each for each in entered.several(name) if each][:MOST_LINES]
        return [_as(field, each) for each in chosen] or None
    text = entered.text(name).replace("\r\n", "\n")
    text = text if field.kind == "secret" else text.strip()
    if not text:
        return None
    if len(text) > LONGEST_VALUE:
        raise Wrong("too_long")
    readers: dict[str, Callable[[str], Any]] = {
        "flag": lambda value: value == "yes",
        "switch": lambda _value: AUTO_LOCK_MINUTES,
        "number": _number,
        "choice": lambda value: _as(field, value),
        "lines": lambda value: [line.strip() for line in value.splitlines() if line.strip()][:MOST_LINES],
        "subject": _subject,
        "fingerprint": _fingerprint,
    }
    return readers.get(field.kind, str)(text)


def _as(field: Field, text: str) -> Any:
    if not field.choices:
        return text
    found = [each for each in field.choices if str(each) == text]
    if not found:
        raise Wrong("not_a_choice")
    return found[0]


def _number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise Wrong("number")
    return int(text)


def _subject(text: str) -> list[list[list[str]]]:
    """``O=Company, CN={username}`` as SCEP has it: a list of levels of pairs."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if not pairs or any(not name.strip() or not equals or not value.strip() for name, equals, value in pairs):
        raise Wrong("subject")
    return [[[name.strip(), value.strip()]] for name, _, value in pairs]


def _fingerprint(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", "").replace(" ", ""))
    except ValueError:
        raise Wrong("fingerprint") from None


def _file(field: Field, content: bytes) -> bytes | None:
    if not content:
        return None
    if len(content) > LARGEST_FILE:
        raise Wrong("too_large")
    return content


def _files(kind: str, values: Mapping[str, Any]) -> dict[str, str]:
    """By path what is wrong with uploaded files."""
    content, icon = at(values, "PayloadContent"), values.get("Icon")
    if kind == ROOT and isinstance(content, bytes) and as_der(content) is None:
        return {"PayloadContent": "certificate"}
    if kind == PKCS12 and isinstance(content, bytes) and not _opens(content, str(values.get("Password", ""))):
        return {"PayloadContent": "identity"}
    if kind == WEB_CLIP and isinstance(icon, bytes) and not _small_png(icon):
        return {"Icon": "icon"}
    return {}


def _opens(content: bytes, password: str) -> bool:
    try:
        opening.opened(content, password)
    except opening.NotOpened:
        return False
    return b"-----BEGIN" not in content  # iOS takes PKCS#12 alone


def _small_png(content: bytes) -> bool:
    """Whether it is a PNG of at most 400 by 400 (RFC 2083, section 11.2.1: the sizes stand at fixed places)."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return False
    return all(0 < int.from_bytes(content[at_ : at_ + 4], "big") <= LARGEST_ICON for at_ in (16, 20))


def as_der(content: bytes) -> bytes | None:
    """A certificate in PEM or DER as DER, which is what a profile carries; None if it is none."""
    try:
        if b"-----BEGIN" in content:
            return x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(content).public_bytes(Encoding.DER)
    except (ValueError, binascii.Error):
        return None


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(each) if isinstance(each, Mapping) else each for key, each in values.items()}


def _drop(values: dict[str, Any], path: str) -> None:
    """Take a value out, and dictionaries that are empty then."""
    *parents, last = path.split(".")
    levels = [values]
    for name in parents:
        inside = levels[-1].get(name)
        if not isinstance(inside, dict):
            return
        levels.append(inside)
    levels[-1].pop(last, None)
    for name, outer, inner in zip(reversed(parents), reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        if not inner:
            outer.pop(name)
