"""What an admin typed on a settings page, as values of settings."""

from collections.abc import Mapping
from typing import Any

from werkzeug.datastructures import FileStorage

from portal import clock
from portal.pki import uploads
from portal.settings import Settings, held_secrets, logo, overlay
from portal.settings.overlay import NotValid, Problem
from portal.settings.pages import Field

MOST_TABLES = 20
PUSH = "mdm.push_identity"


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
    return field.read(form.get(field.name, ""))


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
