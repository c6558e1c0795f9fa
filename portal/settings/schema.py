"""A class for each section of the settings; what is wrong with a value is said at its setting."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from babel.dates import get_timezone
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator, model_validator
from pydantic_core import PydanticCustomError

from portal import branding, mail_addresses
from portal.versions import version_key

SHORTEST_BACKEND_SECRET = 16
"""Characters of the keys that the portal and a backend share."""
LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=4096)


def wrong(setting: str, code: str, says: str) -> PydanticCustomError:
    """A refusal that several settings have a part in, told at ``setting``; ``code`` is for a page's own words."""
    return PydanticCustomError(code, "{says}", {"setting": setting, "says": says})


Address = Annotated[str, Field(pattern=mail_addresses.ADDRESS)]
Sender = Annotated[str, Field(pattern=mail_addresses.SENDER)]
Version = Annotated[str, Field(pattern=r"^\d{1,2}(\.\d{1,2}){0,2}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2}(_[A-Z]{2})?$")]


class Company(Section):
    name: str = Field(min_length=1, max_length=80)
    identifier: str
    support_email: Address
    support_phone: str = Field(pattern=r"^[+()/\d .-]{0,40}$")
    time_zone: str
    accent: str = Field(pattern=r"^(#[0-9a-fA-F]{6})?$")
    logo: str = Field(pattern=r"^[A-Za-z0-9+/=]*$", max_length=200_000, repr=False)

    @field_validator("time_zone")
    @classmethod
    def _there_is_such_a_zone(cls, name: str) -> str:
        try:
            get_timezone(name)
        except (LookupError, ValueError, OSError):
            raise PydanticCustomError("time_zone", "there is no such time zone") from None
        return name

    @model_validator(mode="after")
    def _accent_is_readable(self) -> "Company":
        if self.accent and branding.worst_contrast(self.accent) < branding.READABLE:
            raise PydanticCustomError(
                "accent_contrast",
                "the accent colour must be darker: its contrast with the page is {ratio} to 1, it needs 4.5",
                {"setting": "company.accent", "ratio": round(branding.worst_contrast(self.accent), 1)},
            )
        return self


class Enrollment(Section):
    self_enrollment: bool
    self_enrollment_for: tuple[str, ...]
    request_lifetime_days: int = Field(ge=1, le=90)
    devices_per_person: int = Field(ge=0, le=20)
    minimum_ios: Version
    offer_corporate: bool
    email_as_managed_apple_account: bool
    silent_days: int = Field(ge=0, le=365)

    @model_validator(mode="after")
    def _minimum_is_possible(self) -> "Enrollment":
        if version_key(self.minimum_ios) < (13, 1):
            raise PydanticCustomError(
                "minimum_ios_early",
                "minimum_ios cannot be before 13.1: User Enrollment came with it",
                {"setting": "enrollment.minimum_ios"},
            )
        return self

    def may_start(self, username: str, email: str) -> bool:
        """Whether somebody may enroll without an invitation: by username, or by @domain of their e-mail address."""
        if not self.self_enrollment:
            return False
        wanted = {each.strip().casefold() for each in self.self_enrollment_for}
        mine = {username.casefold(), "@" + email.rpartition("@")[2].casefold()}
        return not wanted or bool(wanted & mine)


class AccountDriven(Section):
    domains: tuple[str, ...]
    prefer: Literal["auto", "profile", "account"]
    minimum_ios: Version
    token_minutes: int = Field(ge=1, le=60)
    sign_in_again_days: int = Field(ge=0, le=3650)
    device_roots: str
    oauth2_provider: str
    oauth2_client_id: str


class ManagedAppleAccount(Section):
    source: Literal["attribute", "email", "pattern", "import"]
    pattern: str
    domain: str
    domain_map: tuple[Annotated[str, Field(pattern=r"^[^=\s]+=[^=\s]+$")], ...]

    def mapped(self, domain: str) -> str:
        """``domain``, or what replaces it."""
        pairs = (pair.casefold().split("=") for pair in self.domain_map)
        return dict(pairs).get(domain, domain)


class Passcode(Section):
    tries: int = Field(ge=1, le=10)
    resend_seconds: int = Field(ge=10, le=3600)
    sends: int = Field(ge=1, le=20)
    lifetime_minutes: int = Field(ge=0, le=10080)
    shown_to_helpdesk: bool


class Retention(Section):
    closed_requests_days: int = Field(ge=0, le=3650)
    mail_days: int = Field(ge=1, le=365)
    commands_days: int = Field(ge=31, le=3650)


class Profile(Section):
    lifetime_minutes: int = Field(ge=1, le=60)
    signing_identity: str = Field(repr=False, max_length=100_000)
    signing_certificate: str
    signing_key: str
    certificate_days: int = Field(ge=7, le=3650)


class Session(Section):
    idle_minutes: int = Field(ge=1, le=480)
    absolute_hours: int = Field(ge=1, le=24)
    staff_idle_minutes: int = Field(ge=1, le=480)


class SignIn(Section):
    passwords: bool
    password_length: int = Field(ge=8, le=64)
    account_tries: int = Field(ge=1, le=100)
    address_tries: int = Field(ge=1, le=1_000_000)
    window_minutes: int = Field(ge=1, le=1440)


class Ldap(Section):
    servers: tuple[str, ...]
    ca_file: str
    bind: Literal["search", "direct"]
    service_dn: str
    service_password: str = Field(repr=False)
    user_dn: str
    base_dn: str
    user_filter: str
    username_attribute: str
    subject_attribute: str
    name_attribute: str
    email_attribute: str
    phone_attribute: str
    locale_attribute: str
    managed_apple_account_attribute: str
    group_base_dn: str
    group_filter: str
    nested_groups: bool
    required_group: str
    helpdesk_group: str
    admin_group: str
    timeout_seconds: int = Field(ge=1, le=30)

    @model_validator(mode="after")
    def _is_complete(self) -> "Ldap":
        if not self.servers:
            return self
        for server in self.servers:
            if urlsplit(server).scheme not in ("ldap", "ldaps") or not urlsplit(server).hostname:
                raise wrong(
                    "ldap.servers", "ldap_server", f"servers must be like ldaps://dc1.example.com, not {server!r}"
                )
        if not self.base_dn:
            raise wrong("ldap.base_dn", "needed", "base_dn is missing")
        if self.bind == "direct" and "{username}" not in self.user_dn:
            raise wrong("ldap.user_dn", "needs_username", 'user_dn must contain {username} where bind = "direct"')
        if "{username}" not in self.user_filter:
            raise wrong("ldap.user_filter", "needs_username", "user_filter needs {username}")
        if "{dn}" not in self.group_filter:
            raise wrong("ldap.group_filter", "needs_dn", "group_filter needs {dn}")
        return self


class OidcProvider(Section):
    """One OpenID provider; ``name`` is part of addresses and of people's source, so it never changes."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,20}$")
    title: str
    issuer: str
    client_id: str
    client_secret: str = Field("", repr=False)
    client_authentication: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    scopes: str = "openid profile email"
    logo: str = ""
    domains: tuple[str, ...] = ()
    username_claim: str = "preferred_username"
    name_claim: str = "name"
    email_claim: str = "email"
    phone_claim: str = "phone_number"
    locale_claim: str = "locale"
    managed_apple_account_claim: str = ""
    groups_claim: str = ""
    required_group: str = ""
    helpdesk_group: str = ""
    admin_group: str = ""
    second_factor: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _issuer_is_usable(self) -> "OidcProvider":
        url = urlsplit(self.issuer)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK_HOSTS):
            raise wrong("oidc.providers", "issuer_https", "issuer must begin with https://")
        if (self.required_group or self.helpdesk_group or self.admin_group) and not self.groups_claim:
            raise wrong("oidc.providers", "groups_claim", "groups_claim is missing")
        return self


class Oidc(Section):
    providers: tuple[OidcProvider, ...]

    @model_validator(mode="after")
    def _names_are_different(self) -> "Oidc":
        names = [provider.name for provider in self.providers]
        if len(set(names)) != len(names):
            raise wrong("oidc.providers", "provider_twice", "two providers have the same name")
        return self


Translations = dict[Language, Annotated[str, Field(max_length=4000)]]
"""A text by language; without one for a language the portal's own words stay there."""
TEXT_VARIABLES: dict[str, tuple[str, ...]] = {
    "privacy_lead": ("company",),
    "privacy_more": ("company",),
    "overview_more": ("company",),
    "finish_more": ("company",),
    "mail_invitation": ("company", "name", "asked_by"),
    "mail_passcode": ("company", "name"),
    "sms_invitation": ("company", "name", "link"),
}
"""What each text may name in braces."""


class Texts(Section):
    privacy_lead: Translations
    privacy_more: Translations
    overview_more: Translations
    finish_more: Translations
    mail_invitation: Translations
    mail_passcode: Translations
    sms_invitation: Translations

    @model_validator(mode="after")
    def _variables_exist(self) -> "Texts":
        for name, variables in TEXT_VARIABLES.items():
            for language, text in getattr(self, name).items():
                if name == "sms_invitation" and "{link}" not in text:
                    values = {"setting": f"texts.{name}", "language": language}
                    raise PydanticCustomError("text_link", "a text message needs {{link}}", values)
                unknown = set(re.findall(r"\{([^{}]*)\}", text)) - set(variables)
                if unknown:
                    raise PydanticCustomError(
                        "text_variable",
                        "{variable} is none of the names that the text may use ({known})",
                        {
                            "setting": f"texts.{name}",
                            "language": language,
                            "variable": "{" + min(unknown) + "}",
                            "known": ", ".join("{" + each + "}" for each in variables),
                        },
                    )
        return self

    def own(self, name: str, language: str, values: dict[str, str]) -> list[str]:
        """The company's own words for ``name``, filled in, as paragraphs; none if the portal's own are to stand."""
        translations: dict[str, str] = getattr(self, name)
        text = translations.get(language) or translations.get(language.split("_")[0]) or ""
        for variable in TEXT_VARIABLES[name]:
            text = text.replace("{" + variable + "}", values.get(variable, ""))
        return [paragraph.strip() for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


class Scep(Section):
    accept_legacy: bool


_APPLE = r"^(https://|http://127\.0\.0\.1:)[^\s?#@]+$"
"""An address of Apple's; over plain HTTP only one on this machine, for tests."""


class Mdm(Section):
    backend: Literal["embedded", "nanomdm", "maas360"]
    topic: str
    push_identity: str = Field(repr=False, max_length=100_000)
    push_server: str = Field(pattern=r"^https://[^\s/]+$")
    refresh_hours: int = Field(ge=1, le=720)
    declarative: bool
    apple_business: str = Field(pattern=r"^https://[^\s/]+$")


class Policies(Section):
    enabled: bool


class Apps(Section):
    enabled: bool
    declared: bool
    service: str = Field(pattern=_APPLE)
    store: str = Field(pattern=_APPLE)


class NanoMdm(Section):
    api_url: str = Field(pattern=r"^https?://[^\s/]+")
    api_key: str = Field(repr=False)
    webhook_secret: str = Field(repr=False)
    server_url: str = Field(pattern=r"^(https?://[^\s?#]+)?$")
    timeout_seconds: int = Field(ge=1, le=60)


class MaaS360(Section):
    host: str = Field(pattern=r"^(https?://[^\s/?#@]+/?)?$")
    billing_id: str = Field(pattern=r"^\d{0,20}$")
    platform_id: str = Field(pattern=r"^\d{1,4}$")
    app_id: str = Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")
    app_version: str = Field(pattern=r"^[A-Za-z0-9._-]{1,20}$")
    app_access_key: str = Field(repr=False)
    username: str
    password: str = Field(repr=False)
    authentication: Literal["2.0", "1.0"]
    discovery_url: str = Field(pattern=r"^(https?://[^\s#@]+)?$")
    enrollment_url: str = Field(pattern=r"^(https?://[^\s#@]+)?$")
    console_url: str = Field(pattern=r"^(https?://[^\s#@]+)?$")
    add_users: bool
    user_domain: str = Field(max_length=100)
    user_group: str = Field(max_length=100)
    policy: str = Field(max_length=100)
    handover_minutes: int = Field(ge=5, le=1440)
    timeout_seconds: int = Field(ge=1, le=60)
    names: tuple[Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z_]+=[A-Za-z0-9_. /|-]{0,200}$")], ...]

    @model_validator(mode="after")
    def _addresses_are_safe(self) -> "MaaS360":
        for key in ("host", "discovery_url", "enrollment_url", "console_url"):
            url = urlsplit(getattr(self, key))
            if url.scheme == "http" and url.hostname not in LOOPBACK_HOSTS:
                raise wrong(f"maas360.{key}", "https", f"{key} must begin with https://")
        return self


class Mail(Section):
    transport: Literal["file", "smtp"]
    sender: Sender
    host: str
    port: int = Field(ge=1, le=65535)
    security: Literal["none", "starttls", "tls"]
    username: str
    password: str = Field(repr=False)
    timeout_seconds: int = Field(ge=1, le=120)


Alert = Literal[
    "corporate", "no_managed_apple_account", "passcode_locked", "device_refused", "mail_failed", "device_left"
]


class Notifications(Section):
    helpdesk: tuple[Alert, ...]


class Sms(Section):
    transport: Literal["none", "file", "http"]
    url: str
    format: Literal["json", "form"]
    to_field: str = Field(min_length=1)
    text_field: str = Field(min_length=1)
    fields: tuple[Annotated[str, Field(pattern=r"^[^=\s]+=.*$")], ...]
    authorization_secret: str = Field(repr=False)
    timeout_seconds: int = Field(ge=1, le=60)

    @model_validator(mode="after")
    def _gateway_is_usable(self) -> "Sms":
        url = urlsplit(self.url)
        safe = url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK_HOSTS)
        if self.transport == "http" and not (safe and url.hostname):
            raise wrong("sms.url", "sms_url", "url must begin with https://")
        return self


class Queue(Section):
    redis_url: str


class Proxy(Section):
    trusted: tuple[IPvAnyNetwork, ...]
    monitoring: tuple[IPvAnyNetwork, ...]
