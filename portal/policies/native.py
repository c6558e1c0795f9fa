"""Accounts and the passcode as declarations of their own, with their credentials as assets.

Facts: Apple's schema, ``declarative/declarations`` (iOS 18.1). What a payload says and a declaration cannot (a VPN or a
certificate by its UUID, S/MIME, a principal's address) keeps the payload in a profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal.policies.content import PASSCODE, Part, put

PREFIX = "com.apple.configuration."
FIRST_IOS = (15, 0)
PASSCODE_SETTINGS = f"{PREFIX}passcode.settings"
AUTHENTICATION = {
    "EmailAuthNone": "None",
    "EmailAuthPassword": "Password",
    "EmailAuthCRAMMD5": "CRAMMD5",
    "EmailAuthNTLM": "NTLM",
    "EmailAuthHTTPMD5": "HTTPMD5",
}
MAIL = {
    "EmailAccountDescription": "VisibleName",
    "IncomingMailServerHostName": "IncomingServer.HostName",
    "IncomingMailServerPortNumber": "IncomingServer.Port",
    "IncomingMailServerIMAPPathPrefix": "IncomingServer.IMAPPathPrefix",
    "OutgoingMailServerHostName": "OutgoingServer.HostName",
    "OutgoingMailServerPortNumber": "OutgoingServer.Port",
}
EXCHANGE = {
    "Host": "HostName",
    "OAuth": "OAuth.Enabled",
    "OAuthSignInURL": "OAuth.SignInURL",
    "OAuthTokenRequestURL": "OAuth.TokenRequestURL",
    "EnableMail": "MailServiceActive",
    "EnableContacts": "ContactsServiceActive",
    "EnableCalendars": "CalendarServiceActive",
    "EnableReminders": "RemindersServiceActive",
    "EnableNotes": "NotesServiceActive",
}
CALENDARS = {
    "CalDAVAccountDescription": "VisibleName",
    "CalDAVHostName": "HostName",
    "CalDAVPort": "Port",
}
CONTACTS = {
    "CardDAVAccountDescription": "VisibleName",
    "CardDAVHostName": "HostName",
    "CardDAVPort": "Port",
}
LDAP = {"LDAPAccountDescription": "VisibleName", "LDAPAccountHostName": "HostName"}
SEARCHES = "LDAPSearchSettings"
SEARCH = {
    "LDAPSearchSettingDescription": "VisibleDescription",
    "LDAPSearchSettingSearchBase": "SearchBase",
    "LDAPSearchSettingScope": "Scope",
}
SCOPE = "LDAPSearchSettingScope"
"""Before each value of the key of the same name in the payload; a declaration leaves it out."""
SUBSCRIBED, CALENDAR_ADDRESS = "com.apple.subscribedcalendar.account", "SubCalAccountHostName"
SUBSCRIPTION = {"SubCalAccountDescription": "VisibleName", CALENDAR_ADDRESS: "CalendarURL"}
GOOGLE = {"AccountDescription": "VisibleName"}
OF_THE_PERSON = {"EmailAddress", "EmailAccountName", "AccountName"}
"""Stand in the identity asset."""
ALWAYS_TRUE = {"SSL", "IncomingMailServerUseSSL", "OutgoingMailServerUseSSL", "CalDAVUseSSL", "CardDAVUseSSL",
               "LDAPAccountUseSSL", "SubCalAccountUseSSL"}  # fmt: skip
"""A declared account has no such switch: it is taken to be on, and what is off stays a payload."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One user name and password, as an asset has them; without a password the phone asks for it."""

    username: str
    password: str = ""

    def document(self) -> dict[str, str]:
        """The JSON of ``com.apple.credential.usernameandpassword``."""
        return {"UserName": self.username} | ({"Password": self.password} if self.password else {})


@dataclass(frozen=True, slots=True)
class Account:
    """A declared account: its payload but for references, and what its assets say.

    ``assets``: by the path of a reference the asset's name: ``who`` it is for, ``in`` and ``out`` (credentials).
    """

    payload: dict[str, Any]
    identity: tuple[str, str]
    credentials: Mapping[str, Credentials]
    assets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Kind:
    type: str
    names: Mapping[str, str]
    username: str
    password: str
    others: frozenset[str] = frozenset()


_KINDS = {
    "com.apple.mail.managed": _Kind(
        "account.mail",
        MAIL,
        "IncomingMailServerUsername",
        "IncomingPassword",
        frozenset(
            {
                "EmailAccountType",
                "IncomingMailServerAuthentication",
                "OutgoingMailServerAuthentication",
                "OutgoingMailServerUsername",
                "OutgoingPassword",
                "OutgoingPasswordSameAsIncomingPassword",
            }
        ),
    ),
    "com.apple.eas.account": _Kind("account.exchange", EXCHANGE, "UserName", "Password"),
    "com.apple.caldav.account": _Kind("account.caldav", CALENDARS, "CalDAVUsername", "CalDAVPassword"),
    "com.apple.carddav.account": _Kind("account.carddav", CONTACTS, "CardDAVUsername", "CardDAVPassword"),
    "com.apple.ldap.account": _Kind(
        "account.ldap", LDAP, "LDAPAccountUserName", "LDAPAccountPassword", frozenset({SEARCHES})
    ),
    SUBSCRIBED: _Kind("account.subscribed-calendar", SUBSCRIPTION, "SubCalAccountUsername", "SubCalAccountPassword"),
    "com.apple.google-oauth": _Kind("account.google", GOOGLE, "", ""),
}
ASSETS = {
    "com.apple.mail.managed": ("who", "in", "out"),
    "com.apple.eas.account": ("who", "in"),
    "com.apple.caldav.account": ("in",),
    "com.apple.carddav.account": ("in",),
    "com.apple.ldap.account": ("in",),
    SUBSCRIBED: ("in",),
    "com.apple.google-oauth": ("who",),
}
"""By payload: the names of its account's assets. An account may leave one unused."""
REFERENCE = "AuthenticationCredentialsAssetReference"


def can_be(part: Part) -> bool:
    """Whether a part says nothing that its declaration could not say, too."""
    if part.type == PASSCODE:
        return True
    kind = _KINDS.get(part.type)
    if kind is None:
        return False
    address = part.values.get(CALENDAR_ADDRESS)
    if part.type == SUBSCRIBED and not (isinstance(address, str) and address.startswith("https://")):
        return False  # a payload may have a host alone, or plain http
    known = {*kind.names, kind.username, kind.password, *kind.others, *OF_THE_PERSON, *ALWAYS_TRUE}
    return set(part.values) <= known and all(part.values.get(name) is not False for name in ALWAYS_TRUE)


def type_of(payload: str) -> str:
    """The type of the configuration that stands for an account's payload."""
    return PREFIX + _KINDS[payload].type


def account(payload: str, values: Mapping[str, Any]) -> Account:
    """The declared account for the values of a payload, variables filled in."""
    kind = _KINDS[payload]
    said: dict[str, Any] = {}
    for theirs, ours in kind.names.items():
        if theirs in values:
            put(said, ours, values[theirs])
    name = values.get("EmailAccountName") or values.get("AccountName") or ""
    identity = (str(name), str(values.get("EmailAddress", "")))
    if SEARCHES in values:
        said["SearchSettings"] = [_search(each) for each in values[SEARCHES]]
    assets, credentials = {}, {}
    if "who" in ASSETS[payload] and any(identity):
        assets["UserIdentityAssetReference"] = "who"
    if payload == "com.apple.mail.managed":
        credentials = _mail(said, values)
        assets |= {("IncomingServer." if name == "in" else "OutgoingServer.") + REFERENCE: name for name in credentials}
    elif kind.username and values.get(kind.username):
        credentials["in"] = Credentials(str(values[kind.username]), str(values.get(kind.password, "")))
        assets[REFERENCE] = "in"
    if payload == "com.apple.eas.account":
        said["EnabledProtocolTypes"] = ["EAS"]
    return Account(said, identity, credentials, assets)


def _search(told: Mapping[str, Any]) -> dict[str, str]:
    """One node where a search of the directory begins."""
    return {ours: str(told[theirs]).removeprefix(SCOPE) for theirs, ours in SEARCH.items() if theirs in told}


def _mail(said: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Credentials]:
    """Its two servers, each with credentials unless it wants none."""
    put(said, "IncomingServer.ServerType", "POP" if values["EmailAccountType"] == "EmailTypePOP" else "IMAP")
    same = values.get("OutgoingPasswordSameAsIncomingPassword") is True
    incoming = (values.get("IncomingMailServerUsername", ""), values.get("IncomingPassword", ""))
    outgoing = (
        values.get("OutgoingMailServerUsername") or incoming[0],
        incoming[1] if same else values.get("OutgoingPassword", ""),
    )
    found = {}
    for name, side, (username, password) in (("in", "Incoming", incoming), ("out", "Outgoing", outgoing)):
        method = AUTHENTICATION[values[f"{side}MailServerAuthentication"]]
        put(said, f"{side}Server.AuthenticationMethod", method)
        if method != "None":
            found[name] = Credentials(str(username), str(password))
    return found


def passcode(minutes: int | None) -> dict[str, Any]:
    """The payload of ``passcode.settings``. In user enrollment its mere presence asks for six digits that are not
    simple; all other values are ignored, but minutes take away "Never" from Auto-Lock."""
    asked: dict[str, Any] = {"RequirePasscode": True, "RequireComplexPasscode": True, "MinimumLength": 6}
    return asked | ({"MaximumInactivityInMinutes": minutes} if minutes else {})


def refer(account: Account, references: Mapping[str, str]) -> dict[str, Any]:
    """The account's payload with its assets, each path to the identifier of one."""
    payload = {key: dict(value) if isinstance(value, dict) else value for key, value in account.payload.items()}
    for path, identifier in references.items():
        put(payload, path, identifier)
    return payload
