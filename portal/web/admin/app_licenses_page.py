"""The content token of Apps and Books: uploaded, claimed for this portal, and how its licenses stand."""

from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import clock, jobs
from portal.apps_and_books import content_token
from portal.apps_and_books.client import ClaimedElsewhere, OtherLocation, Refused, TokenGone, Unavailable
from portal.apps_and_books.content_token import ContentTokenRefused
from portal.extensions import current_portal, db_session, transaction
from portal.models import AppLicense
from portal.storage import app_intake, apple_content, apps
from portal.storage.licenses import exchanging
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.admin.app_pages import must_be_open
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

NOTICE = "licenses_notice"


@blueprint.get("/apps/licenses")
def app_licenses() -> ResponseReturnValue:
    """The location, its token, and every license."""
    must_be_open()
    return _page()


def _page(problem: str = "", claimed_by: str = "") -> str:
    rows = db_session.scalars(select(AppLicense).order_by(AppLicense.name, AppLicense.adam_id))
    names = {each.adam_id: each for each in apps.living(db_session)}
    return render_template(
        "admin/app_licenses.html",
        known=apple_content.known(db_session),
        own=_own_id(),
        licenses=list(rows),
        apps=names,
        problem=problem,
        claimed_by=claimed_by,
        now=clock.now(),
        notice=session.pop(NOTICE, None),
    )


@blueprint.post("/apps/licenses/token")
@fresh_proof()
def save_content_token() -> ResponseReturnValue:
    """A token: Apple is asked whose licenses it is about; another server's claim is only taken over when asked to."""
    must_be_open()
    must_be_ours()
    upload = request.files.get("token")
    content = upload.stream.read(content_token.LARGEST + 1) if upload is not None else b""
    database, actor = current_portal.database, web_sessions.actor_here()
    db_session.commit()  # hold nothing while waiting for the network
    try:
        take_over = request.form.get("claim") == "yes"
        app_intake.take_token(database, current_portal, content, actor, take_over=take_over)
    except ContentTokenRefused as refusal:
        return _page(refusal.code), 422
    except OtherLocation:
        return _page("other_location"), 422
    except ClaimedElsewhere as elsewhere:
        return _page("claimed", elsewhere.claim.name or elsewhere.claim.id), 422
    except Unavailable as away:
        return _page(away.reason), 503
    except (Refused, TokenGone) as refusal:
        return _page(f"refused {refusal.number}"), 422
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    return _back("saved")


@blueprint.post("/apps/licenses/look")
def look_at_licenses() -> ResponseReturnValue:
    """Count the licenses now."""
    must_be_open()
    must_be_ours()
    if apple_content.known(db_session) is None:
        abort(404)
    db_session.commit()  # hold nothing while waiting for the network
    problem = exchanging.look(current_portal.database, current_portal)
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    return _back(f"not_asked {problem}" if problem else "looked")


@blueprint.post("/apps/licenses/forget")
@fresh_proof()
def forget_content_token() -> ResponseReturnValue:
    """Give the token up."""
    must_be_open()
    must_be_ours()
    with transaction():
        apple_content.forget(web_sessions.editor())
    return _back("forgotten")


def _own_id() -> str:
    with transaction():
        return apple_content.own_id(db_session)


def _back(notice: str) -> ResponseReturnValue:
    session[NOTICE] = notice
    return redirect(url_for("admin.app_licenses"), 303)
