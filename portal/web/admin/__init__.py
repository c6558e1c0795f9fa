"""Admin pages: how the portal is set up."""

from flask import Blueprint, abort, redirect, url_for
from flask.typing import ResponseReturnValue

from portal.web import visits

blueprint = Blueprint("admin", __name__, url_prefix="/admin")

from portal.web.admin import (  # noqa: E402  (the views register themselves on the blueprint)
    audit_trail,
    dashboard,
    device_management,
    discovery,
    people_pages,
    settings_pages,
    terms_page,
    tokens_page,
)

__all__ = [
    "audit_trail",
    "blueprint",
    "dashboard",
    "device_management",
    "discovery",
    "people_pages",
    "settings_pages",
    "terms_page",
    "tokens_page",
]


@blueprint.before_request
def admins_only() -> ResponseReturnValue | None:
    """Helpdesk and employees are refused; nobody signed in is asked to sign in."""
    visit = visits.current()
    if visit is None:
        return redirect(url_for("staff.sign_in"), 303)
    if visit.person.role != "admin":
        abort(403)
    return None
