"""The employee's pages: one file for each step, named after what the person does.

There is one journey with two entrances. Its steps up to the terms (``journey_pages``) are served twice: in Safari under
``/enroll`` and, for the web view that Settings opens, under ``/apple/enroll``. Links, the profile and the finish page
(``safari_pages``) exist in Safari only; how the web view ends is in ``portal.web.apple.sign_in``.
"""

from flask import Flask, Response
from flask.typing import ResponseReturnValue

from portal.web import rules, security, web_sessions
from portal.web.employee.browsers import refuse_unfit_browser
from portal.web.rules import WEB_VIEW, Rules, declare, pages

journey_pages = pages("employee", __name__, Rules(judges_browser=True))
safari_pages = pages(
    "safari",
    __name__,
    Rules(judges_browser=True, any_browser=frozenset({"enter", "tell_browser", "ticket", "state"})),
)
declare(web_sessions.WEB_VIEW_PAGES, Rules(area=WEB_VIEW))  # opened by the device itself

from portal.web.employee import (  # noqa: E402  (the views register themselves on the blueprints)
    enter,
    finish,
    overview,
    ownership,
    passcode,
    privacy,
    profile,
    sign_in,
    steps,
    terms,
)

__all__ = [
    "enter",
    "finish",
    "init_app",
    "journey_pages",
    "overview",
    "ownership",
    "passcode",
    "privacy",
    "profile",
    "safari_pages",
    "sign_in",
    "steps",
    "terms",
]

DEVICE_SCHEME = "apple-remotemanagement-user-login:"


def init_app(app: Flask) -> None:
    """Serve the journey in Safari and in the web view of Settings."""
    app.jinja_env.globals["journey_page"] = steps.page
    app.jinja_env.filters["masked"] = steps.masked
    app.after_request(_suit_the_web_view)
    app.register_blueprint(safari_pages)
    app.register_blueprint(journey_pages, url_prefix="/enroll")
    app.register_blueprint(journey_pages, name=web_sessions.WEB_VIEW_PAGES, url_prefix="/apple/enroll")


@journey_pages.before_request
@safari_pages.before_request
def _judge_browser() -> ResponseReturnValue | None:
    """Only a browser that can go on walks the journey."""
    followed = rules.here()
    return refuse_unfit_browser() if followed.judges_browser and rules.view() not in followed.any_browser else None


def _suit_the_web_view(response: Response) -> Response:
    """In the web view of Settings an error status would end the enrollment: a page that can be corrected says 200 [?].

    Its last form leads to the device's own address, which the policy for forms has to let through.
    """
    if web_sessions.area() != WEB_VIEW:
        return response
    if response.status_code >= 400 and response.mimetype == "text/html":
        response.status_code = 200
    response.headers["Content-Security-Policy"] = security.content_security_policy(DEVICE_SCHEME)
    return response
