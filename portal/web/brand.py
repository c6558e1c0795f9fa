"""The company's colour and logo. Their addresses hold what they say, so browsers keep them for good."""

import re
from functools import lru_cache

from flask import Response, abort
from flask.typing import ResponseReturnValue

from portal import branding
from portal.extensions import current_portal, db_session
from portal.models import App
from portal.settings import logo
from portal.web.rules import Rules, pages
from portal.web.security import STATIC_MAX_AGE_SECONDS

blueprint = pages("brand", __name__, Rules())


@blueprint.get("/brand/<accent>.css")
def colours(accent: str) -> ResponseReturnValue:
    """The stylesheet that follows from one colour."""
    if not re.fullmatch(r"[0-9a-f]{6}", accent):
        abort(404)
    return _kept(Response(branding.stylesheet(f"#{accent}"), mimetype="text/css"))


@blueprint.get("/brand/<digest>.png")
def logo_file(digest: str) -> ResponseReturnValue:
    """The logo, if that is still the one."""
    current = logo_of(current_portal.settings.company.logo)
    if current is None or current.digest != digest:
        abort(404)
    return _kept(Response(current.content, mimetype="image/png"))


@blueprint.get("/brand/app/<app_id>-<int:version>.png")
def app_icon(app_id: str, version: int) -> ResponseReturnValue:
    """The picture of a work app."""
    app = db_session.get(App, app_id)
    if app is None or app.icon is None:
        abort(404)
    return _kept(Response(app.icon, mimetype="image/png"))


@lru_cache(maxsize=4)
def logo_of(value: str) -> logo.Logo | None:
    """The logo in a setting's value."""
    return logo.read(value)


def _kept(response: Response) -> Response:
    response.headers["Cache-Control"] = f"public, max-age={STATIC_MAX_AGE_SECONDS}, immutable"
    return response
