"""The ways in: the link of a request, self-enrollment, and going on where one was."""

from flask import redirect, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import invitations, steps
from portal.enrollment.eligibility import Verdict
from portal.enrollment.journey import Step
from portal.extensions import cases, transaction
from portal.web import web_sessions
from portal.web.employee import journey_pages, safari_pages
from portal.web.employee.browsers import browser_here, refuse_unfit_browser
from portal.web.employee.steps import address_of, to_current_step
from portal.web.rules import EMPLOYEE

LINK = "link"
"""Session key: the id of the request whose link this browser opened."""
MY = "my"
"""Session key: whoever signs in next wants to see their own devices, not to enroll one."""


@safari_pages.get("/e/<token>")
def enter(token: str) -> ResponseReturnValue:
    """Open a link. Nothing changes: mail scanners open links too."""
    web_session = web_sessions.current()
    request = invitations.by_token(cases(), token, web_session.request_id if web_session is not None else None)
    refusal = refuse_unfit_browser()
    if refusal is not None:
        return refusal
    if web_session is not None and web_session.request_id == request.id:
        return to_current_step(web_session)
    session.pop(MY, None)
    session[LINK] = request.id
    return redirect(address_of(Step.SIGN_IN), 303)


@safari_pages.post("/e/<token>/browser")
def tell_browser(token: str) -> ResponseReturnValue:
    """The page for a browser that cannot go on was really looked at: its script says so, no mail scanner does."""
    request = invitations.by_token(cases(), token)
    verdict = browser_here().verdict
    if verdict is not Verdict.OK:
        with transaction():
            steps.unfit_browser(cases().lock(request.id), verdict.value)
    return "", 204


@safari_pages.get("/")
def front_door() -> ResponseReturnValue:
    """Whoever types just the host wants to enroll."""
    return redirect(url_for("safari.enroll"), 303)


@safari_pages.get("/enroll")
def enroll() -> ResponseReturnValue:
    """Start without a link, or go on; whose request is over begins again."""
    web_session = web_sessions.current()
    if web_session is not None and web_session.request is not None:
        request = web_session.request
        is_enrolled = request.enrolled_at is not None and request.ended_at is None
        if is_enrolled or request.can_enroll(clock.now()):
            return to_current_step(web_session)
        with transaction():
            web_sessions.end(EMPLOYEE)
    session.pop(LINK, None)
    session.pop(MY, None)
    return redirect(address_of(Step.SIGN_IN), 303)


@journey_pages.get("/continue")
def continue_journey() -> ResponseReturnValue:
    """Wherever this browser is in its journey."""
    web_session = web_sessions.current()
    if web_session is None or web_session.request_id is None:
        return redirect(address_of(Step.SIGN_IN), 303)
    return to_current_step(web_session)
