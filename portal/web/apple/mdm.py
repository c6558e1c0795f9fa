"""Check-in and connect of the embedded backend.

401 has two meanings. A profile-driven device takes it as "unenroll" and removes its profile: it gets one only for an
Authenticate that is refused (nothing is managed yet) and when its enrollment was ended on purpose. An account-driven
device takes it, with a challenge, as "your owner has to sign in again": it gets one only for a token that is not good,
and 403 with Apple's code to end the enrollment. Everything else that is wrong is 400, 403 or 503, for both.
"""

import logging
from collections.abc import Callable

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import clock
from portal.backends.embedded import checkin as checkins
from portal.backends.embedded import connect as connects
from portal.backends.embedded import identity
from portal.backends.messages import Desk
from portal.enrollment import access
from portal.enrollment.errors import DeviceRefused, TokenRefused
from portal.enrollment.journey import Way
from portal.enrollment.leaving import is_asked_to_leave
from portal.extensions import db_session, portal, transaction
from portal.models import AccessToken, Certificate, Device, IssuedProfile
from portal.plists import BadPlist, read
from portal.web.apple import blueprint, machine_info, provider_sign_in
from portal.web.apple.challenges import Handle, challenge
from portal.web.apple.enroll import bearer

UNENROLL = 401
UNENROLL_CODE = "com.apple.unrecognized.device"
"""In a 403: an account-driven device gives up its enrollment (iOS 17 and later; before it just stays refused)."""
ENDED = {"enrollment_ended", "request_ended", "certificate_revoked"}

log = logging.getLogger("portal.mdm")


@blueprint.put("/mdm/checkin")
def checkin() -> ResponseReturnValue:
    """Authenticate, TokenUpdate, CheckOut."""

    def take(fingerprint: str, message: dict[str, object]) -> bytes:
        checkins.handle(_desk(), fingerprint, message)
        return b""

    return _signed(take)


@blueprint.put("/mdm/connect")
def connect() -> ResponseReturnValue:
    """One report, the next command."""

    def take(fingerprint: str, message: dict[str, object]) -> bytes:
        return connects.handle(_desk(), fingerprint, message)

    return _signed(take)


def _desk() -> Desk:
    topic = portal.backend.management("").topic
    return Desk(db_session, portal.vault, portal.settings, topic, clock.now())


def _signed(take: Callable[[str, dict[str, object]], bytes]) -> ResponseReturnValue:
    if portal.backend.keeps_queue:  # the proxy should have sent the device to that backend
        return _refuse("devices are managed elsewhere", 503)
    body = request.get_data()
    message: dict[str, object] = {}
    profile: IssuedProfile | None = None
    try:
        # The signature first: nothing of an unsigned body is looked at.
        fingerprint = identity.signer_fingerprint(
            portal.authority, body, request.headers.get("Mdm-Signature"), clock.now()
        )
        message = read(body)
        provider_sign_in.welcome(fingerprint, bearer())
        with transaction():
            certificate = identity.certificate_of(db_session, fingerprint)
            profile = db_session.get_one(IssuedProfile, certificate.profile_id)
            token = _token(certificate, profile, message)
            answer = take(fingerprint, message)
            if token is not None:
                access.confirm(db_session, token, clock.now())
    except identity.NotIdentified as refusal:
        return _refuse(refusal.reason, 403)
    except BadPlist as problem:
        return _refuse(str(problem), 400)
    except checkins.NotOffered as problem:
        return _refuse(f"not offered: {problem}", 400)
    except TokenRefused as refusal:
        assert profile is not None
        log.warning("token.refused reason=%s", refusal.reason)
        return challenge(Handle(profile_id=profile.id), _ios_of(profile))
    except DeviceRefused as refusal:
        return _unenroll(refusal.reason, profile, message)
    return Response(answer, content_type="application/xml" if answer else "text/plain")


def _token(certificate: Certificate, profile: IssuedProfile, message: dict[str, object]) -> AccessToken | None:
    """The access token of an account-driven device.

    Leaving needs none, be it by itself or asked by IT, and an ended enrollment is told so instead.
    """
    leaving = message.get("MessageType") == "CheckOut" or certificate.revoked_at is not None
    leaving = leaving or is_asked_to_leave(db_session, profile.id)
    if profile.way != Way.ACCOUNT.value or leaving:
        return None
    rules = portal.settings.account_driven
    return access.check(db_session, bearer(), profile.id, profile.request_id, rules, clock.now())


def _ios_of(profile: IssuedProfile) -> int | None:
    """The first number of the iOS of the device with this profile, as it told at its Authenticate."""
    told = db_session.scalar(select(Device.os_version).where(Device.profile_id == profile.id))
    return machine_info.numbers(told)[0] if told else None


def _unenroll(reason: str, profile: IssuedProfile | None, message: dict[str, object]) -> ResponseReturnValue:
    for_good = reason in ENDED or message.get("MessageType") == "Authenticate"
    if profile is not None and profile.way == Way.ACCOUNT.value and for_good:
        log.warning("mdm.refused reason=%r status=403", reason)
        return jsonify(code=UNENROLL_CODE, description=reason), 403
    return _refuse(reason, UNENROLL if for_good else 403)


def _refuse(reason: str, status: int) -> ResponseReturnValue:
    log.warning("mdm.refused reason=%r status=%s", reason[:80], status)
    return reason + "\n", status, {"Content-Type": "text/plain; charset=utf-8"}
