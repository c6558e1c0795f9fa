"""Tokens of programs: made, shown once, revoked."""

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.credentials import api_tokens
from portal.extensions import db_session, transaction
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

NOTICE = "tokens_notice"


@blueprint.get("/tokens")
def tokens_page() -> ResponseReturnValue:
    """Every token, without itself."""
    return _page()


@blueprint.post("/tokens")
@fresh_proof()
def make_token() -> ResponseReturnValue:
    """A new one, shown on this page only."""
    must_be_ours()
    name = request.form.get("name", "").strip()[:80]
    scopes = [each for each in api_tokens.SCOPES if request.form.get(f"scope.{each}") == "yes"]
    if not name or not scopes:
        return _page(problem="name" if not name else "scope", name=name), 422
    chosen = request.form.get("days", "")
    days = next((each for each in api_tokens.DAYS if str(each) == chosen), api_tokens.LONGEST_DAYS)
    with transaction():
        token = api_tokens.make(web_sessions.editor(), name, scopes, days)
    return _page(token=token)


@blueprint.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> ResponseReturnValue:
    """Stops working at once."""
    must_be_ours()
    with transaction():
        api_tokens.revoke(web_sessions.editor(), token_id)
    session[NOTICE] = "revoked"
    return redirect(url_for("admin.tokens_page"), 303)


def _page(token: str = "", problem: str = "", name: str = "") -> str:
    return render_template(
        "admin/tokens.html",
        tokens=api_tokens.every(db_session),
        scopes=api_tokens.SCOPES,
        days=api_tokens.DAYS,
        now=clock.now(),
        token=token,
        problem=problem,
        name=name,
        notice=session.pop(NOTICE, None),
    )
