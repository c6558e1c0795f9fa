"""Step 6: the license terms."""

from flask import session
from flask.typing import ResponseReturnValue

from portal.enrollment import steps
from portal.enrollment import terms as license_terms
from portal.enrollment.case import Case
from portal.enrollment.errors import TermsChanged
from portal.enrollment.journey import Step
from portal.enrollment.terms import TermsMissing
from portal.models import Terms, WebSession
from portal.web import i18n
from portal.web.employee import journey_pages
from portal.web.employee.forms import TermsForm
from portal.web.employee.steps import FORM_REFUSED, Page, step_page, to_current_step

SHOWN = "terms_shown"
"""Session key: version and digest this browser was shown last, for a form that does not say."""


@journey_pages.route("/terms", methods=["GET", "POST"])
@step_page(Step.TERMS)
def terms(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """Accepts exactly the text that was shown; if another version came in between, that one is shown."""
    form, changed = TermsForm(), False
    if form.validate_on_submit():
        version, digest = session.get(SHOWN) or ("", "")
        if form.version.data:
            version, digest = form.version.data, form.sha256.data or ""
        try:
            steps.accept_terms(case, version, digest, i18n.current())
            return to_current_step(web_session)
        except TermsChanged:
            changed = True
    text = text_for(case, i18n.current())
    session[SHOWN] = [text.version, license_terms.sha256(text.text)]
    return shown(case, form, text, changed)


def text_for(case: Case, language: str) -> Terms:
    """The text that has to be accepted now. Raises TermsMissing."""
    if case.request.terms_current is None:
        raise TermsMissing
    return license_terms.in_language(case.store.terms(case.request.terms_current), language)


def shown(case: Case, form: TermsForm, text: Terms, changed: bool = False) -> Page:
    """The page with ``text``; ``changed``: it came after the one that was accepted just now."""
    facts = {
        "form": form,
        "terms": text,
        "sha256": license_terms.sha256(text.text),
        "changed": changed,
        "again": case.facts.terms_accepted_at,
    }
    return Page("terms", facts, FORM_REFUSED if form.errors or changed else 200)
