"""What helpdesk sees of one request, as plain values for commands and programs."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.enrollment import journey
from portal.models import Device, EnrollmentRequest
from portal.storage import apps, policies


def of_request(session: Session, request: EnrollmentRequest, now: datetime) -> dict[str, Any]:
    """``{"id","status","step","employee","events":[{"at","kind","reason"}],"device":{...} or None}``, times in ISO."""
    facts = journey.of(request)
    newest = select(Device).where(Device.request_id == request.id).order_by(Device.authenticated_at.desc())
    return {
        "id": request.id,
        "status": journey.status(facts, now).value,
        "step": journey.current_step(facts, now).value,
        "employee": request.person.username,
        "events": [
            {"at": event.at.isoformat(), "kind": event.kind, "reason": event.reason}
            for event in audit.timeline(session, request.id)
        ],
        "device": of_device(session, session.scalar(newest.limit(1))),
    }


def of_device(session: Session, device: Device | None) -> dict[str, Any] | None:
    """The little that is known of a device."""
    if device is None:
        return None
    return {
        "id": device.id,
        "enrollment_id": device.enrollment_id,
        "way": device.way,
        "server": device.server,
        "product_name": device.product_name,
        "os_version": device.os_version,
        "build_version": device.build_version,
        "enrolled_at": device.enrolled_at and device.enrolled_at.isoformat(),
        "last_seen_at": device.last_seen_at.isoformat(),
        "ended_at": device.ended_at and device.ended_at.isoformat(),
        "end_reason": device.end_reason,
        "attributes": device.attributes,
        "profiles": device.profiles,
        "apps": device.apps,
        "certificates": device.certificates,
        "policies": {name: each.state for name, each in policies.on_device(session, device.id)},
        "work_apps": {app.name: each.state for app, each in apps.on_device(session, device.id)},
        "leaving_reason": device.leaving_reason,
    }
