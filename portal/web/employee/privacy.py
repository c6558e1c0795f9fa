"""Step 3: what IT can and cannot see."""

from flask.typing import ResponseReturnValue

from portal.enrollment import steps
from portal.enrollment.case import Case
from portal.enrollment.journey import Step
from portal.models import WebSession
from portal.web.employee import journey_pages
from portal.web.employee.forms import AcknowledgeForm
from portal.web.employee.steps import FORM_REFUSED, Page, step_page, to_current_step


@journey_pages.route("/privacy", methods=["GET", "POST"])
@step_page(Step.PRIVACY)
def privacy(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """The privacy notice, to be acknowledged."""
    form = AcknowledgeForm()
    if form.validate_on_submit():
        steps.acknowledge_privacy(case)
        return to_current_step(web_session)
    return shown(form)


def shown(form: AcknowledgeForm) -> Page:
    """The page, the same for everybody."""
    return Page("privacy", {"form": form}, FORM_REFUSED if form.errors else 200)
