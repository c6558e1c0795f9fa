"""What every step page needs: a signed-in browser, the request it walks, and that this step is its turn."""

from collections.abc import Callable
from functools import wraps

from flask import g, redirect, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import journey
from portal.enrollment.board import short_code
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
                return redirect(address_of(Step.SIGN_IN), 303)
            request, facts = request_of(visit)
            g.walker = visit.person.name
            g.short_code = short_code(request.id)
            if not journey.may_visit(step, facts, clock.now()):
                return redirect(address_of(journey.current_step(facts, clock.now())), 303)
            return view(visit, request, facts)

        return page

    return decorate


def request_of(visit: Visit) -> tuple[EnrollmentRequest, Facts]:
    """The request a browser walks, with its facts as they count for that browser."""
    if visit.request is None:
        raise LinkUnusable
    return visit.request, journey.of(visit.request, visits.walk(visit))


def to_current_step(visit: Visit) -> ResponseReturnValue:
    """Go on to whatever is next; a device that is managed already only needed its owner to sign in."""
    if visit.profile_id is not None:
        return redirect(address_of(Step.FINISH), 303)
    _, facts = request_of(visit)
    return redirect(address_of(journey.current_step(facts, clock.now())), 303)


def address_of(step: Step) -> str:
    """The page of a step, in Safari or in the web view of Settings, where profile and finish are one hand-over."""
    if step in (Step.PROFILE, Step.FINISH):
        return url_for("handover.hand_over" if visits.area() == visits.WEB_VIEW else f"safari.{step.value}")
    return page(step.value.replace("-", "_"))


def masked(address: str) -> str:
    """An e-mail address or account, enough of it to recognize one's own."""
    local, _, domain = address.rpartition("@")
    return f"{local[:2]}…\u2060@{domain}"  # a word joiner: no line break before the @


def page(name: str) -> str:
    """The address of a page of the journey, by the name of its view, on the side where the browser is."""
    side = visits.WEB_VIEW_PAGES if visits.area() == visits.WEB_VIEW else "employee"
    return url_for(f"{side}.{name}")
