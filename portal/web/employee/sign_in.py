"""Step 1: sign in with corporate credentials."""

from datetime import datetime

from flask import redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from portal import clock
from portal.credentials import sign_in as corporate
from portal.credentials import throttle
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.credentials.throttle import Throttled
from portal.enrollment import access, progress, requests
from portal.enrollment.journey import Step
from portal.extensions import db_session, portal, transaction
from portal.models import EnrollmentRequest, Person, Visit
from portal.web import visits
from portal.web.employee import journey_pages
from portal.web.employee.enter import LINK
from portal.web.employee.forms import SignInForm
from portal.web.employee.steps import FORM_REFUSED, address_of, to_current_step

STARTED = "started"
"""Session key of the web view: the identifier typed in Settings, and the profile of a device that is managed."""


@journey_pages.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """Only the person the request is for may go on."""
    form, minutes = SignInForm(), None
    if request.method == "GET":
        visit = visits.current()
        if visit is not None and visit.request_id is not None and session.get(LINK) in (None, visit.request_id):
            return to_current_step(visit)
        form.username.data = (session.get(STARTED) or {}).get("identifier") if visits.area() == visits.WEB_VIEW else ""
        return render_template("employee/sign_in.html", form=form, signed_out=session.pop(visits.SIGNED_OUT, False))
    status = FORM_REFUSED
    if form.validate_on_submit():
        try:
            return _sign_in(form.username.data, form.password.data)
        except corporate.WrongCredentials:
            _tell_helpdesk("wrong_credentials")
            form.password.errors = ["credentials_wrong"]
        except Throttled as refusal:
            _tell_helpdesk("throttled")
            minutes, status = -(-refusal.seconds // 60), 429
            form.username.errors = ["throttled"]
        except AccountProblem as problem:
            _tell_helpdesk(problem.reason)
            form.username.errors = [f"account_{problem.reason}"]
        except SourceUnavailable:
            _tell_helpdesk("source_unavailable")
            raise
    return render_template("employee/sign_in.html", form=form, minutes=minutes), status


@journey_pages.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this person's visits, here and on every other device."""
    visit = visits.current()
    if visit is not None:
        with transaction():
            visits.end_everywhere(visit)
    visits.forget(visits.area())
    return redirect(address_of(Step.SIGN_IN), 303)


def _sign_in(username: str, password: str) -> ResponseReturnValue:
    settings, now = portal.settings, clock.now()
    person, attempt = corporate.check(
        portal.database, portal.sources, settings, username, password, request.remote_addr or "", now
    )
    with transaction():
        throttle.succeed(db_session, attempt)
        person = db_session.get_one(Person, person.id)
        if visits.area() == visits.WEB_VIEW:
            visit = _begin_in_settings(person, now)
        else:
            visit = visits.begin(visits.EMPLOYEE, person, _request_for(person).id, now)
        progress.reread_account(db_session, visit.request_id, settings)
    return to_current_step(visit)


def _request_for(person: Person) -> EnrollmentRequest:
    linked, now = session.get(LINK), clock.now()
    if linked:
        return progress.sign_in(db_session, linked, person, now)
    own = requests.for_self_enrollment(db_session, portal.vault, portal.settings, person, now)
    return progress.signed_in(db_session, own, now)


def _begin_in_settings(person: Person, now: datetime) -> Visit:
    """The web view: for a new enrollment, or because a managed device wants its owner to sign in again."""
    started = session.get(STARTED) or {}
    profile_id = started.get("profile")
    if profile_id:
        request_id = access.owner_signs_in(db_session, profile_id, person, now)
    else:
        identifier = started.get("identifier", "")
        request_id = progress.sign_in_from_settings(
            db_session, portal.vault, portal.settings, person, identifier, now
        ).id
    visit = visits.begin(visits.WEB_VIEW, person, request_id, now)
    visit.profile_id = profile_id
    return visit


def _tell_helpdesk(reason: str) -> None:
    linked = session.get(LINK)
    if linked:
        with transaction():
            progress.sign_in_failed(db_session, linked, reason, clock.now())
