"""Step 2: whose phone is it."""

from flask import render_template
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import progress
from portal.enrollment.journey import Facts, Step
from portal.extensions import db_session, portal, transaction
from portal.models import EnrollmentRequest, Visit
from portal.web import visits
from portal.web.employee import journey_pages
from portal.web.employee.forms import OwnershipForm
from portal.web.employee.steps import FORM_REFUSED, step_page, to_current_step


@journey_pages.route("/ownership", methods=["GET", "POST"])
@step_page(Step.OWNERSHIP)
def ownership(visit: Visit, request: EnrollmentRequest, facts: Facts) -> ResponseReturnValue:
    """Employee goes on; Corporate gets a page that says who to ask, and a way back."""
    form = OwnershipForm()
    offered = portal.settings.enrollment.offer_corporate
    if form.validate_on_submit() and (offered or form.ownership.data == "employee"):
        with transaction():
            progress.choose_ownership(db_session, request.id, visits.walk(visit), form.ownership.data, clock.now())
        return to_current_step(visit)
    status = FORM_REFUSED if form.errors else 200
    name = "corporate" if facts.ownership == "corporate" and not form.errors else "ownership"
    return render_template(f"employee/{name}.html", form=form, offer_corporate=offered), status
