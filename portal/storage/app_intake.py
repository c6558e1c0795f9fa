"""How tokens and apps come in: Apple, or a manifest, is asked first; then what it said is kept."""

import base64

from portal import clock
from portal.apps.origin import Origin
from portal.apps_and_books import content_token, store
from portal.apps_and_books.answers import Location
from portal.apps_and_books.client import ClaimedElsewhere
from portal.apps_and_books.content_token import ContentToken
from portal.apps_and_books.store import Described, NotFound
from portal.audit import Editor
from portal.database import Database
from portal.events import Event
from portal.settings.logo import LogoRefused, redraw
from portal.storage import apple_content, apps
from portal.storage.cases import Services
from portal.storage.licenses import counts, exchanging, rows

ICON_BOX = (128, 128)
"""Pixels of a kept picture."""


def take_token(database: Database, services: Services, content: bytes, actor: str, *, take_over: bool = False) -> None:
    """A content token as it was downloaded: claimed for this portal, kept, and its licenses counted.

    Another server's claim is only taken over if that was asked for. Raises ContentTokenRefused, ClaimedElsewhere,
    OtherLocation (than the one in use), Unavailable, Refused.
    """
    settings = services.settings
    given = content_token.read(content, clock.now())
    with database.transaction() as session:
        known, own = apple_content.known(session), apple_content.own_id(session)
    client = exchanging.open_client(settings, given.text, own, known.uid if known is not None else "")
    try:
        client.read_limits()
        where = client.location()
        if where.claim is not None and where.claim.id != own and not take_over:
            raise ClaimedElsewhere(where.claim)
        before = where.claim
        where = client.claim(f"Enrollment portal, {settings.company.name}")
        found = client.assets()
    finally:
        client.close()
    address = apple_content.address_of(settings.apps.service, settings.apps.store)
    with database.transaction() as session:
        by = Editor(session, services.vault, actor, clock.now())
        if before is None or before.id != own:
            by.record(
                Event.LICENSES_CLAIMED, location=where.name, **({"from": before.name or before.id} if before else {})
            )
        keep_token(by, given, address, where)
        counts.keep_assets(session, found, clock.now())


def keep_token(editor: Editor, given: ContentToken, address: str, where: Location) -> None:
    """Keep a token that Apple took; if it is about another location than ever before, everything is asked for anew."""
    apple_content.save(editor, given, address, where)
    if apple_content.is_another(editor.session, where):
        rows.begin_anew(editor.session, editor.now)


def describe(database: Database, services: Services, origin: Origin) -> tuple[Described, bytes | None]:
    """What an app is, and its picture. Raises NotFound."""
    if origin.adam_id is None:
        described = store.read_manifest(origin.manifest_url or "")
    else:
        chosen = services.settings.apps
        with database.session() as session:
            known = apple_content.known(session)
            if known is None or known.address != apple_content.address_of(chosen.service, chosen.store):
                raise NotFound("no_token")
            token = apple_content.token(session, services.vault)
        described = store.look_up(chosen.store, token, known.country, origin.adam_id)
    try:
        icon = base64.b64decode(redraw(described.icon, ICON_BOX)) if described.icon else None
    except LogoRefused:
        icon = None
    return described, icon


def add(database: Database, services: Services, origin: Origin, actor: str) -> str:
    """Take an app into the catalogue; its id. Raises NotFound, Known, TooMany."""
    described, icon = describe(database, services, origin)
    with database.transaction() as session:
        return apps.add(Editor(session, services.vault, actor, clock.now()), origin, described, icon).id
