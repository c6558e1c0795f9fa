"""Inviting somebody, and reading how far they are."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from portal import clock
from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.enrollment import reports, requests
from portal.enrollment.errors import NoManagedAppleAccount, TooManyDevices, UnknownPerson
from portal.extensions import db_session, portal, transaction
from portal.models import EnrollmentRequest, Person
from portal.web.api import blueprint, caller, refuse
from portal.web.limits import json_object


@blueprint.post("/api/requests")
def create_request() -> ResponseReturnValue:
    """``{"username"}``: 201 with ``{"id","expires_at"}``. Link and passcode go to the person by mail alone."""
    token = caller("requests")
    body = json_object()
    username = body.get("username") if body is not None else None
    if not isinstance(username, str) or not username.strip() or len(username) > 128 or "\0" in username:
        return refuse("bad_request", 'Send {"username": "..."} as JSON.', 400)
    try:
        person = corporate.look_up(portal.database, portal.sources, portal.settings, username, clock.now())
        if person is None:
            raise UnknownPerson
        with transaction():
            made = requests.create(
                db_session,
                portal.vault,
                portal.settings,
                db_session.get_one(Person, person.id),
                "command",
                clock.now(),
                asked_by=portal.settings.company.name,
                actor=f"token:{token.id}",
            )
    except (UnknownPerson, AccountProblem):
        return refuse("unknown_person", "Nobody who may enroll is known by that username.", 404)
    except NoManagedAppleAccount:
        return refuse("no_managed_apple_account", "This person has no Managed Apple Account.", 409)
    except TooManyDevices:
        return refuse("too_many_devices", "This person has as many managed devices as one may have.", 409)
    except SourceUnavailable:
        return refuse("directory_unavailable", "The directory is out of reach; try again.", 503)
    return jsonify(id=made.request.id, expires_at=made.request.expires_at.isoformat()), 201


@blueprint.get("/api/requests/<request_id>")
def read_request(request_id: str) -> ResponseReturnValue:
    """What helpdesk sees, as ``flask status --json`` prints it."""
    caller("requests")
    found = db_session.get(EnrollmentRequest, request_id)
    if found is None:
        return refuse("not_found", "There is no such request.", 404)
    return jsonify(reports.of_request(db_session, found, clock.now()))
