"""The settings pages as forms: which settings stand together, what kind of field each one is, what was typed there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from werkzeug.datastructures import FileStorage

from portal import clock
from portal.pki import uploads
from portal.settings import Settings, held_secrets, logo, overlay
from portal.settings.overlay import NotValid, Problem, is_secret
from portal.settings.schema import OidcProvider

PAGES: dict[str, tuple[str, ...]] = {
    "company": (
        "company.name",
        "company.support_email",
        "company.support_phone",
        "company.time_zone",
        "company.accent",
        "company.logo",
        "languages",
    ),
    "enrollment": ("enrollment", "passcode", "profile.lifetime_minutes", "profile.certificate_days"),
    "from-settings": ("account_driven",),
    "accounts": ("managed_apple_account", "enrollment.email_as_managed_apple_account"),
    "sign-in": ("sign_in", "session"),
    "directory": ("ldap",),
    "providers": ("oidc.providers",),
    "mail": ("mail",),
    "sms": ("sms",),
    "notifications": ("notifications",),
    "backend": (
        "mdm.push_identity",
        "mdm.refresh_hours",
        "mdm.declarative",
        "mdm.apple_business",
        "profile.signing_identity",
        "profile.signing_certificate",
        "profile.signing_key",
        "scep.accept_legacy",
    ),
    "maas360": ("maas360",),
    "policies": ("policies",),
    "apps": ("apps",),
    "texts": ("texts",),
    "retention": ("retention",),
}
"""Page -> settings, or sections of which the page has every setting that no other page names."""
ONLY_WITH = {"maas360": "maas360"}
"""Pages that are only listed with a certain device management."""
PUSH = "mdm.push_identity"
UPLOADED = {"company.logo": "picture", "profile.signing_identity": "identity", PUSH: "identity"}
FILES = {"ldap.ca_file", "profile.signing_certificate", "profile.signing_key"}
"""Settings that are the path of a file here."""
MOST_TABLES = 20


@dataclass(frozen=True)
class Field:
    """One setting as a form field.

    ``kind`` is flag, number, choice, lines, text, secret, picture, identity, texts (by language), several or tables.
    """

    name: str
    kind: str
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    parts: tuple["Field", ...] = field(default=())

    def read(self, entered: str) -> Any:
        """What was typed, as the setting's JSON value; what is no number stays text and is refused later."""
        if self.kind == "flag":
            return entered == "yes"
        if self.kind == "number":
            text = entered.strip()
            return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else text
        if self.kind == "lines":
            return [line.strip() for line in entered.splitlines() if line.strip()]
        return entered if self.kind == "secret" else entered.strip()

    def write(self, value: Any) -> str:
        """The setting's value as it stands in the field."""
        if self.kind == "lines":
            return "\n".join(str(each) for each in value) if isinstance(value, list | tuple) else str(value)
        if self.kind == "secret":
            return ""
        return "" if value is None else str(value)


def fields_of(page: str) -> tuple[Field, ...]:
    """The fields of a page, in the order of ``config/default.toml``. Raises KeyError for an unknown page."""
    named = {name for each in PAGES.values() for name in each if "." in name}
    fields: list[Field] = []
    for entry in PAGES[page]:
        info = Settings.model_fields.get(entry)
        kind = info.annotation if info else None
        if info and isinstance(kind, type) and issubclass(kind, BaseModel):
            fields += [
                _field(f"{entry}.{key}", each)
                for key, each in kind.model_fields.items()
                if f"{entry}.{key}" not in named
            ]
        else:
            fields.append(_named(entry))
    return tuple(fields)


def _named(name: str) -> Field:
    section, _, key = name.rpartition(".")
    if not section:
        return _field(name, Settings.model_fields[name])
    kind: Any = Settings.model_fields[section].annotation
    return _field(name, kind.model_fields[key])


def _field(name: str, info: FieldInfo) -> Field:
    kind: Any = info.annotation
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        kind = get_args(kind)[0]
    if kind is bool:
        return Field(name, "flag")
    if kind is int:
        least = next((each.ge for each in info.metadata if isinstance(each, Ge)), None)
        most = next((each.le for each in info.metadata if isinstance(each, Le)), None)
        return Field(name, "number", least=_whole(least), most=_whole(most))
    if origin is Literal:
        return Field(name, "choice", choices=get_args(kind))
    if origin is tuple and get_args(kind)[0] is OidcProvider:
        parts = tuple(_field(key, each) for key, each in OidcProvider.model_fields.items())
        return Field(name, "tables", parts=parts)
    if origin is dict:
        return Field(name, "texts")
    if origin is tuple and get_origin(get_args(kind)[0]) is Literal:
        return Field(name, "several", choices=get_args(get_args(kind)[0]))
    if origin is tuple:
        return Field(name, "lines")
    if name in UPLOADED:
        return Field(name, UPLOADED[name])
    most = next((each.max_length for each in info.metadata if isinstance(each, MaxLen)), None)
    return Field(name, "secret" if is_secret(name) else "text", most=most)


def _whole(bound: Any) -> int | None:
    return int(bound) if bound is not None else None


def read(
    fields: tuple[Field, ...], form: Mapping[str, str], files: Mapping[str, FileStorage], settings: Settings
) -> dict[str, Any]:
    """The values of all fields that no variable pins; a secret that was not typed is kept.

    Raises NotValid (uploads).
    """
    pinned = overlay.pinned()
    return {
        field.name: _value(field, form, files, overlay.value_of(settings, field.name))
        for field in fields
        if field.name not in pinned
    }


def _value(field: Field, form: Mapping[str, str], files: Mapping[str, FileStorage], current: Any) -> Any:
    if field.kind == "tables":
        return _tables(field, form)
    if field.kind == "several":
        return [each for each in field.choices if form.get(f"{field.name}.{each}") == "yes"]
    if field.kind == "texts":
        typed = {language: form.get(f"{field.name}.{language}", "").strip() for language in settings_languages(form)}
        return {language: text.replace("\r\n", "\n") for language, text in typed.items() if text}
    if field.kind == "picture":
        return _picture(field, form, files, current)
    if field.kind == "identity":
        return _identity(field, form, files, current)
    if field.kind == "secret":
        return _secret(field.name, form)
    value = field.read(form.get(field.name, ""))
    if field.name in FILES and value and not os.access(value, os.R_OK):
        raise NotValid([Problem(field.name, "no_file", "there is no such file that the portal may read")])
    return value


def settings_languages(form: Mapping[str, str]) -> list[str]:
    """The languages that a page of texts has fields for."""
    return sorted({name.rpartition(".")[2] for name in form if name.startswith("texts.")})


def _secret(name: str, form: Mapping[str, str]) -> str:
    if form.get(f"{name}.forget") == "yes":
        return ""
    return form.get(name, "") or held_secrets.KEPT


def _picture(field: Field, form: Mapping[str, str], files: Mapping[str, FileStorage], current: str) -> str:
    upload = files.get(field.name)
    if form.get(f"{field.name}.forget") == "yes":
        return ""
    if upload is None or not upload.filename:
        return current
    try:
        return logo.redraw(upload.stream.read(logo.LARGEST_BYTES + 1))
    except logo.LogoRefused as refused:
        raise NotValid([Problem(field.name, f"logo_{refused.code}", str(refused))]) from None


def _identity(field: Field, form: Mapping[str, str], files: Mapping[str, FileStorage], current: str) -> str:
    upload = files.get(field.name)
    if form.get(f"{field.name}.forget") == "yes":
        return ""
    if upload is None or not upload.filename:
        return current
    try:
        content = upload.stream.read(uploads.LARGEST_BYTES + 1)
        read = uploads.read_push if field.name == PUSH else uploads.read
        identity = read(content, form.get(f"{field.name}.passphrase", ""), clock.now())
        if field.name == PUSH and current and uploads.topic_of(identity) != uploads.topic_of(current):
            raise uploads.IdentityRefused("other_topic")
        return identity
    except uploads.IdentityRefused as refused:
        raise NotValid([Problem(field.name, f"identity_{refused.code}", str(refused))]) from None


def _tables(field: Field, form: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tables by number; one that is empty or marked for removal is left out."""
    tables = []
    for number in range(MOST_TABLES):
        prefix = f"{field.name}.{number}."
        given = {part.name: form.get(prefix + part.name, "") for part in field.parts}
        if form.get(f"{prefix}remove") == "yes" or not given["name"].strip():
            continue
        table: dict[str, Any] = {}
        for part in field.parts:
            if part.kind == "secret":
                table[part.name] = _secret(f"{prefix}{part.name}", form)
            else:
                table[part.name] = part.read(given[part.name])
        tables.append(table)
    return tables
