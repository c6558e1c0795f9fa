"""Is the process alive, can it serve."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from portal.credentials.base import SourceUnavailable
from portal.extensions import db_session, portal

blueprint = Blueprint("operations", __name__)

NOT_ESSENTIAL = {"credentials"}
"""Without these the portal still serves: it explains the outage to people better than a proxy would."""


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
        "credentials": _check_credentials,
    }
    problems = {}
    for name, check in checks.items():
        try:
            check()
        except SourceUnavailable as unavailable:
            problems[name] = unavailable.reason
        except Exception as error:  # whatever it is, this part is not ready
            problems[name] = type(error).__name__
    if problems.keys() - NOT_ESSENTIAL:
        return jsonify(status="not ready", problems=problems), 503
    return jsonify(status="degraded" if problems else "ready", problems=problems), 200


def _check_database() -> None:
    db_session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


def _check_authority() -> None:
    _ = portal.authority


def _check_signer() -> None:
    _ = portal.signer


def _check_credentials() -> None:
    """The directory and every provider answer; looked at no more than twice a minute, whoever asks."""
    portal.reachable.check()


def _check_backend() -> None:
    health = portal.backend.health()
    if not health.ready:
        raise RuntimeError(health.reason)
