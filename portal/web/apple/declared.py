"""Where a device fetches what a declaration refers to."""

import contextlib
import logging

from flask import Response
from flask.typing import ResponseReturnValue

from portal import clock
from portal.declarations import addresses
from portal.declarations.granted import PROFILE_TYPE
from portal.declarations.speaking import NothingThere, document
from portal.extensions import cases, current_portal, transaction
from portal.pki import cms
from portal.web.apple import blueprint

log = logging.getLogger("portal.mdm")


@blueprint.get("/mdm/declared/<reference>")
def declared(reference: str) -> ResponseReturnValue:
    """What a declaration refers to: a profile, signed, or an account's credentials. The address is the proof."""
    told, found = addresses.read(current_portal.vault, reference, clock.now()), None
    if told is not None:
        with transaction():
            case = cases().of_device(told.device_id)
            with contextlib.suppress(NothingThere):
                found = document(case, told) if case is not None else None
    if found is None:
        log.warning("declared.refused")
        return "nothing is declared there\n", 404, {"Content-Type": "text/plain; charset=utf-8"}
    content = found.content
    if found.media_type == PROFILE_TYPE:
        signer = current_portal.signer
        content = cms.sign(content, signer.key, signer.certificate, signer.intermediates)
    return Response(content, content_type=found.media_type, headers={"Cache-Control": "no-store"})
