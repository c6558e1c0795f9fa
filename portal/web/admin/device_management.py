"""How device management is doing: the backend, its push certificate, what waits, and messages that belong to nobody.

And the two things on a device that only admins do: installing and removing profiles.
"""

import json
from typing import Any

from cryptography import x509
from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from portal import clock, tallies
from portal.backends import topic_in_use
from portal.backends.nanomdm import events
from portal.backends.reconciling import CERTIFICATE_STATE
from portal.enrollment import allowed, management
from portal.enrollment.errors import CommandForbidden, DeviceGone, ProfileUnknown
from portal.extensions import current_portal, db_session, transaction
from portal.models import BackendEvent, Command, Device, PortalState
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.helpdesk.device_page import NOTICE, locked
from portal.web.rules import must_be_ours

SHOWN = 100


@blueprint.get("/device-management")
def device_management() -> ResponseReturnValue:
    """The backend, the push certificate, the queue, the messages of unknown devices."""
    waiting = select(func.count(Command.id), func.min(Command.created_at)).where(Command.is_waiting)
    managed = select(func.count(Device.id)).where(Device.is_managed)
    count, oldest = db_session.execute(waiting).one()
    kept = select(BackendEvent).where(events.kept()).order_by(BackendEvent.id.desc()).limit(SHOWN)
    return render_template(
        "admin/device_management.html",
        backend=current_portal.backend.name,
        elsewhere=current_portal.backend.elsewhere,
        does=current_portal.backend.does,
        health=current_portal.backend.health(),
        topic=topic_in_use(current_portal.settings, current_portal.database),
        push=push_certificate(),
        given=_given(),
        managed=db_session.scalar(managed),
        waiting=count,
        oldest=oldest,
        kept=list(db_session.scalars(kept)),
        refused=tallies.of(db_session, tallies.SCEP_REFUSED),
        now=clock.now(),
    )


def push_certificate() -> x509.Certificate | None:
    """Apple's push certificate that an admin uploaded."""
    pem = current_portal.settings.mdm.push_identity
    return x509.load_pem_x509_certificates(pem.encode())[0] if pem else None


def _given() -> dict[str, Any]:
    """What the backend said of the push certificate: ``at``, ``problem``."""
    state = db_session.get(PortalState, CERTIFICATE_STATE)
    return dict(json.loads(state.value)) if state is not None and state.value else {}


@blueprint.post("/devices/<device_id>/install-profile")
def install_profile(device_id: str) -> ResponseReturnValue:
    """An uploaded .mobileconfig, signed or not."""
    must_be_ours()
    upload = request.files.get("profile")
    content = upload.stream.read(allowed.LARGEST_PROFILE + 1) if upload is not None else b""
    try:
        with transaction():
            management.install_profile(locked(device_id), content, web_sessions.actor_here())
        session[NOTICE] = "install"
    except CommandForbidden as refusal:
        session[NOTICE] = f"forbidden {refusal.reason} {', '.join(refusal.parts)}"[:300]
    except DeviceGone:
        session[NOTICE] = "gone"
    return _back(device_id)


@blueprint.post("/devices/<device_id>/remove-profile")
def remove_profile(device_id: str) -> ResponseReturnValue:
    """A profile that IT installed, by its identifier."""
    must_be_ours()
    try:
        with transaction():
            identifier = request.form.get("identifier", "")
            management.remove_profile(locked(device_id), identifier, web_sessions.actor_here())
        session[NOTICE] = "removal"
    except ProfileUnknown:
        session[NOTICE] = "no_profile"
    except DeviceGone:
        session[NOTICE] = "gone"
    return _back(device_id)


def _back(device_id: str) -> ResponseReturnValue:
    if db_session.get(Device, device_id) is None:
        abort(404)
    return redirect(url_for("helpdesk.device_page", device_id=device_id), 303)
