"""Staff's passkeys: making, using and removing them. The browser's part is in static/passkey.js."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import audit, clock
from portal.credentials import passkeys, throttle
from portal.credentials.passkeys import PasskeyRefused, RelyingParty
from portal.credentials.throttle import Throttled
from portal.events import Event
from portal.extensions import current_portal, db_session, transaction
from portal.models import Person, WebSession
from portal.web import web_sessions
from portal.web.limits import json_object
from portal.web.rules import Form
from portal.web.staff import blueprint
from portal.web.staff.sign_in import PASSWORD, Trial, pending_session, prove


class RemoveForm(Form):
    """A button."""


@blueprint.get("/staff/passkeys")
def passkeys_page() -> ResponseReturnValue:
    """One's own passkeys."""
    web_session = web_sessions.current()
    if web_session is None:
        return redirect(url_for("staff.sign_in"), 303)
    return render_template("staff/passkeys.html", passkeys=passkeys.of(db_session, web_session.person))


@blueprint.post("/staff/passkeys/options")
def options_for_adding() -> ResponseReturnValue:
    """A challenge for a new passkey."""
    web_session = web_sessions.current()
    if web_session is None:
        return jsonify(error="signed-out"), 403
    if not web_sessions.is_fresh(web_session, clock.now()):
        return jsonify(error="proof", next=url_for("staff.confirm")), 403
    with transaction():
        return jsonify(passkeys.begin_adding(db_session, _party(), web_session, clock.now()))


@blueprint.post("/staff/passkeys")
def add_passkey() -> ResponseReturnValue:
    """Keep what the browser made."""
    web_session = web_sessions.current()
    if web_session is None:
        return jsonify(error="signed-out"), 403
    if not web_sessions.is_fresh(web_session, clock.now()):
        return jsonify(error="proof", next=url_for("staff.confirm")), 403
    told, now = json_object(), clock.now()
    if told is None or not isinstance(told.get("credential"), dict):
        return jsonify(error="malformed"), 400
    try:
        with transaction():
            passkeys.add(db_session, _party(), web_session, told["credential"], str(told.get("name", "")), now)
            _event(Event.PASSKEY_ADDED, web_session.person)
    except PasskeyRefused as refusal:
        return jsonify(error=str(refusal)), 400
    return jsonify(next=url_for("staff.passkeys_page"))


@blueprint.post("/staff/passkeys/<credential_id>/remove")
def remove_passkey(credential_id: str) -> ResponseReturnValue:
    """It no longer signs in; the authenticator app or recovery codes still do."""
    web_session = web_sessions.current()
    if web_session is not None and not web_sessions.is_fresh(web_session, clock.now()):
        return redirect(url_for("staff.confirm"), 303)
    if web_session is not None and RemoveForm().validate_on_submit():
        with transaction():
            if passkeys.remove(db_session, web_session.person, credential_id):
                _event(Event.PASSKEY_REMOVED, web_session.person)
    return redirect(url_for("staff.passkeys_page"), 303)


@blueprint.post("/staff/second-factor/options")
def options_for_signing_in() -> ResponseReturnValue:
    """A challenge for whoever proved the first factor."""
    web_session = pending_session() or web_sessions.current()
    if web_session is None or not passkeys.of(db_session, web_session.person):
        return jsonify(error="signed-out"), 403
    with transaction():
        return jsonify(passkeys.begin_using(db_session, _party(), web_session, clock.now()))


@blueprint.post("/staff/second-factor/passkey")
def use_passkey() -> ResponseReturnValue:
    """The second factor by passkey."""
    pending, told, now = pending_session(), json_object(), clock.now()
    if pending is None:
        return jsonify(error="signed-out"), 403
    if told is None or not isinstance(told.get("credential"), dict):
        return jsonify(error="malformed"), 400
    credential = told["credential"]
    try:
        prove(passkey_of(pending, credential, now), now)
    except PasskeyRefused as refusal:
        return jsonify(error=str(refusal)), 400
    except Throttled:
        return jsonify(error="throttled"), 429
    return jsonify(next=url_for("helpdesk.request_list"))


def passkey_of(web_session: WebSession, credential: dict[str, Any], now: datetime) -> Trial:
    """A passkey is tried: what the browser sent."""

    def judge() -> str:
        passkeys.use(db_session, _party(), web_session, credential, now)
        return "passkey"

    person = web_session.person
    counted = throttle.passkey_of(person, request.remote_addr or "")
    return Trial(person, web_session.method or PASSWORD, judge, counted)


def _party() -> RelyingParty:
    origin = current_portal.settings.public_url.rstrip("/")
    return RelyingParty(urlsplit(origin).hostname or "", origin, current_portal.settings.company.name)


def _event(event: Event, person: Person) -> None:
    told = {"person": person.id}
    audit.record(db_session, audit.SETTINGS, event, clock.now(), actor=audit.actor_of(person), detail=told)
