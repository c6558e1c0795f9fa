"""SCEP over HTTP (RFC 8894 section 4)."""

import base64
import binascii
import logging
import re
import time
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, request
from flask.typing import ResponseReturnValue

from portal import clock, tallies
from portal.enrollment import certificates
from portal.enrollment.errors import ChallengeRefused
from portal.extensions import cases, current_portal, db_session, transaction
from portal.pki import scep as messages
from portal.pki.authority import Identity
from portal.pki.cms import CmsError
from portal.pki.scep import CertificateRequest
from portal.web.apple import blueprint

FAILURE_SECONDS = 0.03
"""No refusal is given sooner, so that its time does not tell how far the message was understood."""

log = logging.getLogger("portal.scep")


@blueprint.route("/scep", methods=["GET", "POST"])
def scep() -> ResponseReturnValue:
    """GetCACaps, GetCACert and PKIOperation; clients may put the message into the query even of a POST."""
    return serve(current_portal.authority.ca, _issue)


def serve(ca: Identity, issue: Callable[[CertificateRequest], x509.Certificate]) -> ResponseReturnValue:
    """SCEP of one authority; ``issue`` grants a request, or raises ChallengeRefused."""
    operation = request.args.get("operation", "")
    if operation == "GetCACaps":
        return _answer("\n".join(messages.CAPABILITIES).encode(), "text/plain")
    if operation == "GetCACert":
        return _answer(ca.certificate.public_bytes(Encoding.DER), "application/x-x509-ca-cert")
    if operation != "PKIOperation":
        return _refuse("unknown operation")
    message = _message()
    if message is None:
        return _refuse("no message")
    try:
        reply = _certificate_reply(message, ca, issue)
    except CmsError as error:
        return _refuse(str(error))
    return _answer(reply, "application/x-pki-message")


def _issue(wanted: CertificateRequest) -> x509.Certificate:
    """The identity of a device that enrolls. Raises ChallengeRefused."""
    case = cases().of_challenge(wanted.challenge, wanted.common_names)
    if case is None:
        raise unknown(wanted)
    return certificates.issue(case, current_portal.authority, wanted)


def unknown(wanted: CertificateRequest) -> ChallengeRefused:
    """A request that belongs to no enrollment: counted."""
    reason = wanted.problem.reason if wanted.problem else "unknown_challenge"
    tallies.add(db_session, tallies.SCEP_REFUSED + reason, clock.now())
    return ChallengeRefused(reason)


def _certificate_reply(body: bytes, ca: Identity, issue: Callable[[CertificateRequest], x509.Certificate]) -> bytes:
    """The CertRep for a PKIOperation, success or failure. Raises CmsError for what is no SCEP message."""
    began = time.monotonic()
    message = messages.read(body)
    wanted = messages.open_request(message, ca, current_portal.settings.scep.accept_legacy)
    try:
        with transaction():
            certificate = issue(wanted)
    except ChallengeRefused as refusal:
        log.warning("scep.refused reason=%s", refusal.reason)
        fail_info = wanted.problem.fail_info if wanted.problem else messages.FailInfo.BAD_REQUEST
        time.sleep(max(0.0, began + FAILURE_SECONDS - time.monotonic()))
        return messages.failure(message, fail_info, ca)
    return messages.success(message, certificate, ca)


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
