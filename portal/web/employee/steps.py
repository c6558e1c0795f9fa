"""What every step page needs: a signed-in browser, the request it walks, and that this step is its turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps

from flask import g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.enrollment import journey
from portal.enrollment.case import Case
from portal.enrollment.errors import LinkUnusable
from portal.enrollment.journey import Step, short_code
from portal.extensions import cases, transaction
from portal.models import WebSession
from portal.web import web_sessions
from portal.web.rules import WEB_VIEW

FORM_REFUSED = 422
"""Status of a page shown again because of what was entered."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a step shows. It is drawn when what was decided is kept: a page that fails takes no counted try back."""

    template: str
    facts: Mapping[str, object]
    status: int = 200

    def draw(self) -> ResponseReturnValue:
        """The answer."""
        return self.html(), self.status

    def html(self, **more: object) -> str:
        """The page alone."""
        return render_template(f"employee/{self.template}.html", **self.facts, **more)


StepView = Callable[[WebSession, Case], Page | ResponseReturnValue]


def step_page(step: Step) -> Callable[[StepView], Callable[[], ResponseReturnValue]]:
    """Give the view its session and case; anyone else is sent to sign in or to the current step.

    A form is taken in one transaction, with the case locked; a page is drawn after it.
    """

    def decorate(view: StepView) -> Callable[[], ResponseReturnValue]:
        def take(locked: bool) -> Page | ResponseReturnValue:
            web_session = web_sessions.current()
            if web_session is None or web_session.request_id is None:
                return redirect(address_of(Step.SIGN_IN), 303)
            case = case_of(web_session, locked)
            g.walker = web_session.person.name
            g.short_code = short_code(case.request.id)
            if not journey.may_visit(step, case.facts, case.now):
                return redirect(address_of(case.step), 303)
            return view(web_session, case)

        @wraps(view)
        def page() -> ResponseReturnValue:
            if request.method == "POST" and web_sessions.carries_token():  # nobody waits in the line of those who write
                with transaction():
                    answer = take(locked=True)
            else:
                answer = take(locked=False)
            return answer.draw() if isinstance(answer, Page) else answer

        return page

    return decorate


def case_of(web_session: WebSession, locked: bool = False) -> Case:
    """The case of the request that a browser walks, as it counts for that browser. Raises LinkUnusable."""
    if web_session.request is None:
        raise LinkUnusable
    if locked:
        return cases().lock(web_session.request.id, web_sessions.signed_in_browser(web_session))
    return cases().view(web_session.request, web_sessions.signed_in_browser(web_session))


def to_current_step(web_session: WebSession) -> ResponseReturnValue:
    """Go on to whatever is next; a device that is managed already only needed its owner to sign in."""
    if web_session.profile_id is not None:
        return redirect(address_of(Step.FINISH), 303)
    return redirect(address_of(case_of(web_session).step), 303)


def address_of(step: Step) -> str:
    """The page of a step, in Safari or in the web view of Settings, where profile and finish are one hand-over."""
    if step in (Step.PROFILE, Step.FINISH):
        return url_for("handover.hand_over" if web_sessions.area() == WEB_VIEW else f"safari.{step.value}")
    return page(step.value.replace("-", "_"))


def masked(address: str) -> str:
    """An e-mail address or account, enough of it to recognize one's own."""
    local, _, domain = address.rpartition("@")
    return f"{local[:2]}…\u2060@{domain}"  # a word joiner: no line break before the @


def page(name: str) -> str:
    """The address of a page of the journey, by the name of its view, on the side where the browser is."""
    side = web_sessions.WEB_VIEW_PAGES if web_sessions.area() == WEB_VIEW else "employee"
    return url_for(f"{side}.{name}")
