"""A fresh proof before what would outlast a borrowed screen: the second factor once more, if it is ten minutes old.

A view that asks for one is decorated. When it is due, the person gets a page that holds what they sent and asks for a
code or a passkey; with it everything goes on as if nothing had been asked.
"""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

from flask import jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import StringField
from wtforms.validators import Length

from portal import clock
from portal.credentials import passkeys, second_factor
from portal.credentials.passkeys import PasskeyRefused
from portal.credentials.second_factor import FactorLocked
from portal.credentials.throttle import Throttled
from portal.extensions import current_portal, db_session
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.limits import json_object
from portal.web.rules import Form
from portal.web.staff import blueprint
from portal.web.staff.passkeys import passkey_of
from portal.web.staff.sign_in import PASSWORD, code_of, judged

View = TypeVar("View", bound=Callable[..., ResponseReturnValue])
CODE = "proof_code"
"""The field beside those of the form that is held."""
NOT_HELD = ("csrf_token", CODE)


class ProofForm(Form):
    proof_code = StringField(validators=[Length(max=64, message="code_missing")])


def fresh_proof(needed: Callable[[], bool] = lambda: True) -> Callable[[View], View]:
    """Let the view run only for a person who proved the second factor within ten minutes, where it is ``needed``."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
            web_session = web_sessions.current()
            if web_session is None or web_sessions.is_fresh(web_session, clock.now()) or not needed():
                return view(*args, **kwargs)
            refusal = _ask(web_session)
            return view(*args, **kwargs) if refusal is None else refusal

        return guarded  # type: ignore[return-value]

    return decorate


@blueprint.route("/staff/confirm", methods=["GET", "POST"])
def confirm() -> ResponseReturnValue:
    """The same page by itself: for what a script does, which comes back to the passkeys."""
    web_session = web_sessions.current()
    if web_session is None:
        return redirect(url_for("staff.sign_in"), 303)
    refusal = None if web_sessions.is_fresh(web_session, clock.now()) else _ask(web_session)
    return refusal if refusal is not None else redirect(url_for("staff.passkeys_page"), 303)


@blueprint.post("/staff/confirm/passkey")
def confirm_by_passkey() -> ResponseReturnValue:
    """The browser's answer; then its script sends the form that was held."""
    web_session, told, now = web_sessions.current(), json_object(), clock.now()
    if web_session is None:
        return jsonify(error="signed-out"), 403
    if told is None or not isinstance(told.get("credential"), dict):
        return jsonify(error="malformed"), 400
    credential = told["credential"]
    try:
        judged(passkey_of(web_session, credential, now), _mark(web_session, now), now)
    except PasskeyRefused as refusal:
        return jsonify(error=str(refusal)), 400
    except Throttled:
        return jsonify(error="throttled"), 429
    return jsonify(next="")


def _ask(web_session: WebSession) -> ResponseReturnValue | None:
    """None when the code that came with the form fits; else the page that asks for one."""
    form, now, minutes = ProofForm(), clock.now(), None
    code = form.proof_code.data or ""
    if request.method == "POST" and code and form.validate():
        use = lambda: second_factor.use(db_session, current_portal.vault, web_session.person, code, now)  # noqa: E731
        try:
            if judged(code_of(web_session.person, _method(web_session), use), _mark(web_session, now), now) is not None:
                return None
            form.proof_code.errors = ["code_wrong"]
        except FactorLocked:
            form.proof_code.errors = ["factor_locked"]
        except Throttled as refusal:
            minutes = refusal.minutes
            form.proof_code.errors = ["throttled"]
    held = [(name, value) for name, value in request.form.items(multi=True) if name not in NOT_HELD]
    page = render_template(
        "staff/confirm.html",
        form=form,
        held=held,
        files_lost=any(upload.filename for upload in request.files.values()),
        minutes=minutes,
        has_passkey=bool(passkeys.of(db_session, web_session.person)),
        has_app=second_factor.has_one(db_session, web_session.person),
        provider=current_portal.providers.get(web_session.method or web_session.person.source.removeprefix("oidc:")),
    )
    return page, 422 if form.errors else 403


def _method(web_session: WebSession) -> str:
    return web_session.method or PASSWORD


def _mark(web_session: WebSession, now: datetime) -> Callable[[str], ResponseReturnValue]:
    def mark(_factor: str) -> ResponseReturnValue:
        web_sessions.renew(web_session, proved_at=now)
        return ""

    return mark
