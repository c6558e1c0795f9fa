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
from sqlalchemy import select

from portal import clock
from portal.backends.embedded import identity
from portal.enrollment import access
from portal.enrollment.errors import TokenRefused
from portal.enrollment.journey import Way
from portal.enrollment.leaving import is_asked_to_leave
from portal.extensions import db_session, portal, transaction
from portal.models import Certificate, Device, IssuedProfile
from portal.web.apple import blueprint, machine_info, provider_sign_in
from portal.web.apple.challenges import Handle, challenge
from portal.web.apple.enroll import bearer
from portal.web.apple.mdm import UNENROLL, UNENROLL_CODE

REFERENCE = "X-Enrollment-Reference"
"""Answer header: whose device it is by its certificate; the proxy puts it in the query, whatever the device says."""
REFUSAL = "X-Enrollment-Refusal"
"""Answer header of a 403: Apple's code that ends an account-driven enrollment."""
CHECKIN_TYPE = "application/x-apple-aspen-mdm-checkin"

log = logging.getLogger("portal.mdm")


@blueprint.get("/mdm/authorize")
def authorize() -> ResponseReturnValue:
    """May this device speak to the backend now?"""
    if not portal.backend.keeps_queue:
        abort(404)
    if (request.content_type or "").lower().startswith(CHECKIN_TYPE):
        return _refuse("check-ins have to go through /mdm/relay: bring the proxy's configuration up to date", 503)
    now = clock.now()
    try:
        fingerprint = identity.claimed_fingerprint(portal.authority, request.headers.get("Mdm-Signature"), now)
        provider_sign_in.welcome(fingerprint, bearer())
        with transaction():
            certificate = identity.certificate_of(db_session, fingerprint)
            profile = db_session.get_one(IssuedProfile, certificate.profile_id)
            device = db_session.scalar(select(Device).where(Device.profile_id == profile.id))
            if certificate.revoked_at is not None or (device is not None and device.ended_at is not None):
                return _unenroll(profile)
            if profile.way == Way.ACCOUNT.value and not is_asked_to_leave(db_session, profile.id):
                _check_token(certificate)
    except identity.NotIdentified as refusal:
        return _refuse(refusal.reason)
    except TokenRefused as refusal:
        log.warning("token.refused reason=%s", refusal.reason)
        ios = machine_info.numbers(device.os_version)[0] if device is not None and device.os_version else None
        return challenge(Handle(profile_id=profile.id), ios)
    return Response(status=204, headers={REFERENCE: profile.id})


def _check_token(certificate: Certificate) -> None:
    """Raises TokenRefused."""
    rules = portal.settings.account_driven
    token = access.check(db_session, bearer(), certificate.profile_id, certificate.request_id, rules, clock.now())
    access.confirm(db_session, token, clock.now())


def _unenroll(profile: IssuedProfile) -> ResponseReturnValue:
    if profile.way == Way.ACCOUNT.value:
        log.warning("mdm.refused reason='enrollment_ended' status=403")
        return Response(status=403, headers={REFUSAL: UNENROLL_CODE})
    log.warning("mdm.refused reason='enrollment_ended' status=401")
    return Response(status=UNENROLL)


def _refuse(reason: str, status: int = 403) -> ResponseReturnValue:
    log.warning("mdm.refused reason=%r status=%s", reason[:80], status)
    return Response(status=status)
