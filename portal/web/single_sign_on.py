"""Single sign-on: sending a browser to its provider and taking it back, for employees, the web view and staff."""

import logging
from base64 import b64decode
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response, abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.credentials import sign_in as corporate
from portal.credentials import throttle
from portal.credentials.base import AccountProblem, Pending, ProviderRefused, SignedIn, SourceUnavailable
from portal.credentials.throttle import Attempt, Throttled
from portal.extensions import current_portal, db_session, transaction
from portal.models import Person
from portal.people import STAFF_ROLES
from portal.settings.logo import LARGEST_BYTES, LogoRefused, redraw
from portal.web import provider_sign_out, web_sessions
from portal.web.employee import sign_in as employees
from portal.web.employee.enter import LINK
from portal.web.rules import EMPLOYEE, STAFF, WEB_VIEW, Rules, pages
from portal.web.staff import sign_in as staff

if TYPE_CHECKING:
    from portal.credentials.oidc import Provider

blueprint = pages("single_sign_on", __name__, Rules())

WAITING = "single_sign_on"
"""Session key: the sign-ins that this browser has begun, by state."""
MOST_WAITING = 4
ENTRY_PARTS = 6
"""Of a sign-in that waits; one that an older version began is begun again."""
LOGO_SECONDS = 3600
PATIENCE_SECONDS = 900
log = logging.getLogger("portal.single_sign_on")


@blueprint.get("/sign-in/<provider>/<area>")
def begin(provider: str, area: str) -> ResponseReturnValue:
    """Send the browser to the provider; it comes back to ``finish``. A link, since forms may not lead elsewhere."""
    if area not in (EMPLOYEE, WEB_VIEW, STAFF):
        abort(404)
    web_sessions.act_in(area)
    anew = "anew" in request.args
    hint = request.args.get("hint", "") or str((session.get(employees.STARTED) or {}).get("identifier") or "")
    try:
        address, pending = _provider(provider).begin(_address_of(provider), hint[:254], anew)
    except SourceUnavailable as outage:
        _log_refusal(area, "source_unavailable", outage.reason)
        raise
    waiting = session.get(WAITING) or {}
    newest = dict(list(waiting.items())[1 - MOST_WAITING :])
    entry = [provider, area, pending.nonce, pending.verifier, int(clock.now().timestamp()), anew]
    session[WAITING] = {**newest, pending.state: entry}
    return redirect(address, 302)


@blueprint.get("/sign-in/<provider>/callback")
def finish(provider: str) -> ResponseReturnValue:
    """The browser is back. Its state works once, in the browser that it was made for, with the same provider.

    Then it is a try like one with a password, counted for its network until somebody is signed in: the provider is
    asked. What no browser began here is not: else any page could use up its visitors' tries, by pictures.
    """
    now = clock.now()
    waiting = dict(session.get(WAITING) or {})
    state = request.args.get("state", "")
    entry = waiting.pop(state, None)
    session[WAITING] = waiting
    if entry is None or entry[0] != provider or len(entry) != ENTRY_PARTS:
        begun_here = bool(waiting or session.get(LINK))  # else nobody in particular, and there is nothing to tell
        return _refused(provider, "state") if begun_here else _page(provider, "state", 403)
    _, area, nonce, verifier, began_at, anew = entry
    web_sessions.act_in(area)
    if int(now.timestamp()) - began_at >= PATIENCE_SECONDS:
        return _refused(provider, "state")
    try:
        with transaction():
            rules, address = current_portal.settings.sign_in, request.remote_addr or ""
            attempt = throttle.reserve_network(db_session, address, rules, now)
    except Throttled as refusal:
        _log_refusal(area, "throttled")
        return _page(provider, "throttled", 429, minutes=refusal.minutes)
    try:
        signed_in = _provider(provider).finish(
            Pending(state, nonce, verifier), request.args, _address_of(provider), now.timestamp()
        )
        person = corporate.store_person(current_portal.database, current_portal.settings, signed_in.found, now)
    except ProviderRefused as refusal:
        log.warning("single_sign_on.refused provider=%s reason=%s", provider, refusal)
        return _refused(provider, refusal.reason)
    except AccountProblem as problem:
        return _refused(provider, problem.reason)
    except SourceUnavailable as outage:
        with transaction():
            throttle.release(db_session, attempt)
        _log_refusal(area, "source_unavailable", outage.reason)
        raise
    if person.disabled_at is not None:
        return _refused(provider, "disabled")
    if area == STAFF:
        return _staff(provider, person, signed_in, anew, attempt)
    answer = employees.begin_session(person, attempt, now)
    provider_sign_out.came_through(provider)
    return answer


@blueprint.get("/sign-in/<provider>/logo")
def logo(provider: str) -> ResponseReturnValue:
    """The provider's picture for its button, drawn anew: whatever file the settings name, only a picture leaves."""
    path = Path(_provider(provider).settings.logo)
    try:
        content = _drawn(path, path.stat().st_mtime_ns) if path.is_file() else None
    except (OSError, LogoRefused):
        content = None
    if content is None:
        abort(404)
    response = Response(content, mimetype="image/png")
    response.headers["Cache-Control"] = f"public, max-age={LOGO_SECONDS}"
    return response


@lru_cache(maxsize=8)
def _drawn(path: Path, _changed_at: int) -> bytes:
    with path.open("rb") as file:
        return b64decode(redraw(file.read(LARGEST_BYTES + 1)))


def _staff(provider: str, person: Person, signed_in: SignedIn, anew: bool, attempt: Attempt) -> ResponseReturnValue:
    """Staff by the provider's groups; its second factor counts where that is configured and was used.

    It was proved when the provider says so (``auth_time``). One that never says counts where it was asked ``anew``.
    """
    now = clock.now()
    if person.role not in STAFF_ROLES:
        return _refused(provider, "not_staff")
    with transaction():
        throttle.release(db_session, attempt)
    if signed_in.methods & set(_provider(provider).settings.second_factor):
        with transaction():
            told = signed_in.proved_at
            proved_at = now if anew and told is None and not _provider(provider).tells_time else None
            if told is not None:
                proved_at = datetime.fromtimestamp(min(told, now.timestamp()), UTC)
            answer = staff.begin_session(person, now, provider, staff.PROVIDER, proved_at)
    else:
        answer = staff.ask_second_factor(person, provider, now)
    provider_sign_out.came_through(provider)
    return answer


def _provider(name: str) -> "Provider":
    provider = current_portal.providers.get(name)
    if provider is None:
        abort(404)
    return provider


def _address_of(name: str) -> str:
    """Where the provider sends browsers back to; this is what is registered there."""
    return current_portal.settings.url(url_for("single_sign_on.finish", provider=name))


def _refused(provider: str, reason: str) -> ResponseReturnValue:
    area = web_sessions.area()
    _log_refusal(area, f"sso_{reason}")
    return _page(provider, reason, 403)


def _page(provider: str, reason: str, status: int, **more: object) -> ResponseReturnValue:
    area, title = web_sessions.area(), _provider(provider).settings.title
    again = url_for("single_sign_on.begin", provider=provider, area=area)
    told = {"reason": reason, "again": again, "title": title, "area": area}
    return render_template("errors/single_sign_on.html", **told, **more), status


def _log_refusal(area: str, reason: str, why: str = "") -> None:
    if area == STAFF:
        staff.refused(reason, None, request.view_args["provider"] if request.view_args else "", clock.now())
    else:
        employees.tell_helpdesk(reason, why)
