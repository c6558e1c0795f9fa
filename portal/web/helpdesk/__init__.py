"""Helpdesk: every request, where it stands, and what can be done about it."""

from flask import Blueprint, redirect, url_for
from flask.typing import ResponseReturnValue

from portal.web import visits

blueprint = Blueprint("helpdesk", __name__, url_prefix="/helpdesk")

from portal.web.helpdesk import campaign_pages, device_page, preview, request_list, request_page  # noqa: E402  (the views register)

__all__ = ["blueprint", "campaign_pages", "device_page", "preview", "request_list", "request_page"]


@blueprint.before_request
def staff_only() -> ResponseReturnValue | None:
    """Every page here is for signed-in staff."""
    if visits.current() is None:
        return redirect(url_for("staff.sign_in"), 303)
    return None
