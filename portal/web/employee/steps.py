"""What every step page needs: a signed-in browser, the request it walks, and that this step is its turn."""

from collections.abc import Callable
from functools import wraps

from flask import g, redirect, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import journey
from portal.enrollment.errors import LinkUnusable
from portal.enrollment.journey import Facts, Step
from portal.models import EnrollmentRequest, Visit
from portal.web import visits

StepView = Callable[[Visit, EnrollmentRequest, Facts], ResponseReturnValue]
FORM_REFUSED = 422
"""Status of a page shown again because of what was entered."""


def step_page(step: Step) -> Callable[[StepView], Callable[[], ResponseReturnValue]]:
    """Give the view its visit, request and facts; anyone else is sent to sign in or to the current step."""

    def decorate(view: StepView) -> Callable[[], ResponseReturnValue]:
        @wraps(view)
        def page() -> ResponseReturnValue:
            visit = visits.current()
            if visit is None or visit.request_id is None:
                return redirect(url_for("employee.sign_in"), 303)
            request, facts = request_of(visit)
            g.walker = visit.person.name
            if not journey.may_visit(step, facts, clock.now()):
                return redirect(address_of(journey.current_step(facts, clock.now())), 303)
            return view(visit, request, facts)

        return page

    return decorate


def request_of(visit: Visit) -> tuple[EnrollmentRequest, Facts]:
    """The request a browser walks, with its facts as they count for that browser."""
    if visit.request is None:
        raise LinkUnusable
    return visit.request, journey.of(visit.request, visit.id)


def to_current_step(visit: Visit) -> ResponseReturnValue:
    """Go on to whatever is next."""
    _, facts = request_of(visit)
    return redirect(address_of(journey.current_step(facts, clock.now())), 303)


def address_of(step: Step) -> str:
    """The page of a step."""
    return url_for("employee." + step.value.replace("-", "_"))
