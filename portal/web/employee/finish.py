"""Step 8: waiting for the device, and what is now on it."""

from flask import jsonify, redirect, url_for
from flask.typing import ResponseReturnValue

from portal.enrollment import handover, journey
from portal.enrollment.case import Case
from portal.enrollment.journey import Step, Waiting, Way
from portal.extensions import current_portal
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.employee import safari_pages
from portal.web.employee.browsers import way_here
from portal.web.employee.forms import ContinueForm
from portal.web.employee.steps import Page, address_of, case_of, step_page, to_current_step
from portal.web.rules import EMPLOYEE

UNDER_WAY = {Waiting.DOWNLOAD, Waiting.INSTALL, Waiting.DEVICE, Waiting.ACCOUNT}


@safari_pages.route("/enroll/finish", methods=["GET", "POST"])
@step_page(Step.FINISH)
def finish(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """How far the device is; at the end, what it has now or what to do."""
    if ContinueForm().validate_on_submit():
        return to_current_step(web_session)
    server = current_portal.backend.elsewhere
    if server is not None and handover.is_live(case, server.name):
        return redirect(url_for("safari.profile"), 303)  # where to tap is shown until the device is there
    return shown(case, way_here(case.request))


def shown(case: Case, way: Way) -> Page:
    """The page as it is for ``case`` now; ``way`` as long as its device took none."""
    facts, waiting = case.facts, journey.waiting(case.facts, case.now)
    name = "waiting" if waiting in UNDER_WAY else "enrolled" if waiting is Waiting.ENROLLED else "failed"
    account, way = case.request.managed_apple_account, Way(facts.way or way)
    granted = case.store.granted_apps(case.request.person_id) if current_portal.gives_apps else []
    apps = {
        "coming": [each.app for each in granted if each.wanted],
        "offered": any(not each.wanted for each in granted),
    }
    told = {"waiting": waiting, "facts": facts, "account": account, "way": way, "apps": apps}
    in_safari = web_sessions.area() == EMPLOYEE  # Settings begins by itself
    return Page(name, {**told, "may_begin": in_safari and case.settings.enrollment.self_enrollment})


@safari_pages.get("/enroll/state")
def state() -> ResponseReturnValue:
    """For the script of the profile and finish pages: where the device is. 403 when the session is over."""
    web_session = web_sessions.current()
    if web_session is None or web_session.request_id is None:
        return jsonify(waiting="signed-out", next=address_of(Step.SIGN_IN)), 403
    case = case_of(web_session)
    facts = case.facts
    waiting = journey.waiting(facts, case.now)
    asks_here = facts.way != Way.ACCOUNT.value or facts.server is not None
    in_safari = waiting in (Waiting.DOWNLOAD, Waiting.INSTALL) and asks_here
    step = Step.PROFILE if in_safari else Step.FINISH
    return jsonify(waiting=waiting.value, next=address_of(step))
