"""Check-in and connect of the embedded backend.

A managed profile-driven device takes 401 as "unenroll" and removes the profile. So 401 is answered in two cases only:
an Authenticate that is refused (nothing is managed yet), and a device whose enrollment was ended on purpose.
Everything else that is wrong is 400, 403 or 503.
"""

import logging
from collections.abc import Callable

from flask import Response, request
from flask.typing import ResponseReturnValue

from portal import clock
from portal.backends.embedded import checkin as checkins
from portal.backends.embedded import connect as connects
from portal.backends.embedded import identity
from portal.backends.plists import BadPlist, read
from portal.enrollment.errors import DeviceRefused
from portal.extensions import db_session, portal, transaction
from portal.web.apple import blueprint

UNENROLL = 401
ENDED = {"enrollment_ended", "request_ended", "certificate_revoked"}

log = logging.getLogger("portal.mdm")


@blueprint.put("/mdm/checkin")
def checkin() -> ResponseReturnValue:
    """Authenticate, TokenUpdate, CheckOut."""

    def take(fingerprint: str, message: dict[str, object]) -> bytes:
        checkins.handle(db_session, portal.vault, portal.backend, fingerprint, message, clock.now())
        return b""

    return _signed(take)


@blueprint.put("/mdm/connect")
def connect() -> ResponseReturnValue:
    """One report, the next command."""

    def take(fingerprint: str, message: dict[str, object]) -> bytes:
        return connects.handle(db_session, fingerprint, message, clock.now())

    return _signed(take)


def _signed(take: Callable[[str, dict[str, object]], bytes]) -> ResponseReturnValue:
    body = request.get_data()
    message: dict[str, object] = {}
    try:
        # The signature first: nothing of an unsigned body is looked at.
        fingerprint = identity.signer_fingerprint(
            portal.authority, body, request.headers.get("Mdm-Signature"), clock.now()
        )
        message = read(body)
        with transaction():
            answer = take(fingerprint, message)
    except identity.NotIdentified as refusal:
        return _refuse(refusal.reason, 403)
    except BadPlist as problem:
        return _refuse(str(problem), 400)
    except checkins.NotOffered as problem:
        return _refuse(f"not offered: {problem}", 400)
    except DeviceRefused as refusal:
        unenroll = refusal.reason in ENDED or message.get("MessageType") == "Authenticate"
        return _refuse(refusal.reason, UNENROLL if unenroll else 403)
    return Response(answer, content_type="application/xml" if answer else "text/plain")


def _refuse(reason: str, status: int) -> ResponseReturnValue:
    log.warning("mdm.refused reason=%r status=%s", reason[:80], status)
    return reason + "\n", status, {"Content-Type": "text/plain; charset=utf-8"}
