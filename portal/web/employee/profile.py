"""Step 7: the profile, downloaded from a short-lived ticket; for a device that enrolls from Settings, how to."""

from flask import Response, redirect, url_for
from flask import request as http
from flask.typing import ResponseReturnValue

from portal.enrollment import handover, journey, steps
from portal.enrollment import profile as profiles
from portal.enrollment.case import Case
from portal.enrollment.errors import ProfileUnavailable
from portal.enrollment.journey import Step, Waiting, Way
from portal.extensions import cases, current_portal, transaction
from portal.models import WebSession
from portal.web import profile_issuer, web_sessions
from portal.web.employee import safari_pages
from portal.web.employee.browsers import way_here
from portal.web.employee.forms import ContinueForm
from portal.web.employee.steps import Page, case_of, step_page
from portal.web.hand_over import hand_over as hand_over_to


@safari_pages.route("/enroll/profile", methods=["GET", "POST"])
@step_page(Step.PROFILE)
def profile(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """Before the download a button; after it the countdown and the way through Settings."""
    form = ContinueForm()
    if form.validate_on_submit():
        return redirect(url_for("safari.profile_file"), 303)
    if current_portal.backend.elsewhere is not None:
        return shown(case, form, way_here(case.request))
    waiting = _waiting(case)
    fetched = waiting is Waiting.INSTALL and case.facts.way == Way.ACCOUNT.value
    if fetched or waiting in (Waiting.DEVICE, Waiting.ACCOUNT):
        return redirect(url_for("safari.finish"), 303)
    if waiting is not Waiting.INSTALL:
        profile_issuer.check_backend()
    return shown(case, form, way_here(case.request))


def shown(case: Case, form: ContinueForm, way: Way) -> Page:
    """The page as it is for ``case`` now, on a device that enrolls this ``way``."""
    facts, now, account = case.facts, case.now, case.request.managed_apple_account
    waiting, server = _waiting(case), current_portal.backend.elsewhere
    if server is not None:
        handed = handover.is_live(case, server.name)
        name = "hand_over" if not handed else "settings" if way is Way.ACCOUNT else "elsewhere"
        told = {"address": server.enrollment_url(), "minutes": facts.minutes_left(now) if handed else server.minutes}
        return Page(name, {"waiting": waiting, "account": account, "way": way, "server": server.title, **told})
    if way is Way.ACCOUNT:
        return Page("settings", {"waiting": waiting, "account": account})
    told = {
        "form": form,
        "waiting": waiting,
        "account": account,
        "expires_at": facts.profile_expires_at,
        "now": now,
        "minutes_left": facts.minutes_left(now),
        "lifetime": case.settings.profile.lifetime_minutes,
    }
    return Page("profile", told)


def _waiting(case: Case) -> Waiting:
    """How far the device is; whoever was handed over to a server that is not set up any more begins anew."""
    server, waiting = current_portal.backend.elsewhere, journey.waiting(case.facts, case.now)
    elsewhere = case.facts.server is not None and (server is None or server.name != case.facts.server)
    return Waiting.EXPIRED if elsewhere and waiting is Waiting.INSTALL else waiting


@safari_pages.get("/enroll/profile.mobileconfig")
@step_page(Step.PROFILE)
def profile_file(web_session: WebSession, case: Case) -> ResponseReturnValue:
    """A new download: a fresh profile, at an address of its own that needs no cookie; never for iOS 18 and later.

    Asking only for its head changes nothing, nor does another site that sends the browser here (Fetch Metadata): the
    profile that was downloaded before would be dead.
    """
    elsewhere = current_portal.backend.elsewhere is not None or http.headers.get("Sec-Fetch-Site") == "cross-site"
    if way_here(case.request) is Way.ACCOUNT or elsewhere:
        return redirect(url_for("safari.profile"), 303)
    if http.method == "HEAD":
        return Response(content_type=profiles.MEDIA_TYPE)
    profile_issuer.check_backend()
    made = profile_issuer.open_issuer()
    with transaction() as writing:  # nothing is asked of other servers in it
        web_sessions.must_live(web_session.id, writing)
        ticket = profiles.issue(case_of(web_session, locked=True), made)
    return redirect(url_for("safari.ticket", ticket=ticket), 302)


@safari_pages.post("/enroll/hand-over")
def hand_over() -> ResponseReturnValue:
    """For a device management that enrolls devices by itself: from now on this person's device may enroll there."""
    web_session, server = web_sessions.current(), current_portal.backend.elsewhere
    if (
        web_session is not None
        and web_session.request_id is not None
        and server is not None
        and ContinueForm().validate()
    ):
        hand_over_to(web_session, server, way_here(case_of(web_session).request))
    return redirect(url_for("safari.profile"), 303)


@safari_pages.get("/p/<ticket>.mobileconfig")
def ticket(ticket: str) -> ResponseReturnValue:
    """The signed profile; the same bytes for as long as the ticket lives."""
    if not cases().knows_ticket(ticket):
        raise ProfileUnavailable  # whoever has none does not wait in the line of those who write
    with transaction():
        case = cases().of_ticket(ticket)
        if case is None:
            raise ProfileUnavailable
        profile_id, content = profiles.content(case)
        if http.method == "GET":
            steps.profile_downloaded(case, profile_id)
    response = Response(content, content_type=profiles.MEDIA_TYPE)
    response.headers["Content-Disposition"] = 'attachment; filename="enrollment.mobileconfig"'
    return response
