"""The page that an employee sees now, in their language; nothing on it can be used."""

from flask import abort, g
from flask.typing import ResponseReturnValue
from flask_babel import force_locale

from portal.enrollment import journey
from portal.enrollment.case import Case
from portal.enrollment.journey import Step, Waiting, Way
from portal.extensions import cases, db_session
from portal.models import EnrollmentRequest
from portal.web.employee import finish, forms, overview, ownership, passcode, privacy, profile, sign_in, terms
from portal.web.employee.browsers import way_seen
from portal.web.employee.steps import Page
from portal.web.helpdesk import blueprint
from portal.web.rules import EMPLOYEE


@blueprint.get("/requests/<request_id>/preview")
def preview(request_id: str) -> ResponseReturnValue:
    """The current step's own page; without its forms' effects, since nobody is signed in to it here."""
    request = db_session.get(EnrollmentRequest, request_id)
    if request is None:
        abort(404)
    language = request.language or request.person.locale
    g.preview = True
    with force_locale(language):
        return _page(cases().view(request), language).html(locale=language)


def _page(case: Case, language: str) -> Page:
    way, step = Way(case.facts.way) if case.facts.way else way_seen(case.request), case.step
    if step is Step.SIGN_IN:
        return sign_in.shown(forms.SignInForm(), EMPLOYEE)
    if step is Step.OWNERSHIP:
        return ownership.shown(case, forms.OwnershipForm())
    if step is Step.PRIVACY:
        return privacy.shown(forms.AcknowledgeForm())
    if step is Step.PASSCODE:
        return passcode.shown(case, forms.PasscodeForm())
    if step is Step.OVERVIEW:
        return overview.shown(case, forms.ContinueForm(), way)
    if step is Step.TERMS:
        return terms.shown(case, forms.TermsForm(), terms.text_for(case, language))
    if step is Step.FINISH and journey.waiting(case.facts, case.now) is not Waiting.INSTALL:
        return finish.shown(case, way)
    return profile.shown(case, forms.ContinueForm(), way)
