"""What a proxy in front of a delegated backend asks about each request of a device (nginx: ``auth_request``).

The backend checks that a message is signed; it knows neither tokens nor who left. So the proxy asks here first about
each connection (check-ins it sends through ``/mdm/relay`` instead, since what they say decides who speaks), with the
headers of the device's request and without its body: 204 lets it pass, 401 and 403 mean to the device what they
mean from the embedded backend (see ``mdm.py``), anything else is an outage. The certificate is read from
``Mdm-Signature``; that it signed the body is for the backend to verify, so a yes is worth nothing to whoever only knows
a certificate.
"""

import logging

from flask import Response, abort, request
from flask.typing import ResponseReturnValue

from portal import clock
from portal.backends.embedded import identity
from portal.enrollment import access
from portal.enrollment.case import Case
from portal.enrollment.errors import TokenRefused
from portal.extensions import current_portal, transaction
from portal.web.apple import blueprint, provider_sign_in
from portal.web.apple.mdm import (
    CHECKIN_TYPE,
    UNENROLL,
    UNENROLL_CODE,
    sign_in_again,
    speaking,
    token_shown,
    unenrolls_by,
)
from portal.web.rules import bearer

REFERENCE = "X-Enrollment-Reference"
"""Answer header: whose device it is by its certificate; the proxy puts it in the query, whatever the device says."""
REFUSAL = "X-Enrollment-Refusal"
"""Answer header of a 403: Apple's code that ends an account-driven enrollment."""

log = logging.getLogger("portal.mdm")


@blueprint.get("/mdm/authorize")
def authorize() -> ResponseReturnValue:
    """May this device speak to the backend now?"""
    if not current_portal.backend.keeps_queue or current_portal.backend.elsewhere is not None:
        abort(404)
    if (request.content_type or "").lower().startswith(CHECKIN_TYPE):
        return _refuse("check-ins have to go through /mdm/relay: bring the proxy's configuration up to date", 503)
    case: Case | None = None
    try:
        shown = request.headers.get("Mdm-Signature")
        fingerprint = identity.claimed_fingerprint(current_portal.authority, shown, clock.now())
        if (presented := bearer()) is not None:
            provider_sign_in.welcome(fingerprint, presented)
        with transaction():
            case = speaking(fingerprint)
            assert case.profile is not None
            if identity.is_over(case):
                return _unenroll(case)
            token = token_shown(case)
            if token is not None:
                access.confirm(case, token)
            return Response(status=204, headers={REFERENCE: case.profile.id})
    except identity.NotIdentified as refusal:
        return _refuse(refusal.reason)
    except TokenRefused as refusal:
        assert case is not None
        return sign_in_again(case, refusal.reason)


def _unenroll(case: Case) -> ResponseReturnValue:
    status = unenrolls_by(case)
    log.warning("mdm.refused reason='enrollment_ended' status=%s", status)
    return Response(status=status, headers={REFUSAL: UNENROLL_CODE} if status != UNENROLL else None)


def _refuse(reason: str, status: int = 403) -> ResponseReturnValue:
    log.warning("mdm.refused reason=%r status=%s", reason[:80], status)
    return Response(status=status)
