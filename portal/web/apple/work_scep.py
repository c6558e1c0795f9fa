"""The authority for work identities: SCEP by the challenge in a policy's profile, its certificate, who is revoked."""

import hashlib
import logging

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, abort
from flask.typing import ResponseReturnValue

from portal import clock
from portal.declarations import addresses, speaking
from portal.enrollment.errors import ChallengeRefused
from portal.events import Event
from portal.extensions import cases, current_portal, db_session
from portal.pki import work_authority
from portal.pki.authority import Identity
from portal.pki.scep import CertificateRequest
from portal.policies import own_authority
from portal.storage import work_certificates
from portal.web.apple import blueprint
from portal.web.apple.scep import serve, unknown

MOST_A_DAY = 20
"""Identities for one part of a policy that a device gets."""

log = logging.getLogger("portal.scep")


@blueprint.route(own_authority.PATH, methods=["GET", "POST"])
def work_scep() -> ResponseReturnValue:
    """SCEP for a profile that a policy put on a device."""
    return serve(_authority(), _issue)


@blueprint.get(own_authority.LIST_PATH)
def work_revocations() -> ResponseReturnValue:
    """Who is revoked, for a RADIUS server or a VPN gateway (RFC 5280)."""
    _, content = current_portal.work_revocations.get(_revocations)
    return Response(content, content_type="application/pkix-crl", headers={"Cache-Control": "max-age=600"})


def _revocations() -> tuple[object, bytes]:
    """What the list is made of now, and the list: the last one, if that is the same."""
    ca, now, last = _authority(), clock.now(), current_portal.work_revocations.last
    stamp = work_certificates.stamp(db_session, now)
    if last is not None and last[0] == stamp:
        return last
    revoked = work_certificates.revoked(db_session, now)
    return stamp, work_authority.revocation_list(ca, revoked, int(now.timestamp()), now)


@blueprint.get(own_authority.CERTIFICATE_PATH)
def work_ca() -> ResponseReturnValue:
    """The certificate to trust there."""
    content = _authority().certificate.public_bytes(Encoding.DER)
    return Response(content, content_type="application/pkix-cert")


def _authority() -> Identity:
    found = work_authority.load(db_session, current_portal.vault)
    if found is None:
        abort(404)
    return found


def _issue(wanted: CertificateRequest) -> x509.Certificate:
    """An identity for the device and part that the challenge names; the same again for the same request.

    The subject is that of the part, never that of the request. Raises ChallengeRefused.
    """
    now = clock.now()
    reference = addresses.read(current_portal.vault, wanted.challenge, now)
    if reference is None or wanted.problem is not None or wanted.public_key is None:
        raise unknown(wanted)
    case = cases().of_device(reference.device_id)
    part = speaking.identity_part(case, reference) if case is not None else None
    if case is None or part is None:
        raise unknown(wanted)
    used = work_certificates.of_challenge(db_session, wanted.challenge)
    if used is not None:
        if used.csr_sha256 != hashlib.sha256(wanted.csr_der).hexdigest():
            raise ChallengeRefused("challenge_used")
        return x509.load_der_x509_certificate(used.der)
    if work_certificates.issued_lately(db_session, reference.device_id, part.uuid, now) >= MOST_A_DAY:
        raise ChallengeRefused("too_many")
    list_url = current_portal.settings.url(own_authority.LIST_PATH)
    try:
        names = own_authority.names(part.values)
        made = work_authority.issue(_authority(), wanted.public_key, names, list_url, own_authority.VALID_DAYS, now)
    except ValueError as error:  # a name that no certificate can hold, as long or written as it is
        log.warning("work_identity.refused error=%s", type(error).__name__)
        raise ChallengeRefused("subject") from None
    work_certificates.keep(db_session, reference.device_id, part.uuid, wanted.challenge, wanted.csr_der, made, now)
    case.record(Event.WORK_IDENTITY, detail={"serial": f"{made.serial_number:x}"})
    return made
