"""Step 3: what IT can and cannot see."""

from flask import render_template
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import progress
from portal.enrollment.journey import Facts, Step
from portal.extensions import db_session, transaction
from portal.models import EnrollmentRequest, Visit
from portal.web import visits
from portal.web.employee import journey_pages
from portal.web.employee.forms import AcknowledgeForm
from portal.web.employee.steps import FORM_REFUSED, step_page, to_current_step


@journey_pages.route("/privacy", methods=["GET", "POST"])
@step_page(Step.PRIVACY)
def privacy(visit: Visit, request: EnrollmentRequest, facts: Facts) -> ResponseReturnValue:
    """The privacy notice, to be acknowledged."""
    form = AcknowledgeForm()
    if form.validate_on_submit():
        with transaction():
            progress.acknowledge_privacy(db_session, request.id, visits.walk(visit), clock.now())
        return to_current_step(visit)
    return render_template("employee/privacy.html", form=form), FORM_REFUSED if form.errors else 200
