"""Typed settings: ``config/default.toml``, then the file named by ``PORTAL_CONFIG``, then ``PORTAL_*`` variables.

Without ``PORTAL_CONFIG`` the data folder of a demo speaks for itself (``demo.toml``, written by ``make run``).

A setting ``key`` of section ``[section]`` is the variable ``PORTAL_SECTION_KEY``. The defaults live in
``config/default.toml`` alone, one comment each; a name that no field knows is an error at start.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlsplit

import pydantic_settings
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from portal import branding

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = ROOT / "config" / "default.toml"
DEMO_FILE = "demo.toml"
"""In the data folder of a demo: its own settings, so that every command there means that demo."""
SHORTEST_BACKEND_SECRET = 16
"""Characters of the keys that the portal and a backend share."""
LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}


class SettingsError(Exception):
    """The configuration cannot be used; the message names the setting and what is wrong with it."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=4096)


def _wrong(setting: str, code: str, says: str) -> PydanticCustomError:
    """A refusal that several settings have a part in, told at ``setting``; ``code`` is for a page's own words."""
    return PydanticCustomError(code, "{says}", {"setting": setting, "says": says})


def version_key(version: str) -> tuple[int, ...]:
    """An iOS version as numbers that compare."""
    return tuple(int(part) for part in version.split("."))


Address = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Version = Annotated[str, Field(pattern=r"^\d{1,2}(\.\d{1,2}){0,2}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2}(_[A-Z]{2})?$")]


class Company(Section):
    name: str = Field(min_length=1, max_length=80)
    identifier: str
    support_email: Address
    support_phone: str = Field(pattern=r"^[+()/\d .-]{0,40}$")
    accent: str = Field(pattern=r"^(#[0-9a-fA-F]{6})?$")
    logo: str = Field(pattern=r"^[A-Za-z0-9+/=]*$", max_length=200_000, repr=False)

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
                raise _wrong(
                    "ldap.servers", "ldap_server", f"servers must be like ldaps://dc1.example.com, not {server!r}"
                )
        if not self.base_dn:
            raise _wrong("ldap.base_dn", "needed", "base_dn is missing")
        if self.bind == "direct" and "{username}" not in self.user_dn:
            raise _wrong("ldap.user_dn", "needs_username", 'user_dn must contain {username} where bind = "direct"')
        if "{username}" not in self.user_filter:
            raise _wrong("ldap.user_filter", "needs_username", "user_filter needs {username}")
        if "{dn}" not in self.group_filter:
            raise _wrong("ldap.group_filter", "needs_dn", "group_filter needs {dn}")
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
            raise _wrong("oidc.providers", "issuer_https", "issuer must begin with https://")
        if (self.required_group or self.helpdesk_group or self.admin_group) and not self.groups_claim:
            raise _wrong("oidc.providers", "groups_claim", "groups_claim is missing")
        return self


class Oidc(Section):
    providers: tuple[OidcProvider, ...]

    @model_validator(mode="after")
    def _names_are_different(self) -> "Oidc":
        names = [provider.name for provider in self.providers]
        if len(set(names)) != len(names):
            raise _wrong("oidc.providers", "provider_twice", "two providers have the same name")
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


class Mdm(Section):
    backend: Literal["embedded", "nanomdm"]
    topic: str
    push_identity: str = Field(repr=False, max_length=100_000)
    push_server: str = Field(pattern=r"^https://[^\s/]+$")
    refresh_hours: int = Field(ge=1, le=720)


class NanoMdm(Section):
    api_url: str = Field(pattern=r"^https?://[^\s/]+")
    api_key: str = Field(repr=False)
    webhook_secret: str = Field(repr=False)
    server_url: str = Field(pattern=r"^(https?://[^\s?#]+)?$")
    timeout_seconds: int = Field(ge=1, le=60)


class Mail(Section):
    transport: Literal["file", "smtp"]
    sender: str = Field(pattern=r"@")
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
            raise _wrong("sms.url", "sms_url", "url must begin with https://")
        return self


class Queue(Section):
    redis_url: str


class Proxy(Section):
    trusted: tuple[IPvAnyNetwork, ...]
    monitoring: tuple[IPvAnyNetwork, ...]


class Settings(BaseSettings):
    """Every setting of the portal; immutable after start."""

    model_config = SettingsConfigDict(
        env_prefix="PORTAL_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        toml_file=DEFAULTS,
    )

    demo: bool
    data_dir: Path
    public_url: str
    database_url: str
    secret_keys: tuple[str, ...] = Field(repr=False)
    languages: tuple[Language, ...] = Field(min_length=1)
    company: Company
    enrollment: Enrollment
    managed_apple_account: ManagedAppleAccount
    account_driven: AccountDriven
    passcode: Passcode
    retention: Retention
    profile: Profile
    session: Session
    sign_in: SignIn
    ldap: Ldap
    oidc: Oidc
    texts: Texts
    scep: Scep
    mdm: Mdm
    nanomdm: NanoMdm
    mail: Mail
    sms: Sms
    notifications: Notifications
    queue: Queue
    proxy: Proxy

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        chosen = init_settings().get("data_dir") or os.environ.get("PORTAL_DATA_DIR") or "var"
        own = Path(os.environ.get("PORTAL_CONFIG") or ROOT / chosen / DEMO_FILE)
        if "PORTAL_CONFIG" in os.environ and not own.exists():
            raise SettingsError(f"PORTAL_CONFIG names a file that does not exist: {own}")
        tomls = [TomlConfigSettingsSource(settings_cls, path) for path in (own, DEFAULTS)]
        return (init_settings, env_settings, *tomls)

    @model_validator(mode="after")
    def _public_url_is_usable(self) -> "Settings":
        url = urlsplit(self.public_url)
        if not url.hostname or url.path not in ("", "/") or url.query or url.fragment:
            raise ValueError("public_url must be like https://enroll.example.com, without a path")
        if url.scheme != "https" and not (self.demo and url.scheme == "http" and url.hostname in LOOPBACK_HOSTS):
            raise ValueError("public_url must begin with https:// (plain http only in the demo, on a loopback address)")
        return self

    @model_validator(mode="after")
    def _oauth2_provider_is_known(self) -> "Settings":
        chosen = self.account_driven
        if chosen.oauth2_provider and chosen.oauth2_provider not in {each.name for each in self.oidc.providers}:
            says = f"oauth2_provider {chosen.oauth2_provider!r} is none of the [[oidc.providers]]"
            raise _wrong("account_driven.oauth2_provider", "unknown_provider", says)
        if chosen.oauth2_provider and not chosen.oauth2_client_id:
            raise _wrong("account_driven.oauth2_client_id", "needed", "oauth2_client_id is missing")
        return self

    @model_validator(mode="after")
    def _nanomdm_can_be_asked(self) -> "Settings":
        if self.mdm.backend == "nanomdm":
            for name in ("api_key", "webhook_secret"):
                if len(getattr(self.nanomdm, name)) < SHORTEST_BACKEND_SECRET:
                    least = SHORTEST_BACKEND_SECRET
                    raise _wrong(f"nanomdm.{name}", "needed", f"nanomdm.{name} needs at least {least} characters")
        url = urlsplit(self.nanomdm.server_url or self.public_url)
        if url.scheme != "https" and not self.demo:
            raise _wrong("nanomdm.server_url", "https", "nanomdm.server_url must begin with https://")
        return self

    @property
    def secure(self) -> bool:
        """Whether the portal is reached by https, so that cookies can be ``Secure`` and ``__Host-``."""
        return self.public_url.startswith("https://")

    @property
    def data(self) -> Path:
        """The absolute data folder: nothing is written outside it."""
        return self.data_dir if self.data_dir.is_absolute() else ROOT / self.data_dir

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database; SQLite in the data folder by default."""
        return self.database_url or f"sqlite:///{self.data / 'portal.sqlite3'}"

    @property
    def enrollment_profile(self) -> str:
        """The PayloadIdentifier of the enrollment profile: removing it ends the enrollment."""
        return f"{self.company.identifier}.enrollment"

    def url(self, path: str) -> str:
        """The absolute public address of ``path``; never derived from a request."""
        return self.public_url.rstrip("/") + path


def _unreadable(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the variables that have to be JSON and are not; never their values, which may be secret."""
    kinds: dict[str, Any] = {}
    for name, info in Settings.model_fields.items():
        kind, variable = info.annotation, f"PORTAL_{name}".upper()
        kinds[variable] = kind
        if isinstance(kind, type) and issubclass(kind, Section):
            kinds |= {f"{variable}_{key}".upper(): field.annotation for key, field in kind.model_fields.items()}
    problems = []
    for variable in sorted(kinds.keys() & environment.keys()):
        kind = kinds[variable]
        is_list, is_section = get_origin(kind) is tuple, isinstance(kind, type) and issubclass(kind, Section)
        try:
            if is_list or is_section or get_origin(kind) is dict:
                json.loads(environment[variable])
        except ValueError:
            like = '["one", "another"]' if is_list else '{"name": "value"}'
            problems.append(f"{variable} has to be written as JSON, like {variable}='{like}'")
    return problems or ["a PORTAL_ variable cannot be read"]


def load(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` win (tests). Raises SettingsError with every problem, in words."""
    try:
        return Settings(**overrides)
    except pydantic_settings.exceptions.SettingsError:
        raise SettingsError("The configuration cannot be used:\n  " + "\n  ".join(_unreadable(os.environ))) from None
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        )
        raise SettingsError("The configuration cannot be used:\n  " + "\n  ".join(problems)) from None
