"""Work apps as they are kept: the catalogue, who gets which, and what became of them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from portal.apps import behaviour
from portal.apps.behaviour import Behaviour
from portal.apps.origin import Origin
from portal.apps_and_books.answers import STANDARD
from portal.apps_and_books.store import Described
from portal.audit import Editor
from portal.database import lock_name
from portal.enrollment.case import GrantedApp
from portal.events import Event
from portal.models import App, AppAudience, AppChoice, AppLicense, Device, DeviceApp
from portal.people import audiences
from portal.people.audiences import IN, OUT, Line

OFFERED = "offered"
"""The side of who may take an app."""
SIDES = (IN, OFFERED, OUT)
MOST_APPS = 500


CHOICE_STANDS = timedelta(minutes=2)
"""How long what somebody took is theirs before they may give it back: Apple and the device are asked each time."""


class Known(Exception):
    """The app is in the catalogue already."""


class TooMany(Exception):
    """The catalogue is full."""


class NotOffered(Exception):
    """Somebody is not offered such an app, or gets it by itself."""


class TooOften(Exception):
    """Somebody changed their mind about an app only just now."""


def living(session: Session) -> list[App]:
    """Every app of the catalogue, by name, without icons."""
    query = select(App).where(App.archived_at.is_(None)).options(defer(App.icon), defer(App.behaviour_sealed))
    return sorted(session.scalars(query), key=lambda each: each.name.casefold())


def find(session: Session, app_id: str) -> App | None:
    """An app of the catalogue, to look at."""
    found = session.get(App, app_id)
    return found if found is not None and found.archived_at is None else None


def locked(session: Session, app_id: str) -> App | None:
    """The same, locked until the transaction ends, to change it."""
    query = select(App).where(App.id == app_id, App.archived_at.is_(None))
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def add(editor: Editor, origin: Origin, described: Described, icon: bytes | None) -> App:
    """Take an app into the catalogue, for nobody yet. Raises Known, TooMany."""
    session, now = editor.session, editor.now
    lock_name(session, "catalogue of apps")
    apps = living(session)
    if any(each.bundle_id.casefold() == described.bundle_id.casefold() for each in apps):
        raise Known
    if len(apps) >= MOST_APPS:
        raise TooMany
    made = App(
        adam_id=origin.adam_id,
        manifest_url=origin.manifest_url,
        bundle_id=described.bundle_id,
        name=described.name[:200],
        minimum_ios=described.minimum_ios,
        icon=icon,
        icon_at=_seconds(icon, now),
        behaviour_sealed=editor.vault.seal(Behaviour().written()),
        version=1,
        created_at=now,
        changed_at=now,
    )
    session.add(made)
    session.flush()
    _record(editor, made, Event.APP_ADDED)
    return made


def describe(app: App, described: Described, icon: bytes | None, now: datetime) -> None:
    """What the store says of it now; its identifier never changes."""
    app.name, app.minimum_ios, app.changed_at = described.name[:200], described.minimum_ios, now
    if icon:
        app.icon, app.icon_at = icon, _seconds(icon, now)


def _seconds(icon: bytes | None, now: datetime) -> int | None:
    return int(now.timestamp()) if icon else None


def set_behaviour(editor: Editor, app: App, wanted: Behaviour) -> bool:
    """Let it behave so on every device; whether that is new."""
    before = behaviour.of(app, editor.vault)
    if before == wanted:
        return False
    app.behaviour_sealed = editor.vault.seal(wanted.written())
    app.version, app.changed_at = app.version + 1, editor.now
    changed = [name for name in Behaviour.__slots__ if getattr(before, name) != getattr(wanted, name)]
    _record(editor, app, Event.APP_CHANGED, changed=changed)
    return True


def archive(editor: Editor, app: App) -> None:
    """Take it from everybody, for good."""
    app.archived_at = app.changed_at = editor.now
    _record(editor, app, Event.APP_ENDED)


def audience(session: Session, app_id: str) -> list[Line]:
    """Who gets it."""
    return audiences.of(session, AppAudience, app_id)


def set_audience(editor: Editor, app: App, lines: Iterable[Line]) -> None:
    """Let exactly these get it."""
    changed = audiences.save(editor.session, AppAudience, app.id, lines)
    if changed is not None:
        app.changed_at = editor.now
        _record(editor, app, Event.APP_AUDIENCE, **changed)


def _record(editor: Editor, app: App, event: Event, **detail: Any) -> None:
    editor.record(event, app=app.id, name=app.name, **detail)


# --- what a person gets ----------------------------------------------------------------------------------------------


def granted(session: Session, person_id: str) -> list[GrantedApp]:
    """The apps that somebody gets or may take, by name."""
    query = (
        select(App, AppAudience.side)
        .join(AppAudience, AppAudience.owner_id == App.id)
        .where(App.archived_at.is_(None), audiences.speaks_of_person(AppAudience))
        .options(defer(App.icon), defer(App.behaviour_sealed))
    )
    sides: dict[str, tuple[App, set[str]]] = {}
    for app, side in session.execute(query, {"person": person_id}):
        sides.setdefault(app.id, (app, set()))[1].add(side)
    chosen = set(session.scalars(select(AppChoice.app_id).where(AppChoice.person_id == person_id))) if sides else set()
    all_of_them = (grant(app, theirs, app.id in chosen) for app, theirs in sides.values())
    found = [each for each in all_of_them if each is not None]
    return sorted(found, key=lambda each: (each.app.name.casefold(), each.app.id))


def grant(app: App, sides: set[str], chosen: bool) -> GrantedApp | None:
    """What somebody on these sides of an app's audience gets of it; ``chosen``: they took it when it was offered."""
    if not sides or OUT in sides:
        return None
    return GrantedApp(app, IN in sides, OFFERED in sides and chosen)


def choose(session: Session, person_id: str, app_id: str, taken: bool, now: datetime) -> bool:
    """Somebody takes an app that they are offered, or gives it back; whether that is new.

    Raises NotOffered, TooOften.
    """
    lock_name(session, f"choice {person_id}")
    theirs = next((each for each in granted(session, person_id) if each.app.id == app_id), None)
    if theirs is None or theirs.by_itself:
        raise NotOffered
    known = session.get(AppChoice, (person_id, app_id), populate_existing=True)
    if taken == (known is not None):
        return False
    if known is None:
        session.add(AppChoice(person_id=person_id, app_id=app_id, at=now))
    elif now - known.at < CHOICE_STANDS:
        raise TooOften
    else:
        session.delete(known)
    session.flush()
    audiences.mark(session, person_id, now)
    return True


# --- what became of them ---------------------------------------------------------------------------------------------


def on_device(session: Session, device_id: str) -> list[tuple[App, DeviceApp]]:
    """Where each app is on a device, by the app's name."""
    query = select(App, DeviceApp).join(DeviceApp, DeviceApp.app_id == App.id).options(defer(App.icon))
    rows = session.execute(query.where(DeviceApp.device_id == device_id).order_by(App.name))
    return [(row[0], row[1]) for row in rows]


def counts(session: Session) -> dict[str, dict[str, int]]:
    """By app: on how many managed devices it is in which state."""
    query = (
        select(DeviceApp.app_id, DeviceApp.state, func.count())
        .join(Device, Device.id == DeviceApp.device_id)
        .where(Device.ended_at.is_(None))
        .group_by(DeviceApp.app_id, DeviceApp.state)
    )
    found: dict[str, dict[str, int]] = {}
    for app_id, state, count in session.execute(query):
        found.setdefault(app_id, {})[state] = count
    return found


def licenses(session: Session, adam_ids: Iterable[str] | None = None) -> dict[str, AppLicense]:
    """By adam id: the licenses that the location has for it, of all apps or of these.

    Of two qualities (``pricing``) the one to be had: it can be used, has more left, is the usual one.
    """
    query = select(AppLicense)
    if adam_ids is not None:
        query = query.where(AppLicense.adam_id.in_(set(adam_ids)))
    query = query.order_by(AppLicense.usable, AppLicense.available, AppLicense.pricing == STANDARD)
    return {each.adam_id: each for each in session.scalars(query)}  # the last counts
