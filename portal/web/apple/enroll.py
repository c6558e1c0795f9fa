"""Where Settings posts: first to learn where to sign in, then with the access token to fetch the profile."""

import logging

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from portal.credentials.throttle import Throttled
from portal.enrollment import access, steps
from portal.enrollment import profile as profiles
from portal.enrollment.errors import TokenRefused
from portal.extensions import cases, current_portal, transaction
from portal.pki.cms import CmsError
from portal.plists import BadPlist
from portal.web.apple import blueprint, machine_info, provider_sign_in
from portal.web.apple.challenges import Handle, challenge
from portal.web.apple.machine_info import MachineInfo, UnknownDevice
from portal.web.rules import bearer

log = logging.getLogger("portal.enroll")


@blueprint.post("/apple/enroll")
def enroll() -> ResponseReturnValue:
    """401 with the way to sign in; with a good token the profile. A token that is not good gets a new challenge."""
    rules = current_portal.settings.account_driven
    try:
        info = machine_info.read_signed(request.get_data(), rules.device_roots)
    except (CmsError, BadPlist) as problem:
        return _refuse(str(problem), 400)
    except UnknownDevice:
        return _refuse("not signed by a device that Apple made", 403)
    if not info.fits:
        return _refuse("only iPhone and iPad can enroll here", 403)
    if info.older_than(rules.minimum_ios):
        return _too_old(info, rules.minimum_ios)
    token, ios = bearer(), info.ios[0]
    if token is None:
        return challenge(Handle(machine=info), ios)
    try:
        chosen = provider_sign_in.provider()
        if chosen is not None and not cases().knows_token(token):
            provider_sign_in.first_profile(chosen, token)
        with transaction():
            found = cases().of_token(token)
            if found is None:
                raise TokenRefused("unknown_token")
            profile_id, content = access.fetch(*found)
            steps.profile_downloaded(found[0], profile_id)
    except TokenRefused as refusal:
        log.warning("token.refused reason=%s", refusal.reason)
        return challenge(Handle(machine=info), ios)
    except Throttled:
        return _refuse("too many tokens that the provider does not know", 429)
    except provider_sign_in.NotAnswered:
        return _refuse("open the link in the e-mail first and answer what it asks", 403)
    response = Response(content, content_type=profiles.MEDIA_TYPE)
    response.headers["Content-Disposition"] = 'attachment; filename="enrollment.mobileconfig"'
    return response


def _too_old(info: MachineInfo, minimum: str) -> ResponseReturnValue:
    if not info.can_update:
        return _refuse(f"iOS {minimum} or later is needed", 403)
    log.warning("enroll.refused reason='iOS too old' status=403")
    code = "com.apple.softwareupdate.required"
    return jsonify(code=code, description="iOS is too old", details={"OSVersion": minimum}), 403


def _refuse(reason: str, status: int) -> ResponseReturnValue:
    log.warning("enroll.refused reason=%r status=%s", reason[:80], status)
    return reason + "\n", status, {"Content-Type": "text/plain; charset=utf-8"}
