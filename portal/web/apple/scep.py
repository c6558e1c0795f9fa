"""SCEP over HTTP (RFC 8894 section 4)."""

import base64
import binascii
import logging
import re

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, request
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import certificates
from portal.extensions import portal
from portal.pki import scep as messages
from portal.pki.cms import CmsError
from portal.web.apple import blueprint

log = logging.getLogger("portal.scep")


@blueprint.route("/scep", methods=["GET", "POST"])
def scep() -> ResponseReturnValue:
    """GetCACaps, GetCACert and PKIOperation; clients may put the message into the query even of a POST."""
    operation = request.args.get("operation", "")
    if operation == "GetCACaps":
        return _answer("\n".join(messages.CAPABILITIES).encode(), "text/plain")
    if operation == "GetCACert":
        certificate = portal.authority.ca.certificate
        return _answer(certificate.public_bytes(Encoding.DER), "application/x-x509-ca-cert")
    if operation != "PKIOperation":
        return _refuse("unknown operation")
    message = _message()
    if message is None:
        return _refuse("no message")
    try:
        reply = certificates.answer(portal.database, portal.authority, portal.settings, message, clock.now())
    except CmsError as error:
        return _refuse(str(error))
    return _answer(reply, "application/x-pki-message")


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
