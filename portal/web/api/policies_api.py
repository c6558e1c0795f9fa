"""Policies for programs: what there is, what is in one without its secrets, and who gets it."""

from flask import jsonify
from flask.typing import ResponseReturnValue

from portal import clock, jobs
from portal.audit import Editor
from portal.extensions import current_portal, db_session, transaction
from portal.models import Policy, PolicyAudience
from portal.people import audiences
from portal.policies import portable
from portal.policies.portable import NotReadable, Written
from portal.storage import policies, policy_files
from portal.web.api import blueprint, caller, refuse
from portal.web.limits import json_object

SCOPE = "policies"
MOST_LINES = 1000


@blueprint.get("/api/policies")
def list_policies() -> ResponseReturnValue:
    """Every policy, who gets it, and on how many devices it is in which state."""
    caller(SCOPE)
    if not current_portal.gives_policies:
        return _closed()
    counts, lines_of = policies.counts(db_session), audiences.of_all(db_session, PolicyAudience)
    told = [_told(each, lines_of.get(each.id, []), counts) for each in policies.living(db_session)]
    return jsonify(policies=told)


@blueprint.get("/api/policies/<policy_id>")
def read_policy(policy_id: str) -> ResponseReturnValue:
    """One, with the parts of the version in use; secrets are not told."""
    caller(SCOPE)
    policy = _find(policy_id)
    if policy is None:
        return _none()
    number = policies.in_use(policy)
    parts = policies.opened(db_session, current_portal.vault, policy.id, number) if number is not None else ()
    told = _told(policy, policies.audience(db_session, policy.id), policies.counts(db_session))
    return jsonify(**told, parts=portable.table(Written(policy.name, (), parts))["part"])


@blueprint.post("/api/policies/<policy_id>/audience")
def assign_policy(policy_id: str) -> ResponseReturnValue:
    """``{"add": [...], "remove": [...]}``, lines such as ``group oidc:Sales``, ``except person max``."""
    token = caller(SCOPE)
    body = json_object()
    added, removed = (_lines(body.get(name, [])) if body is not None else None for name in ("add", "remove"))
    if added is None or removed is None:
        return refuse("bad_request", 'Send {"add": ["..."], "remove": ["..."]} as JSON.', 400)
    if _find(policy_id) is None:
        return _none()
    try:
        with transaction():
            policy = policies.locked(db_session, policy_id)
            if policy is None:
                return _none()
            wanted = set(policies.audience(db_session, policy_id))
            wanted |= set(policy_files.lines(db_session, policy.name, added))
            wanted -= set(policy_files.lines(db_session, policy.name, removed))
            editor = Editor(db_session, current_portal.vault, f"token:{token.id}", clock.now())
            policies.set_audience(editor, policy, wanted)
    except NotReadable as refusal:
        return refuse("unknown", refusal.says, 422)
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    audience = policy_files.told(db_session, policies.audience(db_session, policy_id))
    return jsonify(id=policy_id, audience=audience)


def _lines(told: object) -> list[str] | None:
    if not isinstance(told, list) or len(told) > MOST_LINES:
        return None
    return told if all(isinstance(each, str) and len(each) <= audiences.LONGEST_GROUP + 40 for each in told) else None


def _told(policy: Policy, audience: list[audiences.Line], counts: dict[str, dict[str, int]]) -> dict[str, object]:
    return {
        "id": policy.id,
        "name": policy.name,
        "version": policy.version,
        "trial_version": policy.pilot_version,
        "audience": policy_files.told(db_session, audience),
        "devices": counts.get(policy.id, {}),
    }


def _find(policy_id: str) -> Policy | None:
    return policies.find(db_session, policy_id) if current_portal.gives_policies else None


def _none() -> ResponseReturnValue:
    return refuse("not_found", "There is no such policy.", 404)


def _closed() -> ResponseReturnValue:
    return refuse("closed", "This portal has no policies ([policies] enabled).", 404)
