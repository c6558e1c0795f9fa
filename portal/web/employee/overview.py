"""Step 5: the three things that will happen now."""

from flask.typing import ResponseReturnValue

from portal.enrollment import steps
from portal.enrollment.case import Case
from portal.enrollment.journey import Step, Way
from portal.extensions import current_portal
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.employee import journey_pages
from portal.web.employee.browsers import way_here
from portal.web.employee.forms import ContinueForm
from portal.web.employee.steps import Page, step_page, to_current_step
from portal.web.rules import WEB_VIEW


@journey_pages.route("/overview", methods=["GET", "POST"])
@step_page(Step.OVERVIEW)
def overview(web_session: WebSession, case: Case) -> Page | ResponseReturnValue:
    """Shown once; going on is all there is to do."""
    form = ContinueForm()
    if form.validate_on_submit():
        steps.see_overview(case)
        return to_current_step(web_session)
    return shown(case, form, way_here(case.request), in_settings=web_sessions.area() == WEB_VIEW)


def shown(case: Case, form: ContinueForm, way: Way, in_settings: bool = False) -> Page:
    """The page as it is for ``case`` now; ``in_settings``: in the web view of Settings."""
    account = case.request.managed_apple_account
    server = current_portal.backend.elsewhere
    told = {"form": form, "account": account, "way": way, "in_settings": in_settings}
    return Page("overview", {**told, "server": server.title if server is not None else ""})
