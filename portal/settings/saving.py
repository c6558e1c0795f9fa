"""Saving settings: checked as a whole, with the history that can bring them back, audited with secrets masked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal import people
from portal.audit import Editor
from portal.credentials.base import DIRECTORY
from portal.database import lock_name
from portal.events import Event
from portal.models import Person, SettingsVersion, SettingValue
from portal.settings import Settings, overlay
from portal.settings.held_secrets import TYPED_FOR, settle, together
from portal.settings.live import stored

IMPORT = "import"
"""The page of a save that came from a file or a command and may touch every page."""
AT_ONCE = 50
"""Saves that are looked through in one go."""


@dataclass(frozen=True)
class SettingsEditor(Editor):
    """Who saves settings; ``base``: the files' settings, over which what is saved lies."""

    base: Settings


@dataclass(frozen=True)
class Difference:
    """One setting of a page: what somebody else saved meanwhile, and what this admin wanted."""

    name: str
    theirs: Any
    mine: Any


class SavedMeanwhile(Exception):
    """Somebody else saved the page after this admin opened it; nothing was changed."""

    def __init__(self, by: str, version: int, differences: list[Difference]) -> None:
        super().__init__(by)
        self.by = by
        self.version = version
        self.differences = differences


class LocksOut(Exception):
    """With these settings no admin could sign in any more; nothing was changed."""


class UnknownVersion(Exception):
    """There is no such entry in the history."""


def page_version(session: Session, page: str) -> int:
    """The number of the last save of ``page``: what a form has to name when it is sent."""
    return session.scalar(select(func.max(SettingsVersion.id)).where(SettingsVersion.page.in_((page, IMPORT)))) or 0


def save(
    editor: SettingsEditor, page: str, wanted: Mapping[str, Any], *, seen: int | None = None, confirmed: bool = False
) -> dict[str, Any]:
    """Save ``wanted`` (section.key -> JSON) and return what changed, masked: name -> [before, after].

    A secret that is held (``held_secrets.KEPT``) is emptied when it would go to another server than it was typed for.
    ``seen`` is the version of the page that the admin had before them. Raises NotValid, SavedMeanwhile, and LocksOut
    unless it is ``confirmed``. A value that equals the files' is forgotten, so that the files count again.
    """
    session, base = editor.session, editor.base
    lock_name(session, "settings")
    saved = stored(session, editor.vault)
    pinned = overlay.pinned()
    wanted = settle(wanted, lambda name: saved.get(name, overlay.value_of(base, name)))
    after = {name: value for name, value in {**saved, **wanted}.items() if name not in pinned}
    settings = overlay.lay_over(base, after)
    before = {name: saved.get(name, overlay.value_of(base, name)) for name in wanted if name not in pinned}
    changed = {name: fresh for name in before if (fresh := overlay.value_of(settings, name)) != before[name]}
    newest = page_version(session, page)
    if seen is not None and newest > seen and changed:
        other = session.get_one(SettingsVersion, newest)
        differences = [Difference(name, before[name], value) for name, value in changed.items()]
        raise SavedMeanwhile(other.actor, newest, differences)
    if not changed:
        return {}
    if not confirmed and not _an_admin_can_sign_in(session, settings):
        raise LocksOut
    previously = {name: [name in saved, saved.get(name, overlay.value_of(base, name))] for name in together(changed)}
    _write(editor, changed, page, previously)
    return _readable(before, changed)


def restore(editor: SettingsEditor, version_id: int, confirmed: bool = False) -> dict[str, Any]:
    """Bring back what was before one save. Raises UnknownVersion, NotValid, LocksOut."""
    base = editor.base
    version = editor.session.get(SettingsVersion, version_id)
    if version is None:
        raise UnknownVersion
    previously = json.loads(editor.vault.open(version.before_sealed))
    wanted = {
        name: value if was_saved else overlay.value_of(base, name) for name, (was_saved, value) in previously.items()
    }
    for secret, addresses in TYPED_FOR.items():
        if secret in wanted and not wanted.keys() >= set(addresses):
            wanted[secret] = ""  # an old entry, which does not say for which server it was typed
    return save(editor, version.page, wanted, confirmed=confirmed)


def reset(editor: SettingsEditor, prefix: str) -> list[str]:
    """Forget what was saved for every setting that begins with ``prefix``: the files count again. Which they were."""
    known = stored(editor.session, editor.vault)
    meant = together(name for name in known if name == prefix or name.startswith(f"{prefix}.") or not prefix)
    saved = [name for name in known if name in meant]  # no secret without its server
    wanted = {name: overlay.value_of(editor.base, name) for name in saved}
    save(editor, IMPORT, wanted, confirmed=True)
    return saved


def history(session: Session, page: str, names: set[str], limit: int = 20) -> list[SettingsVersion]:
    """The last saves that changed one of ``names``, the settings of ``page``; newest first."""
    query = select(SettingsVersion).where(SettingsVersion.page.in_((page, IMPORT))).order_by(SettingsVersion.id.desc())
    found: list[SettingsVersion] = []
    saves = session.scalars(query.limit(AT_ONCE)).all()
    while saves and len(found) < limit:  # imports of other settings may stand between them
        found += [each for each in saves if names & set(each.changes)]
        saves = session.scalars(query.where(SettingsVersion.id < saves[-1].id).limit(AT_ONCE)).all()
    return found[:limit]


def _write(editor: SettingsEditor, changed: dict[str, Any], page: str, previously: dict[str, list[Any]]) -> None:
    session, vault = editor.session, editor.vault
    changes = _readable({name: value for name, (_, value) in previously.items()}, changed)
    sealed = vault.seal(json.dumps(previously).encode())
    version = SettingsVersion(at=editor.now, actor=editor.actor, page=page, changes=changes, before_sealed=sealed)
    session.add(version)
    session.flush()
    session.execute(delete(SettingValue).where(SettingValue.name.in_(changed)))
    for name, value in changed.items():
        if value != overlay.value_of(editor.base, name):
            value_sealed = vault.seal(json.dumps(value).encode())
            session.add(SettingValue(name=name, value_sealed=value_sealed, version_id=version.id))
    editor.record(Event.SETTINGS_CHANGED, page, page=page, changes=changes)


def _readable(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: [overlay.masked(name, before[name]), overlay.masked(name, after[name])] for name in after}


_SOURCES_OF_ADMINS = select(Person.source).where(Person.is_active_admin).distinct()


def _an_admin_can_sign_in(session: Session, settings: Settings) -> bool:
    """Whether an admin's password or provider would still be asked with ``settings``."""
    sources = session.scalars(_SOURCES_OF_ADMINS).all()
    providers = {f"oidc:{each.name}" for each in settings.oidc.providers if each.admin_group}
    directory = {DIRECTORY} if settings.ldap.servers and settings.ldap.admin_group else set()
    usable = {people.LOCAL} | providers | directory
    return not sources or bool(usable & set(sources))
