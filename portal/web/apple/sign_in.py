"""The web view that Settings opens: where it begins, and how it hands the device its access token."""

from flask import redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from portal.enrollment import access
from portal.enrollment.errors import ProfileUnavailable
from portal.enrollment.journey import Step, Waiting, Way
from portal.extensions import cases, current_portal, transaction
from portal.models import WebSession
from portal.web import profile_issuer, web_sessions
from portal.web.apple.challenges import open_handle
from portal.web.employee.sign_in import STARTED
from portal.web.employee.steps import address_of, case_of
from portal.web.hand_over import hand_over as hand_over_to
from portal.web.rules import WEB_VIEW, Rules, pages

RESULTS = "apple-remotemanagement-user-login://authentication-results?access-token="
"""Where the web view has to end (308), so that the device takes the token."""
LONGEST_IDENTIFIER = 254

handover = pages("handover", __name__, Rules(area=WEB_VIEW))


@handover.get("/apple/sign-in")
@handover.get("/apple/sign-in/<handle>")
def begin(handle: str = "") -> ResponseReturnValue:
    """The device adds ``user-identifier``. Whoever was signed in here before is not: sign-in is always asked."""
    if web_sessions.current() is not None:
        with transaction():
            web_sessions.end(WEB_VIEW)
    identifier = "".join(filter(str.isprintable, request.args.get("user-identifier", "")))
    session[STARTED] = {"identifier": identifier[:LONGEST_IDENTIFIER], "profile": open_handle(handle).profile_id}
    return redirect(address_of(Step.SIGN_IN), 303)


@handover.get("/apple/enroll/done")
def hand_over() -> ResponseReturnValue:
    """Everything is answered: the token for this one device. The web view is over with it."""
    web_session = web_sessions.current()
    if web_session is None or web_session.request_id is None:
        return redirect(address_of(Step.SIGN_IN), 303)
    if web_session.profile_id is not None:
        with transaction() as writing:
            web_sessions.must_live(web_session.id, writing)
            case = cases().of_profile(web_session.profile_id)
            if case is None:
                raise ProfileUnavailable
            token = access.grant_again(case, web_session.person)
            web_sessions.end(WEB_VIEW)
        return redirect(RESULTS + token, 308)
    return _first_token(web_session)


def _first_token(web_session: WebSession) -> ResponseReturnValue:
    case = case_of(web_session)
    if not case.request.can_enroll(case.now):
        return render_template("employee/failed.html", waiting=Waiting.ENDED, facts=case.facts, way=Way.ACCOUNT)
    if case.step not in (Step.PROFILE, Step.FINISH):
        return redirect(address_of(case.step), 303)
    server = current_portal.backend.elsewhere
    if server is not None:
        hand_over_to(web_session, server, Way.ACCOUNT)
        account, minutes = case_of(web_session).request.managed_apple_account, server.minutes
        with transaction():
            web_sessions.end(WEB_VIEW)
        return render_template("employee/once_more.html", account=account, minutes=minutes, server=server.title)
    profile_issuer.check_backend()
    made = profile_issuer.open_issuer()
    with transaction() as writing:
        web_sessions.must_live(web_session.id, writing)
        token = access.grant(case_of(web_session, locked=True), made)
        web_sessions.end(WEB_VIEW)
    return redirect(RESULTS + token, 308)
