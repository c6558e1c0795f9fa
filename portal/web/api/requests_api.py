"""Inviting somebody, and reading how far they are."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment.invitations import Asker
from portal.extensions import cases, current_portal, db_session
from portal.lifecycle import inviting
from portal.lifecycle.inviting import NotInvited
from portal.models import LONGEST_USERNAME, EnrollmentRequest
from portal.storage import reports
from portal.web.api import blueprint, caller, refuse
from portal.web.limits import json_object

UNKNOWN = "unknown_person"
ANSWERS = {
    UNKNOWN: ("Nobody who may enroll is known by that username.", 404),
    "no_managed_apple_account": ("This person has no Managed Apple Account.", 409),
    "open_request": ("This person has an open request already.", 409),
    "too_many_devices": ("This person has as many managed devices as one may have.", 409),
    "directory_unavailable": ("The directory is out of reach; try again.", 503),
}
"""What the API says, and with which status, where a page shows the words for a code; to others it is ``UNKNOWN``."""


@blueprint.post("/api/requests")
def create_request() -> ResponseReturnValue:
    """``{"username"}``: 201 with ``{"id","expires_at"}``. Link and passcode go to the person by mail alone."""
    token = caller("requests")
    body = json_object()
    username = body.get("username") if body is not None else None
    if not isinstance(username, str) or not username.strip() or len(username) > LONGEST_USERNAME or "\0" in username:
        return refuse("bad_request", 'Send {"username": "..."} as JSON.', 400)
    try:
        by = Asker(f"token:{token.id}", current_portal.settings.company.name)
        made = inviting.by_username(cases(), current_portal, username, "command", by)
    except NotInvited as refusal:
        code = refusal.code if refusal.code in ANSWERS else UNKNOWN
        return refuse(code, *ANSWERS[code])
    return jsonify(id=made.request.id, expires_at=made.request.expires_at.isoformat()), 201


@blueprint.get("/api/requests/<request_id>")
def read_request(request_id: str) -> ResponseReturnValue:
    """What helpdesk sees, as ``flask status --json`` prints it."""
    caller("requests")
    found = db_session.get(EnrollmentRequest, request_id)
    if found is None:
        return refuse("not_found", "There is no such request.", 404)
    return jsonify(reports.of_request(db_session, found, clock.now()))
