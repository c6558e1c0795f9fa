"""What of a configuration profile would be of use on a user-enrolled device, said before anybody gets it.

iOS rejects a whole profile for one payload that user enrollment forbids; what it ignores it ignores in silence. Facts:
the catalogue, and the notes of Apple's schema on what only works together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portal.policies import catalogue
from portal.policies.catalogue import Key, Payload
from portal.policies.paths import below

FORBIDDEN = frozenset({"unreadable", "too_large", "no_payload", "removal", "unknown_payload", "forbidden_payload",
                       "forbidden"})  # fmt: skip
"""Problems for which nobody gets the profile."""
BROKEN = frozenset({"missing", "wrong_type", "not_a_choice", "out_of_range", "certificate_elsewhere", "outer_identity",
                    "needs_uuid", "twice", "nothing_enabled", "password_with_oauth", "host_missing", "sso_needs",
                    "no_network", "no_password", "too_many", "uuid_twice", "control_character",
                    "cannot_be_written"})  # fmt: skip
"""Problems for which a part of it would not work."""
NOTED = frozenset({"ignored", "removed", "unknown_key", "newer_ios", "deprecated"})
"""What is no reason not to use it."""
OLDEST = (13, 1)
"""What came before needs no word: user enrollment began here."""
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "real": (int, float),
    "data": (bytes,),
    "array": (list,),
    "dictionary": (dict,),
}
NEEDS_UUID = {
    "com.apple.relay.managed": "RelayUUID",
    "com.apple.webcontent-filter": "ContentFilterUUID",
    "com.apple.dnsProxy.managed": "DNSProxyUUID",
}
"""In user enrollment these act only on the work apps that name them."""
WIFI = "com.apple.wifi.managed"
CERTIFICATES = frozenset({"com.apple.security.pkcs12", "com.apple.security.scep", "com.apple.security.acme",
                          "com.apple.security.pem", "com.apple.security.pkcs1", "com.apple.security.root"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """``payload``: its type, empty for the whole profile; ``key``: its dotted path; ``problem``: a code."""

    payload: str
    key: str
    problem: str
    detail: str = ""

    @property
    def place(self) -> str:
        """Where it is, and about what."""
        return " ".join(filter(None, (self.payload, self.key, self.detail)))


ENCRYPTED = ("EncryptedPayloadContent", "IsEncrypted")
"""Keys of a profile whose payloads nobody can look at; what a device does with both kinds in one is not known [?]."""


def usable(problems: list[Problem]) -> bool:
    """Whether a profile with these problems can be used."""
    return not any(each.problem in FORBIDDEN | BROKEN for each in problems)


def check(profile: Mapping[str, Any]) -> list[Problem]:
    """Everything that can be said about a profile's property list."""
    payloads = profile.get("PayloadContent")
    if profile.get("PayloadType") != "Configuration" or not isinstance(payloads, list):
        return [Problem("", "", "unreadable")]
    if not payloads:
        return [Problem("", "PayloadContent", "no_payload")]
    found = [Problem("", "PayloadRemovalDisallowed", "removal")] if profile.get("PayloadRemovalDisallowed") else []
    found += [Problem("", key, "forbidden") for key in ENCRYPTED if key in profile]
    certificates = {
        str(each.get("PayloadUUID", "")).casefold()
        for each in payloads
        if isinstance(each, dict) and isinstance(each.get("PayloadType"), str) and each["PayloadType"] in CERTIFICATES
    }
    for each in payloads:
        found += _payload(each, certificates)
    kinds = Counter(str(each.get("PayloadType")) for each in payloads if isinstance(each, dict))
    if kinds[catalogue.RESTRICTIONS] > 1:  # the same key in two payloads has no meaning that anybody promises
        found.append(Problem(catalogue.RESTRICTIONS, "", "twice"))
    return found


def _payload(values: object, certificates: set[str]) -> Iterator[Problem]:
    if not isinstance(values, dict) or not isinstance(values.get("PayloadType"), str):
        yield Problem("", "PayloadContent", "unreadable")
        return
    kind = values["PayloadType"]
    known = catalogue.load().payloads.get(kind)
    if known is None:
        yield Problem(kind, "", "unknown_payload")
        return
    if not known.usable:
        yield Problem(kind, "", "forbidden_payload")
        return
    yield from _versions(kind, "", known)
    own = {key: value for key, value in values.items() if not key.startswith("Payload") or key in known.keys}
    yield from _values(kind, "", own, known.keys)
    yield from _together(kind, values, certificates)


def _values(kind: str, path: str, values: dict[str, Any], known: Mapping[str, Key]) -> Iterator[Problem]:
    for name, value in values.items():
        here, key = below(path, name), known.get(name)
        if key is None:
            # Restrictions that user enrollment does not know are refused, whatever they are called later.
            yield Problem(kind, here, "forbidden" if kind == catalogue.RESTRICTIONS and not path else "unknown_key")
        elif not key.usable:
            yield Problem(kind, here, key.ue if key.ue in ("ignored", "removed") else "forbidden")
        else:
            yield from _versions(kind, here, key)
            yield from _value(kind, here, value, key)
    for name, key in known.items():
        if key.required and key.usable and name not in values:
            yield Problem(kind, below(path, name), "missing")


def _value(kind: str, path: str, value: object, key: Key) -> Iterator[Problem]:
    wanted = KINDS.get(key.type)
    if wanted is not None and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
        yield Problem(kind, path, "wrong_type", key.type)
    elif key.choices and not isinstance(value, list | dict) and value not in key.choices:
        yield Problem(kind, path, "not_a_choice", ", ".join(map(str, key.choices)))
    elif isinstance(value, int | float) and not isinstance(value, bool) and not _within(value, key):
        yield Problem(kind, path, "out_of_range")
    elif isinstance(value, dict) and key.keys and "ANY" not in key.keys:
        yield from _values(kind, path, value, key.keys)
    elif isinstance(value, list) and len(key.keys) == 1:
        (entry,) = key.keys.values()
        for each in value:
            yield from _value(kind, path, each, entry)


def _within(value: float, key: Key) -> bool:
    return (key.least is None or value >= key.least) and (key.most is None or value <= key.most)


def _versions(kind: str, path: str, known: Key | Payload) -> Iterator[Problem]:
    if tuple(int(part) for part in known.since.split(".")) > OLDEST:
        yield Problem(kind, path, "newer_ios", known.since)
    if known.deprecated:
        yield Problem(kind, path, "deprecated", known.deprecated)


def _together(kind: str, values: dict[str, Any], certificates: set[str]) -> Iterator[Problem]:
    """What only works with something else in the profile, or in the payload."""
    identity = values.get("PayloadCertificateUUID")
    if isinstance(identity, str) and identity.casefold() not in certificates:
        yield Problem(kind, "PayloadCertificateUUID", "certificate_elsewhere")
    eap = values.get("EAPClientConfiguration")
    if isinstance(eap, dict) and str(eap.get("TLSMinimumVersion")) == "1.3" and not eap.get("OuterIdentity"):
        yield Problem(kind, "EAPClientConfiguration.OuterIdentity", "outer_identity")
    if kind == "com.apple.eas.account":
        yield from _exchange(kind, values)
    if kind == "com.apple.security.scep" and not _is_subject(_inside(values, "PayloadContent").get("Subject", [])):
        yield Problem(kind, "PayloadContent.Subject", "wrong_type", "array")
    if kind == "com.apple.extensiblesso":
        missing = {"Credential": ("Hosts", "Realm"), "Redirect": ("URLs",)}.get(str(values.get("Type")), ())
        yield from (Problem(kind, each, "sso_needs", str(values["Type"])) for each in missing if not values.get(each))
    if kind == WIFI and not values.get("SSID_STR") and not values.get("DomainName"):
        yield Problem(kind, "SSID_STR", "no_network")
    closed = kind == WIFI and values.get("EncryptionType") in ("WEP", "WPA", "WPA2", "WPA3")
    if closed and not values.get("Password") and not values.get("EAPClientConfiguration"):
        yield Problem(kind, "Password", "no_password")
    needed = NEEDS_UUID.get(kind)
    if needed is not None and not values.get(needed):
        yield Problem(kind, needed, "needs_uuid")


def _inside(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _is_subject(value: object) -> bool:
    """Levels of pairs: ``[[["O", "Example"]], [["CN", "..."]]]``."""
    return isinstance(value, list) and all(
        isinstance(level, list)
        and level
        and all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, str) for each in pair) for pair in level
        )
        for level in value
    )


def _exchange(kind: str, values: dict[str, Any]) -> Iterator[Problem]:
    switches = ("EnableMail", "EnableContacts", "EnableCalendars", "EnableReminders", "EnableNotes")
    if not any(values.get(each, True) for each in switches):
        yield Problem(kind, "EnableMail", "nothing_enabled")
    if values.get("OAuth") is True and values.get("Password"):
        yield Problem(kind, "Password", "password_with_oauth")
    if not values.get("Host") and (values.get("OAuth") is not True or values.get("OAuthSignInURL")):
        yield Problem(kind, "Host", "host_missing")
