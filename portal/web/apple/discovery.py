"""``/.well-known/com.apple.remotemanagement``: where accounts of our domains enroll."""

import plistlib

from flask import Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from portal import clock, discovery
from portal.discovery import Asked, Refusal
from portal.extensions import current_portal, db_session
from portal.web.apple import blueprint

FOUND_MAX_AGE_SECONDS = 3600
REFUSED_MAX_AGE_SECONDS = 60
CODE = "com.apple.well-known.failed"
PLIST_TYPES = ("application/xml", "application/x-plist", "text/xml")


@blueprint.get(discovery.PATH)
def discover() -> ResponseReturnValue:
    """For iPhone and iPad with an account of ours the address to post to; else 403 with a sentence for the person."""
    asked = Asked(
        identifier=request.args.get("user-identifier", ""),
        family=request.args.get("model-family", ""),
        via=request.args.get("via", ""),
    )
    domains = current_portal.domains.get(lambda: discovery.domains(db_session, current_portal.settings))
    refusal = discovery.judge(asked, domains)
    if refusal is None:
        response = jsonify(Servers=[{"Version": discovery.VERSION, "BaseURL": _base_url(asked)}])
        if current_portal.backend.elsewhere is not None:
            response.headers["Cache-Control"] = "no-store"  # the answer is another as soon as the journey is done
            return response
        return _cacheable(response, FOUND_MAX_AGE_SECONDS)
    return _cacheable(_refused(refusal), REFUSED_MAX_AGE_SECONDS)


def _base_url(asked: Asked) -> str:
    """Here; for whoever was handed over, and for so long, the server that enrolls devices by itself."""
    server = current_portal.backend.elsewhere
    away = server.discovery_url() if server is not None else ""
    if away and discovery.is_handed_over(db_session, asked.identifier, clock.now()):
        return away
    return current_portal.settings.url(discovery.BASE_PATH)


def _refused(refusal: Refusal) -> Response:
    message = render_template("apple/not_here.txt", refusal=refusal.value).strip()
    body = {"code": CODE, "description": refusal.value, "message": message}
    if request.accept_mimetypes.best_match(["application/json", *PLIST_TYPES]) in PLIST_TYPES:
        return Response(plistlib.dumps(body), status=403, content_type="application/xml")
    response = jsonify(body)
    response.status_code = 403
    return response


def _cacheable(response: Response, seconds: int) -> Response:
    # The address holds the whole question; only the sentence of a refusal depends on more.
    response.headers["Cache-Control"] = f"public, max-age={seconds}"
    response.headers["Vary"] = "Accept, Accept-Language"
    return response
