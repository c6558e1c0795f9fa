"""Reading the settings: ``config/default.toml``, then the file named by ``PORTAL_CONFIG``, then ``PORTAL_*`` variables.

Without ``PORTAL_CONFIG`` the data folder of a demo speaks for itself (``demo.toml``, written by ``make run``).

A setting ``key`` of section ``[section]`` is the variable ``PORTAL_SECTION_KEY``. The defaults live in
``config/default.toml`` alone, one comment each; a name that no field knows is an error at start.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin
from urllib.parse import urlsplit

import pydantic_settings
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from portal.settings.schema import (
    LOOPBACK_HOSTS,
    SHORTEST_BACKEND_SECRET,
    AccountDriven,
    Apps,
    Company,
    Enrollment,
    Language,
    Ldap,
    MaaS360,
    Mail,
    ManagedAppleAccount,
    Mdm,
    NanoMdm,
    Notifications,
    Oidc,
    Passcode,
    Policies,
    Profile,
    Proxy,
    Queue,
    Retention,
    Scep,
    Section,
    Session,
    SignIn,
    Sms,
    Texts,
    wrong,
)

ROOT = Path(__file__).resolve().parent.parent.parent
DEFAULTS = ROOT / "config" / "default.toml"
DEMO_FILE = "demo.toml"
"""In the data folder of a demo: its own settings, so that every command there means that demo."""


class SettingsError(Exception):
    """The configuration cannot be used; the message names the setting and what is wrong with it."""


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
    policies: Policies
    apps: Apps
    nanomdm: NanoMdm
    maas360: MaaS360
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

    @property
    def knows_groups(self) -> bool:
        """Whether anything is given to people by the groups that they are in."""
        return self.policies.enabled or self.apps.enabled

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
            raise wrong("account_driven.oauth2_provider", "unknown_provider", says)
        if chosen.oauth2_provider and not chosen.oauth2_client_id:
            raise wrong("account_driven.oauth2_client_id", "needed", "oauth2_client_id is missing")
        return self

    @model_validator(mode="after")
    def _nanomdm_can_be_asked(self) -> "Settings":
        if self.mdm.backend == "nanomdm":
            for name in ("api_key", "webhook_secret"):
                if len(getattr(self.nanomdm, name)) < SHORTEST_BACKEND_SECRET:
                    least = SHORTEST_BACKEND_SECRET
                    raise wrong(f"nanomdm.{name}", "needed", f"nanomdm.{name} needs at least {least} characters")
        url = urlsplit(self.nanomdm.server_url or self.public_url)
        if url.scheme != "https" and not self.demo:
            raise wrong("nanomdm.server_url", "https", "nanomdm.server_url must begin with https://")
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


def _variables() -> dict[str, Any]:
    """By variable: what kind its setting is. A section is one, too."""
    kinds: dict[str, Any] = {}
    for name, info in Settings.model_fields.items():
        kind, variable = info.annotation, f"PORTAL_{name}".upper()
        kinds[variable] = kind
        if isinstance(kind, type) and issubclass(kind, Section):
            kinds |= {f"{variable}_{key}".upper(): field.annotation for key, field in kind.model_fields.items()}
    return kinds


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """``PORTAL_*`` variables that set nothing, in order: mistyped, or not meant. (In a section that is an error.)"""
    known = {*_variables(), "PORTAL_CONFIG"}
    ours = {each for each in environment if each.startswith("PORTAL_") and not each.startswith("PORTAL_TEST")}
    return sorted(ours - known)


def _unreadable(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the variables that have to be JSON and are not; never their values, which may be secret."""
    kinds = _variables()
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
