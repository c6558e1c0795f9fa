"""Signed-in browsers: a random token in the session cookie, its hash in the database, so ending one works at once."""

import hmac
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from flask import Flask, g, request, session
from flask_login import AnonymousUserMixin, UserMixin, current_user
from sqlalchemy import CursorResult, bindparam, delete, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.orm.attributes import set_committed_value

from portal import clock
from portal.audit import Editor, actor_of
from portal.credentials import throttle
from portal.enrollment.journey import CARRIED_OVER, SignedInBrowser
from portal.extensions import current_portal, db_session, login_manager, only_while, transaction
from portal.models import EnrollmentRequest, Person, WebSession, new_id
from portal.people import STAFF_ROLES, ProofOver
from portal.vault import token_hash
from portal.web import rules
from portal.web.brand import logo_of
from portal.web.rules import EMPLOYEE, STAFF, WEB_VIEW

HALF_STAFF = "second_factor"
"""The area of staff who proved the first factor: it opens the page of the second, for ten minutes, and nothing else."""
HALF_MINUTES = 10
WEB_VIEW_PAGES = "web_view"
"""The name under which the journey's pages are registered for the web view of Settings."""
RENEWAL_GRACE = timedelta(minutes=1)
"""How long the token before counts, should the answer with the new one have been lost."""
BY_ITSELF = "by_itself"
"""Query of what a page asks without anybody having touched it: that keeps nobody signed in."""
FRESH_FOR = timedelta(minutes=10)
"""How long a proof counts for what asks for a fresh one."""
TOUCH_EVERY = timedelta(seconds=60)
TOKEN_BYTES = 24
IPAD = "ipad"
"""Session key: what calls itself a Mac is an iPad."""
SIGNED_OUT = "signed_out"
"""Session key: a session was over, so the next sign-in page says why."""


_OF_TOKEN = (
    select(WebSession)
    .where(or_(WebSession.token_hash == bindparam("hash"), WebSession.previous_token_hash == bindparam("hash")))
    .where(WebSession.area == bindparam("area"))
    .options(joinedload(WebSession.request).lazyload(EnrollmentRequest.person))  # the session's own person
)
"""Asked at every page, so built once."""


class SignedIn(UserMixin):  # type: ignore[misc]
    """Flask-Login's user: the person behind a live session."""

    def __init__(self, web_session: WebSession) -> None:
        self.web_session = web_session
        self.person: Person = web_session.person

    def get_id(self) -> str:
        return self.web_session.id


def init_app(app: Flask) -> None:
    """Let Flask-Login find the session of the area that a page belongs to."""
    login_manager.session_protection = None  # a phone changes its address; the session itself is what is checked

    @login_manager.request_loader
    def load(_request: object) -> SignedIn | None:
        web_session = find(area())
        return SignedIn(web_session) if web_session else None

    app.add_template_global(signed_in_person)

    @app.context_processor
    def signed_in() -> dict[str, object]:
        settings = current_portal.settings
        company = settings.company
        return {
            "demo": settings.demo,
            "company": company,
            "logo": logo_of(company.logo),
            "policies_open": current_portal.gives_policies,
            "apps_open": current_portal.gives_apps,
        }


def area() -> str:
    """Whose pages this request is for."""
    return str(g.get("area") or rules.here().area)


def act_in(area: str) -> None:
    """The rest of this request belongs to ``area`` (one address serves them all when a browser comes back)."""
    g.area = area


def signed_in_browser(web_session: WebSession) -> SignedInBrowser:
    """How this browser walks through its request."""
    return SignedInBrowser(
        web_session.id, web_session.created_at - CARRIED_OVER if web_session.area == WEB_VIEW else None
    )


def current() -> WebSession | None:
    """The live session of this browser in this area."""
    user = current_user
    return None if isinstance(user, AnonymousUserMixin) else cast(SignedIn, user._get_current_object()).web_session


def signed_in_person() -> Person | None:
    """Who is signed in, for the menu; None, too, while the database is away, which this page may be there to tell."""
    try:
        web_session = current()
    except DBAPIError:
        return None
    return web_session.person if web_session is not None else None


def carries_token() -> bool:
    """Whether this browser was ever signed in to this area; its token need not count any more."""
    return isinstance(session.get(area()), str)


def here() -> WebSession:
    """The live session of this browser, on pages that nobody else is let in to."""
    web_session = current()
    assert web_session is not None  # the blueprint sent everybody else away
    return web_session


def actor_here() -> str:
    """How the audit trail names who uses this page."""
    return actor_of(here().person)


def editor() -> Editor:
    """Who uses this page, changing something of the company's now."""
    return Editor(db_session, current_portal.vault, actor_here(), clock.now())


def begin(area: str, person: Person, request_id: str | None, now: datetime, method: str | None = None) -> WebSession:
    """A new session at sign-in, in the caller's transaction; whatever the browser had before in this area is gone.

    The caller made sure that what was proved counts (``people.still_proved``). ``method``: how staff proved the first
    factor.
    """
    end(area)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    web_session = WebSession(
        id=new_id(),
        token_hash=token_hash(token),
        area=area,
        person_id=person.id,
        request_id=request_id,
        created_at=now,
        last_seen_at=now,
        method=method,
        address=throttle.network_of(request.remote_addr or "")[:64],
        browser=_browser_name(request.headers.get("User-Agent", "")),
    )
    db_session.add(web_session)
    forget(area)
    session[area] = token
    return web_session


def forget(area: str) -> None:
    """Empty the browser's session, except that it stays signed in to the other areas and stays what it is."""
    others = (EMPLOYEE, WEB_VIEW, STAFF, HALF_STAFF, IPAD)
    kept = {key: session[key] for key in others if key != area and key in session}
    session.clear()
    session.update(kept)


def renew(web_session: WebSession, **gained: Any) -> None:
    """A new token at a gain of rights, with the values that say what was gained, in the caller's transaction.

    The old one is worthless as soon as the new one was seen, at the latest after ``RENEWAL_GRACE``: a phone that lost
    the answer would be signed out otherwise. Raises ProofOver if the session ended meanwhile.
    """
    token, until = _next_token(session[web_session.area]), clock.now() + RENEWAL_GRACE
    old = {"previous_token_hash": web_session.token_hash, "previous_until": until}
    keep(web_session, token_hash=token_hash(token), **old, **gained)
    session[web_session.area] = token


def _next_token(token: str) -> str:
    """What follows ``token``: always the same, so that two requests with the old one do not get two new ones.

    Nobody can tell it who has the old one but no key of the portal.
    """
    key = current_portal.vault.derive("session tokens")
    return urlsafe_b64encode(hmac.digest(key, token.encode("utf-8", "surrogatepass"), "sha256")).decode()


def _settle_token(web_session: WebSession, token: str, now: datetime) -> bool:
    """Whether ``token`` still counts. The new one ends the old one; whoever shows the old one is given the new one."""
    if web_session.token_hash == token_hash(token):
        if web_session.previous_token_hash is not None:
            with transaction():
                keep(web_session, previous_token_hash=None, previous_until=None)
        return True
    following = _next_token(token)
    if (
        web_session.previous_until is None
        or now >= web_session.previous_until
        or token_hash(following) != web_session.token_hash
    ):
        return False
    session[web_session.area] = following
    return True


def end(area: str) -> None:
    """Sign this browser out of ``area``, in the caller's transaction."""
    token = session.pop(area, None)
    only_while(None)  # what comes now is not this session's
    if token:
        gone = delete(WebSession).where(WebSession.token_hash == token_hash(token))
        db_session.execute(gone, execution_options={"autoflush": False})  # what is new is written once, at the end


def end_everywhere(web_session: WebSession) -> None:
    """Sign the session's person out, on every device, as staff or as an employee; in the caller's transaction."""
    areas = (STAFF, HALF_STAFF) if web_session.area == STAFF else (EMPLOYEE, WEB_VIEW)
    for area in areas:
        session.pop(area, None)
    only_while(None)
    db_session.execute(
        delete(WebSession).where(WebSession.person_id == web_session.person_id, WebSession.area.in_(areas))
    )


def find(area: str) -> WebSession | None:
    """The session of this browser, if it is alive: neither idle nor too old, and the person not disabled.

    What a request of staff writes from then on is kept only while it lives: rights may end while it waits for its turn.
    """
    token = session.get(area)
    if not isinstance(token, str):
        return None
    now = clock.now()
    web_session = db_session.scalar(_OF_TOKEN, {"hash": token_hash(token), "area": area})
    if web_session is None or web_session.person.disabled_at is not None or _over(web_session, now):
        session[SIGNED_OUT] = True
        return None
    if area in (STAFF, HALF_STAFF):
        only_while(partial(must_live, web_session.id))
    if not _settle_token(web_session, token, now):
        session[SIGNED_OUT] = True
        return None
    if area == STAFF and web_session.person.role not in STAFF_ROLES:
        return None
    if now - web_session.last_seen_at >= TOUCH_EVERY and BY_ITSELF not in request.args:
        with transaction():
            keep(web_session, last_seen_at=now)
    return web_session


def keep(web_session: WebSession, **values: Any) -> None:
    """Write these values of a session, in the caller's transaction. Raises ProofOver if it ended meanwhile."""
    changed = update(WebSession).where(WebSession.id == web_session.id).values(**values)
    alone = {"synchronize_session": False, "autoflush": False}  # what else was changed is written at the end, at once
    result = db_session.execute(changed, execution_options=alone)
    if cast(CursorResult[Any], result).rowcount == 0:
        raise ProofOver
    for name, value in values.items():
        set_committed_value(web_session, name, value)


def must_live(web_session_id: str, reading: Session) -> None:
    """Raises ProofOver if the session is gone: with its person's rights (``people.end_sign_ins``), or signed out."""
    if reading.scalar(select(WebSession.id).where(WebSession.id == web_session_id)) is None:
        raise ProofOver


def is_fresh(web_session: WebSession, now: datetime) -> bool:
    """Whether the person of this session proved a second factor just now."""
    return web_session.proved_at is not None and now - web_session.proved_at < FRESH_FOR


def of_person(person: Person) -> list[WebSession]:
    """Where somebody is signed in as staff, the newest first."""
    query = (
        select(WebSession)
        .where(WebSession.person_id == person.id, WebSession.area == STAFF)
        .order_by(WebSession.last_seen_at.desc())
    )
    now = clock.now()
    return [each for each in db_session.scalars(query) if not _over(each, now)]


def _browser_name(user_agent: str) -> str:
    """What a person calls a browser, for the list of their own sign-ins: ``Safari, iPhone``."""
    browsers = (("Edg", "Edge"), ("Firefox", "Firefox"), ("CriOS", "Chrome"), ("Chrom", "Chrome"), ("Safari", "Safari"))
    systems = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
               ("Macintosh", "Mac"), ("Linux", "Linux"))  # fmt: skip
    found = [next((name for sign, name in names if sign in user_agent), "") for names in (browsers, systems)]
    return ", ".join(filter(None, found))


def _over(web_session: WebSession, now: datetime) -> bool:
    rules = current_portal.settings.session
    if web_session.area == HALF_STAFF:
        return now - web_session.created_at >= timedelta(minutes=HALF_MINUTES)
    idle = rules.staff_idle_minutes if web_session.area == STAFF else rules.idle_minutes
    return now - web_session.last_seen_at >= timedelta(minutes=idle) or now - web_session.created_at >= timedelta(
        hours=rules.absolute_hours
    )
