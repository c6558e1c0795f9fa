"""The page that an employee sees now, in their language; nothing on it can be used."""

from flask import abort, render_template
from flask.typing import ResponseReturnValue
from flask_babel import force_locale

from portal import clock
from portal.enrollment import journey
from portal.enrollment import passcode as passcodes
from portal.enrollment.eligibility import FIRST_WITHOUT_PROFILES
from portal.enrollment.journey import Facts, Step, Waiting, Way
from portal.extensions import db_session, portal
from portal.models import EnrollmentRequest
from portal.storage import terms
from portal.web.employee import forms
from portal.web.employee.finish import UNDER_WAY
from portal.web.helpdesk import blueprint
from portal.web.previewing import unusable


@blueprint.get("/requests/<request_id>/preview")
def preview(request_id: str) -> ResponseReturnValue:
    """The current step's own page; without its forms' effects, since nobody is signed in to it here."""
    request = db_session.get(EnrollmentRequest, request_id)
    if request is None:
        abort(404)
    facts, now = journey.of(request), clock.now()
    step = journey.current_step(facts, now)
    language = request.language or request.person.locale
    with force_locale(language):
        template, values = _page(step, request, facts, language)
        return unusable(render_template(f"employee/{template}.html", preview=True, locale=language, **values))


def _page(step: Step, request: EnrollmentRequest, facts: Facts, language: str) -> tuple[str, dict[str, object]]:
    now, account, way = clock.now(), request.managed_apple_account, _way(request, facts)
    if step is Step.SIGN_IN:
        passwords = portal.settings.sign_in.passwords
        return "sign_in", {"form": forms.SignInForm(), "providers": [], "passwords": passwords, "area": "employee"}
    if step is Step.OWNERSHIP:
        name = "corporate" if facts.ownership == "corporate" else "ownership"
        return name, {"form": forms.OwnershipForm(), "offer_corporate": portal.settings.enrollment.offer_corporate}
    if step is Step.PRIVACY:
        return "privacy", {"form": forms.AcknowledgeForm()}
    if step is Step.PASSCODE:
        rules = portal.settings.passcode
        return "passcode", {
            "form": forms.PasscodeForm(),
            "usable": passcodes.usable(request, rules, now),
            "expired": passcodes.expired(request, rules, now),
            "used_elsewhere": request.passcode_used_at is not None,
            "wait": passcodes.resend_wait(request, rules, now),
            "email": request.person.email,
        }
    if step is Step.OVERVIEW:
        return "overview", {"form": forms.ContinueForm(), "account": account, "way": way, "in_settings": False}
    if step is Step.TERMS:
        shown = terms.text_of(db_session, terms.current_version(db_session), language)
        return "terms", {"form": forms.TermsForm(), "terms": shown, "sha256": "", "changed": False, "again": None}
    waiting = journey.waiting(facts, now)
    if step is Step.FINISH and waiting is not Waiting.INSTALL:
        name = "waiting" if waiting in UNDER_WAY else "enrolled" if waiting is Waiting.ENROLLED else "failed"
        return name, {"waiting": waiting, "facts": facts, "account": account, "way": way}
    if way is Way.ACCOUNT:
        return "settings", {"waiting": waiting, "account": account}
    return "profile", {
        "form": forms.ContinueForm(),
        "waiting": waiting,
        "account": account,
        "expires_at": facts.profile_expires_at,
        "now": now,
        "minutes_left": facts.minutes_left(now),
        "lifetime": portal.settings.profile.lifetime_minutes,
    }


def _way(request: EnrollmentRequest, facts: Facts) -> Way:
    """How this person's device enrolls, as far as it is known here."""
    if facts.way:
        return Way(facts.way)
    name, _, version = (request.browser or "").partition(" ")
    newer = version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= FIRST_WITHOUT_PROFILES
    return Way.ACCOUNT if newer or name == "settings" else Way.PROFILE
