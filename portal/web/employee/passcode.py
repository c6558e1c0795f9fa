"""Step 4: the passcode from the e-mail."""

from flask import redirect, session
from flask.typing import ResponseReturnValue

from portal.enrollment import passcode as passcodes
from portal.enrollment import steps
from portal.enrollment.case import Case
from portal.enrollment.errors import (
    PasscodeExpired,
    PasscodeLocked,
    PasscodeSendsUsedUp,
    PasscodeTooSoon,
    PasscodeWrong,
)
from portal.enrollment.journey import Step
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.employee import journey_pages
from portal.web.employee.forms import ContinueForm, PasscodeForm
from portal.web.employee.steps import FORM_REFUSED, Page, address_of, step_page, to_current_step

NOTICE = "passcode_notice"
"""Session key: what to say about the passcode on the next page, once."""


@journey_pages.route("/passcode", methods=["GET", "POST"])
@step_page(Step.PASSCODE)
def passcode(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """Six digits, counted before they are compared."""
    form, tries_left = PasscodeForm(), None
    if form.validate_on_submit():
        try:
            steps.enter_passcode(case, form.passcode.data)
            web_sessions.renew(web_session)
            return to_current_step(web_session)
        except PasscodeWrong as refusal:
            tries_left = refusal.tries_left
            form.passcode.errors = ["passcode_wrong"]
        except PasscodeExpired:
            form.passcode.errors = ["passcode_expired"]
        except PasscodeLocked:
            form.passcode.errors = ["passcode_locked"]
    return shown(case, form, tries_left, session.pop(NOTICE, None))


def shown(case: Case, form: PasscodeForm, tries_left: int | None = None, notice: str | None = None) -> Page:
    """The page as it is for ``case`` now; ``tries_left`` after a wrong one, ``notice``: what became of sending one."""
    request, rules, now = case.request, case.settings.passcode, case.now
    facts = {
        "form": form,
        "tries_left": tries_left,
        "usable": passcodes.usable(request, rules, now),
        "expired": passcodes.expired(request, rules, now),
        "used_elsewhere": request.passcode_used_at is not None,
        "wait": passcodes.resend_wait(request, rules, now),
        "notice": notice,
        "email": request.person.email,
    }
    return Page("passcode", facts, FORM_REFUSED if form.errors else 200)


@journey_pages.post("/passcode/send")
@step_page(Step.PASSCODE)
def send_passcode(web_session: WebSession, case: Case) -> ResponseReturnValue:
    """Send a new one, at most one a minute."""
    if ContinueForm().validate_on_submit():
        try:
            steps.send_passcode(case)
            session[NOTICE] = "sent"
        except PasscodeTooSoon:
            session[NOTICE] = "too_soon"
        except PasscodeSendsUsedUp:
            session[NOTICE] = "used_up"
    return redirect(address_of(Step.PASSCODE), 303)
