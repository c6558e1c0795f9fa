"""Numbers for monitoring, in Prometheus' text format; counts only, nobody's name, no token.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator
from datetime import datetime

from flask import Response
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from portal import clock, tallies
from portal.enrollment import commands, journey
from portal.extensions import current_portal, db_session
from portal.models import BackendEvent, Command, Device, EnrollmentRequest, IssuedProfile, OutboxMessage
from portal.pki import uploads
from portal.policies.outcome import State
from portal.storage import brake, policies, states
from portal.web import operations
from portal.web.api import blueprint, caller


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Gauges of what is in the portal now."""
    caller("metrics")
    now = clock.now()
    status = (
        select(states.status_expression(now).label("status"))
        .select_from(EnrollmentRequest)
        .outerjoin(IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id)
        .subquery()
    )
    counts = {
        row[0]: row[1] for row in db_session.execute(select(status.c.status, func.count()).group_by(status.c.status))
    }
    lines = ["# HELP portal_requests Enrollment requests by status.", "# TYPE portal_requests gauge"]
    lines += [f'portal_requests{{status="{each.value}"}} {counts.get(each.value, 0)}' for each in journey.Status]
    for name, (says, value) in _gauges(now).items():
        lines += [f"# HELP {name} {says}", f"# TYPE {name} gauge", f"{name} {value:g}"]
    if current_portal.gives_policies:
        lines += _policies()
    lines += [
        "# HELP portal_scep_refused_total Refused requests for certificates that belong to no enrollment request."
    ]
    lines += ["# TYPE portal_scep_refused_total counter"]
    refused = tallies.of(db_session, tallies.SCEP_REFUSED)
    lines += [f'portal_scep_refused_total{{reason="{reason}"}} {each.count}' for reason, each in refused.items()]
    return Response("\n".join(lines) + "\n", mimetype="text/plain; version=0.0.4")


def _policies() -> Iterator[str]:
    """On how many managed devices each policy is in which state."""
    yield "# HELP portal_policy_devices Managed devices by policy and what became of it there."
    yield "# TYPE portal_policy_devices gauge"
    counts = policies.counts(db_session)
    for policy in policies.living(db_session):
        name = policy.name.replace("\\", "\\\\").replace('"', '\\"')  # it has no line breaks
        for state in State:
            count = counts.get(policy.id, {}).get(state.value, 0)
            yield f'portal_policy_devices{{policy="{name}",state="{state.value}"}} {count}'


def _gauges(now: datetime) -> dict[str, tuple[str, float]]:
    """What is in the portal now, by the gauge's name: what it says, and its value."""
    waiting = (OutboxMessage.sent_at.is_(None), OutboxMessage.failed_at.is_(None))
    oldest = db_session.scalar(select(func.min(OutboxMessage.created_at)).where(*waiting))
    is_open = Command.status.in_(commands.OPEN)
    return {
        "portal_devices_managed": ("Devices under management.", _count(Device, Device.is_managed)),
        "portal_commands_open": (
            "Commands that no device answered yet.",
            _count(Command, is_open),
        ),
        "portal_mail_waiting": ("Messages that are not delivered yet.", _count(OutboxMessage, *waiting)),
        "portal_mail_oldest_seconds": ("Age of the oldest of them.", (now - oldest).total_seconds() if oldest else 0),
        "portal_mail_failed": ("Messages given up.", _count(OutboxMessage, OutboxMessage.failed_at.is_not(None))),
        "portal_removals_held": (
            "Devices whose removal of work data waits for two admins.",
            brake.waiting(db_session).count,
        ),
        "portal_backend_ready": (
            "Whether device management can take devices.",
            int(current_portal.backend.health().ready),
        ),
        "portal_commands_waiting": (
            "Commands that were not handed over to device management yet.",
            _count(Command, Command.is_waiting),
        ),
        "portal_backend_events_waiting": (
            "Messages of device management that were not taken up yet.",
            _count(BackendEvent, BackendEvent.done_at.is_(None)),
        ),
        "portal_handovers_waiting": (
            "People handed over to another server whose device did not come yet.",
            _count(
                IssuedProfile,
                IssuedProfile.server.is_not(None),
                IssuedProfile.superseded_at.is_(None),
                IssuedProfile.authenticated_at.is_(None),
                IssuedProfile.expires_at > now,
            ),
        ),
        "portal_push_certificate_days_left": (
            "Days until Apple's push certificate expires; -1 without one.",
            (uploads.valid_until(push) - now).days if (push := current_portal.settings.mdm.push_identity) else -1,
        ),
        "portal_signer_days_left": (
            "Days until the certificate that signs profiles expires; -1 if it cannot be read.",
            -1 if (left := operations.signer_days(now)) is None else left,
        ),
    }


def _count(table: type, *conditions: object) -> int:
    return db_session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0  # type: ignore[arg-type]
