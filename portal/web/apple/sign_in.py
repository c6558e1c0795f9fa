"""The web view that Settings opens: where it begins, and how it hands the device its access token."""

from flask import Blueprint, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import access, journey
from portal.enrollment.journey import Step, Waiting, Way
from portal.extensions import db_session, portal, transaction
from portal.models import Visit
from portal.web import press, visits
from portal.web.apple.challenges import open_handle
from portal.web.employee.sign_in import STARTED
from portal.web.employee.steps import address_of, request_of

RESULTS = "apple-remotemanagement-user-login://authentication-results?access-token="
"""Where the web view has to end (308), so that the device takes the token."""
LONGEST_IDENTIFIER = 254

handover = Blueprint("handover", __name__)


@handover.get("/apple/sign-in")
@handover.get("/apple/sign-in/<handle>")
def begin(handle: str = "") -> ResponseReturnValue:
    """The device adds ``user-identifier``. Whoever was signed in here before is not: sign-in is always asked."""
    if visits.current() is not None:
        with transaction():
            visits.end(visits.WEB_VIEW)
    identifier = "".join(filter(str.isprintable, request.args.get("user-identifier", "")))
    session[STARTED] = {"identifier": identifier[:LONGEST_IDENTIFIER], "profile": open_handle(handle).profile_id}
    return redirect(address_of(Step.SIGN_IN), 303)


@handover.get("/apple/enroll/done")
def hand_over() -> ResponseReturnValue:
    """Everything is answered: the token for this one device. The web view is over with it."""
    visit = visits.current()
    if visit is None or visit.request_id is None:
        return redirect(address_of(Step.SIGN_IN), 303)
    if visit.profile_id is not None:
        with transaction():
            token = access.grant_again(
                db_session, visit.profile_id, visit.person, portal.settings.account_driven, clock.now()
            )
            visits.end(visits.WEB_VIEW)
        return redirect(RESULTS + token, 308)
    return _first_token(visit)


def _first_token(visit: Visit) -> ResponseReturnValue:
    walked, facts = request_of(visit)
    now = clock.now()
    if facts.enrolled_at is not None or facts.over(now):
        return render_template("employee/failed.html", waiting=Waiting.ENDED, facts=facts, way=Way.ACCOUNT)
    step = journey.current_step(facts, now)
    if step not in (Step.PROFILE, Step.FINISH):
        return redirect(address_of(step), 303)
    press.check_backend()
    with transaction():
        token = access.grant(db_session, press.open_press(), walked.id, visits.walk(visit), now)
        visits.end(visits.WEB_VIEW)
    return redirect(RESULTS + token, 308)
