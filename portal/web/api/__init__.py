"""For programs: inviting, reading a request, metrics; JSON or Prometheus text. Each call needs a token."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from portal import clock
from portal.credentials import api_tokens
from portal.credentials.api_tokens import TOUCH_EVERY, ScopeMissing, TokenUnknown
from portal.extensions import db_session, only_while, transaction
from portal.models import ApiToken
from portal.web.rules import Rules, bearer, pages

blueprint = pages("api", __name__, Rules(programs=True, bodies={"order_command": 800_000}))
"""A token in a header is no cookie: no other site can make a browser send it."""


def caller(scope: str) -> ApiToken:
    """Whose token came with this request; it counts for each transaction anew. Raises TokenUnknown, ScopeMissing."""
    now, token = clock.now(), bearer() or ""
    found = api_tokens.check(db_session, token, scope, now)
    only_while(lambda session: api_tokens.check(session, token, scope, clock.now()))
    if found.last_used_at is None or now - found.last_used_at >= TOUCH_EVERY:
        with transaction():
            found.last_used_at = now
    return found


def refuse(code: str, says: str, status: int) -> ResponseReturnValue:
    """A refusal for programs, and for the people who read their logs."""
    return jsonify(error=code, message=says), status


@blueprint.errorhandler(TokenUnknown)
def _unknown(_error: Exception) -> ResponseReturnValue:
    answer, status = jsonify(error="invalid_token", message="The token is missing, unknown, revoked or too old."), 401
    answer.headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return answer, status


@blueprint.errorhandler(ScopeMissing)
def _scope(_error: Exception) -> ResponseReturnValue:
    return refuse("insufficient_scope", "The token is good, but not for this.", 403)


from portal.web.api import devices_api, metrics, policies_api, requests_api  # noqa: E402  (the views register themselves on the blueprint)

__all__ = ["blueprint", "caller", "devices_api", "metrics", "policies_api", "refuse", "requests_api"]
