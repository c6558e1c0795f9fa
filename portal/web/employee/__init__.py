"""The employee's pages: one file for each step, named after what the person does."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from portal.web.employee.browsers import refuse_unfit_browser

blueprint = Blueprint("employee", __name__)

from portal.web.employee import (  # noqa: E402  (the views register themselves on the blueprint)
    enter,
    finish,
    overview,
    ownership,
    passcode,
    privacy,
    profile,
    sign_in,
    terms,
)

__all__ = [
    "blueprint",
    "enter",
    "finish",
    "overview",
    "ownership",
    "passcode",
    "privacy",
    "profile",
    "sign_in",
    "terms",
]

ANY_BROWSER = {"employee.enter", "employee.ticket", "employee.state"}
"""Pages that judge the browser themselves or are fetched by something else than the page's browser."""


@blueprint.before_request
def judge_browser() -> ResponseReturnValue | None:
    """Only a browser that can install the profile walks the journey."""
    return None if request.endpoint in ANY_BROWSER else refuse_unfit_browser()
