"""Is the process alive, can it serve."""

from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from portal import clock, installation
from portal.credentials.base import SourceUnavailable
from portal.extensions import current_portal, db_session
from portal.pki import uploads
from portal.storage import apple_business, apple_content
from portal.web.rules import Rules, pages

blueprint = pages("operations", __name__, Rules())


class NotReady(Exception):
    """A part that is not usable; ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


NOT_ESSENTIAL = {"credentials", "backend", "push_certificate", "apple_business", "app_licenses"}
"""Without these the portal still serves: it explains the outage to people better than a proxy would."""
RENEW_BEFORE = timedelta(days=30)
"""So long before it ends, a certificate or token that the portal needs is told of; pages tell of tokens earlier."""
MANY_FAILURES = 3
"""In a row, when Apple is asked: once is nothing."""


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """The process answers."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Database, keys, authority and backend are usable; which one is not, if any."""
    checks = {
        "database": _check_database,
        "authority": _check_authority,
        "profile_signer": _check_signer,
        "backend": _check_backend,
        "push_certificate": _check_push_certificate,
        "apple_business": _check_apple_business,
        "app_licenses": _check_app_licenses,
        "credentials": _check_credentials,
    }
    problems = {}
    for name, check in checks.items():
        try:
            check()
        except (SourceUnavailable, NotReady) as unavailable:
            problems[name] = unavailable.reason
        except Exception as error:  # whatever it is, this part is not ready
            problems[name] = type(error).__name__
    serves = not problems.keys() - NOT_ESSENTIAL
    told: dict[str, Any] = {"status": "not ready" if not serves else "degraded" if problems else "ready"}
    if _is_monitoring():
        told["problems"] = problems
    return jsonify(told), 200 if serves else 503


def _is_monitoring() -> bool:
    """Whether what is wrong may be told to whoever asks: only to the configured networks."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return any(address in network for network in current_portal.settings.proxy.monitoring)


def _check_database() -> None:
    if (
        installation.revision(db_session) < installation.NEWEST
    ):  # numbered; a later one is another version's, which is just being brought in
        raise NotReady("not_migrated")
    is_server = db_session.get_bind().dialect.name == "postgresql"
    if is_server and db_session.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
        raise NotReady("read_only")  # as after a failover to a replica


def _check_authority() -> None:
    _ = current_portal.authority


def _check_signer() -> None:
    _ = current_portal.signer


def signer_days(now: datetime) -> int | None:
    """Days until the certificate that signs profiles expires; None if it cannot even be read."""
    try:
        return (current_portal.signer.certificate.not_valid_after_utc - now).days
    except (OSError, ValueError):
        return None


def _check_credentials() -> None:
    """The directory and every provider answer; looked at no more than twice a minute, whoever asks."""
    current_portal.reachable.check()


def _check_backend() -> None:
    health = current_portal.backend.health()
    if not health.ready:
        raise NotReady(health.reason)


def _must_last(until: datetime) -> None:
    left = until - clock.now()
    if left < RENEW_BEFORE:
        raise NotReady("expired" if left < timedelta() else "expires_soon")


def _check_push_certificate() -> None:
    """That devices can be woken, for another while; a demo has none to wake."""
    identity = current_portal.settings.mdm.push_identity
    if current_portal.backend.elsewhere is not None:
        return
    if not identity:
        if current_portal.settings.demo:
            return
        raise NotReady("missing")
    _must_last(uploads.valid_until(identity))


def _check_apple_business() -> None:
    """That sign-ins with Managed Apple Accounts can be vouched for, for another while; if they are at all."""
    known = apple_business.known(db_session)
    if known is None or known.expires is None:
        return
    _must_last(known.expires)
    if known.problem:
        raise NotReady(known.problem)


def _check_app_licenses() -> None:
    """That licenses for work apps can be given, for another while; if they are at all."""
    known = apple_content.known(db_session) if current_portal.gives_apps else None
    if known is None:
        return
    if known.problem:
        raise NotReady(known.problem)
    _must_last(known.expires)
    if known.failures > MANY_FAILURES:
        raise NotReady(known.trouble)
