"""Where somebody is signed in as staff, and ending any of it."""

from flask import redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import delete

from portal.extensions import db_session, transaction
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.rules import STAFF, Form
from portal.web.staff import blueprint


class EndForm(Form):
    """A button."""


@blueprint.get("/staff/sessions")
def sessions_page() -> ResponseReturnValue:
    """One's own browsers, this one first."""
    here = web_sessions.current()
    if here is None:
        return redirect(url_for("staff.sign_in"), 303)
    found = sorted(web_sessions.of_person(here.person), key=lambda each: each.id != here.id)
    return render_template("staff/sessions.html", sessions=found, here=here)


@blueprint.post("/staff/sessions/<session_id>/end")
def end_session(session_id: str) -> ResponseReturnValue:
    """Sign another of one's own browsers out, at once; nobody else's."""
    here = web_sessions.current()
    if here is not None and EndForm().validate_on_submit():
        with transaction():
            own = (WebSession.id == session_id, WebSession.person_id == here.person_id, WebSession.area == STAFF)
            db_session.execute(delete(WebSession).where(*own))
    return redirect(url_for("staff.sessions_page"), 303)
