"""Step 2: whose phone is it."""

from flask.typing import ResponseReturnValue

from portal.enrollment import steps
from portal.enrollment.case import Case
from portal.enrollment.journey import Step
from portal.models import WebSession
from portal.web.employee import journey_pages
from portal.web.employee.forms import OwnershipForm
from portal.web.employee.steps import FORM_REFUSED, Page, step_page, to_current_step


@journey_pages.route("/ownership", methods=["GET", "POST"])
@step_page(Step.OWNERSHIP)
def ownership(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """Employee goes on; Corporate gets a page that says who to ask, and a way back."""
    form = OwnershipForm()
    offered = case.settings.enrollment.offer_corporate
    if form.validate_on_submit() and (offered or form.ownership.data == "employee"):
        steps.choose_ownership(case, form.ownership.data)
        return to_current_step(web_session)
    return shown(case, form)


def shown(case: Case, form: OwnershipForm) -> Page:
    """The page as it is for ``case`` now."""
    name = "corporate" if case.request.ownership == "corporate" and not form.errors else "ownership"
    facts = {"form": form, "offer_corporate": case.settings.enrollment.offer_corporate}
    return Page(name, facts, FORM_REFUSED if form.errors else 200)
