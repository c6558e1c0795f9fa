"""Step 1: sign in with corporate credentials."""

from datetime import datetime

from flask import abort, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock, discovery, people
from portal.credentials import sign_in as corporate
from portal.credentials import throttle
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.credentials.throttle import Attempt, Throttled
from portal.enrollment import access, invitations, steps
from portal.enrollment.case import Case
from portal.enrollment.errors import ProfileUnavailable
from portal.enrollment.journey import Step, short_code
from portal.extensions import cases, current_portal, db_session, transaction
from portal.models import Person
from portal.web import i18n, provider_sign_out, web_sessions
from portal.web.employee import journey_pages
from portal.web.employee.browsers import browser_in_words
from portal.web.employee.enter import LINK, MY
from portal.web.employee.forms import SignInForm
from portal.web.employee.steps import FORM_REFUSED, Page, address_of, to_current_step
from portal.web.rules import EMPLOYEE, WEB_VIEW

LONGEST_HINT = 254
STARTED = "started"
"""Session key of the web view: the identifier typed in Settings, and the profile of a device that is managed."""


@journey_pages.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """Only the person the request is for may go on."""
    form, minutes = SignInForm(), None
    username_first = any(provider.domains for provider in current_portal.settings.oidc.providers)
    if request.method != "POST":
        web_session = web_sessions.current()
        if (
            web_session is not None
            and web_session.request_id is not None
            and session.get(LINK) in (None, web_session.request_id)
        ):
            return to_current_step(web_session)
        form.username.data = (session.get(STARTED) or {}).get("identifier") if web_sessions.area() == WEB_VIEW else ""
        signed_out = session.pop(web_sessions.SIGNED_OUT, False)
        return _page(form, signed_out=signed_out, username_first=username_first).draw()
    if username_first and form.username.data and "password" not in request.form:
        return _by_domain(form)
    if not current_portal.settings.sign_in.passwords:
        abort(404)
    status = FORM_REFUSED
    if form.validate_on_submit():
        try:
            return _sign_in(form.username.data, form.password.data)
        except corporate.WrongCredentials:
            tell_helpdesk("wrong_credentials")
            form.password.errors = ["credentials_wrong"]
        except Throttled as refusal:
            tell_helpdesk("throttled")
            minutes, status = refusal.minutes, 429
            form.username.errors = ["throttled"]
        except AccountProblem as problem:
            tell_helpdesk(problem.reason)
            form.username.errors = [f"account_{problem.reason}"]
        except SourceUnavailable as outage:
            tell_helpdesk("source_unavailable", outage.reason)
            raise
    return _page(form, status, minutes=minutes).draw()


def _page(form: SignInForm, status: int = 200, **more: object) -> Page:
    if session.get(LINK) and web_sessions.area() == EMPLOYEE:
        g.short_code = short_code(session[LINK])
    return shown(form, web_sessions.area(), status, **more)


def shown(form: SignInForm, area: str, status: int = 200, **more: object) -> Page:
    """The page, with every provider that no domain leads to; the same for everybody."""
    providers = [each for each in current_portal.settings.oidc.providers if not each.domains]
    passwords = current_portal.settings.sign_in.passwords
    return Page("sign_in", {"form": form, "providers": providers, "passwords": passwords, "area": area, **more}, status)


def _by_domain(form: SignInForm) -> ResponseReturnValue:
    """The username was asked first: its domain leads to a provider, or a password is asked now."""
    username = form.username.data[:LONGEST_HINT]
    domain = discovery.domain_of(username)
    for provider in current_portal.settings.oidc.providers:
        if domain and domain in {each.casefold() for each in provider.domains}:
            address = url_for("single_sign_on.begin", provider=provider.name, area=web_sessions.area(), hint=username)
            return provider_sign_out.on_to(address, provider.title)
    return _page(form).draw()


@journey_pages.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this person's sessions, here and on every other device."""
    web_session, provider = web_sessions.current(), provider_sign_out.way_out()
    if web_session is not None:
        with transaction():
            web_sessions.end_everywhere(web_session)
    web_sessions.forget(web_sessions.area())
    return provider_sign_out.to(address_of(Step.SIGN_IN), provider)


def _sign_in(username: str, password: str) -> ResponseReturnValue:
    now = clock.now()
    person, attempt = corporate.check(current_portal, username, password, request.remote_addr or "", now)
    return begin_session(person, attempt, now)


def begin_session(person: Person, attempt: Attempt | None, now: datetime) -> ResponseReturnValue:
    """``person`` proved who they are, with a password (``attempt``) or elsewhere: their request, and on to its step.

    Raises ProofOver, and what keeps them from enrolling.
    """
    with transaction():
        people.still_proved(db_session, person)
        if attempt is not None:
            throttle.release(db_session, attempt)
        if web_sessions.area() == EMPLOYEE and session.get(MY):
            web_sessions.begin(EMPLOYEE, db_session.get_one(Person, person.id), None, now)
            return redirect(url_for("my.my_devices"), 303)
        if web_sessions.area() == WEB_VIEW:
            case, profile_id = _in_settings(db_session.get_one(Person, person.id))
            web_session = web_sessions.begin(WEB_VIEW, case.request.person, case.request.id, now)
            web_session.profile_id = profile_id
        else:
            case, profile_id = _in_safari(person), None
            web_session = web_sessions.begin(EMPLOYEE, case.request.person, case.request.id, now)
        steps.seen_with(case, browser_in_words(), i18n.current())
    case.browser = web_sessions.signed_in_browser(web_session)
    return redirect(address_of(Step.FINISH if profile_id else case.step), 303)


def _in_safari(person: Person) -> Case:
    linked = session.get(LINK)
    if linked:
        case = cases().lock(linked)
        steps.sign_in(case, person)
        return case
    case = invitations.for_self_enrollment(cases(), db_session.get_one(Person, person.id), i18n.current())
    steps.signed_in(case)
    return case


def _in_settings(person: Person) -> tuple[Case, str | None]:
    """The web view: for a new enrollment, or because a managed device wants its owner to sign in again (its profile).

    Raises WrongAccount if what was typed in Settings is not their Managed Apple Account.
    """
    started, of_portal = session.get(STARTED) or {}, cases()
    profile_id = started.get("profile")
    if profile_id:
        managed = of_portal.of_profile(profile_id)
        if managed is None:
            raise ProfileUnavailable
        access.owner_signs_in(managed, person)
        return managed, profile_id
    account = of_portal.account_of(person, current_portal.settings)
    if account and not steps.same_account(account, started.get("identifier", "")):
        raise steps.another_account(of_portal.open_of(person), account)
    case = invitations.for_self_enrollment(of_portal, person, i18n.current())
    steps.signed_in(case, steps.IN_SETTINGS)
    return case, None


def tell_helpdesk(reason: str, why: str = "") -> None:
    """A try to sign in failed: told with the link that this browser opened, else with what concerns no request."""
    linked, address = session.get(LINK), throttle.network_of(request.remote_addr or "")
    with transaction():
        if linked and web_sessions.area() == EMPLOYEE:
            steps.sign_in_failed(cases().lock(linked), reason, why)
        else:
            cases().sign_in_failed_without_link(reason, {"why": why, "address": address})
