"""SCEP over HTTP (RFC 8894 section 4)."""

import base64
import binascii
import logging
import re
import time

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, request
from flask.typing import ResponseReturnValue

from portal import clock, tallies
from portal.enrollment import certificates
from portal.enrollment.errors import ChallengeRefused
from portal.extensions import cases, current_portal, db_session, transaction
from portal.pki import scep as messages
from portal.pki.cms import CmsError
from portal.web.apple import blueprint

FAILURE_SECONDS = 0.03
"""No refusal is given sooner, so that its time does not tell how far the message was understood."""

log = logging.getLogger("portal.scep")


@blueprint.route("/scep", methods=["GET", "POST"])
def scep() -> ResponseReturnValue:
    """GetCACaps, GetCACert and PKIOperation; clients may put the message into the query even of a POST."""
    operation = request.args.get("operation", "")
    if operation == "GetCACaps":
        return _answer("\n".join(messages.CAPABILITIES).encode(), "text/plain")
    if operation == "GetCACert":
        certificate = current_portal.authority.ca.certificate
        return _answer(certificate.public_bytes(Encoding.DER), "application/x-x509-ca-cert")
    if operation != "PKIOperation":
        return _refuse("unknown operation")
    message = _message()
    if message is None:
        return _refuse("no message")
    try:
        reply = _certificate_reply(message)
    except CmsError as error:
        return _refuse(str(error))
    return _answer(reply, "application/x-pki-message")


def _certificate_reply(body: bytes) -> bytes:
    """The CertRep for a PKIOperation, success or failure. Raises CmsError for what is no SCEP message."""
    began = time.monotonic()
    message = messages.read(body)
    wanted = messages.open_request(message, current_portal.authority.ca, current_portal.settings.scep.accept_legacy)
    try:
        with transaction():
            case = cases().of_challenge(wanted.challenge, wanted.common_names)
            if case is None:
                reason = wanted.problem.reason if wanted.problem else "unknown_challenge"
                tallies.add(db_session, tallies.SCEP_REFUSED + reason, clock.now())
                raise ChallengeRefused(reason)
            certificate = certificates.issue(case, current_portal.authority, wanted)
    except ChallengeRefused as refusal:
        log.warning("scep.refused reason=%s", refusal.reason)
        fail_info = wanted.problem.fail_info if wanted.problem else messages.FailInfo.BAD_REQUEST
        time.sleep(max(0.0, began + FAILURE_SECONDS - time.monotonic()))
        return messages.failure(message, fail_info, current_portal.authority.ca)
    return messages.success(message, certificate, current_portal.authority.ca)


def _message() -> bytes | None:
    body = request.get_data()
    if request.method == "POST" and body:
        return body
    # Clients differ: an unescaped + arrives as a space, lines are broken, the alphabet is that for addresses, unpadded.
    encoded = re.sub(r"[\r\n\t]", "", request.args.get("message", "")).replace(" ", "+")
    encoded = encoded.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _answer(body: bytes, content_type: str) -> Response:
    return Response(body, content_type=content_type)


def _refuse(reason: str) -> ResponseReturnValue:
    log.warning("scep.malformed reason=%s", reason)
    return reason + "\n", 400, {"Content-Type": "text/plain; charset=utf-8"}
