"""Policies: what they are called and made of, who gets them, what became of them."""

import hashlib
from collections.abc import Callable

from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from portal import jobs
from portal.extensions import current_portal, db_session, transaction
from portal.models import Policy, PolicyAudience, PolicyVersion
from portal.people import audiences
from portal.people.audiences import IN, OUT
from portal.policies import content, native
from portal.policies.content import Part
from portal.storage import policies
from portal.storage.policies import PILOT, ChangedMeanwhile, NameTaken, NothingNew, NotUsable
from portal.web import web_sessions
from portal.web.admin import audience_form, blueprint
from portal.web.admin.audience_form import AudienceRefused
from portal.web.limits import whole_number
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

NOTICE = "policy_notice"
SIDES = (IN, OUT, PILOT)


def must_be_open() -> None:
    """404 in a closed room."""
    if not current_portal.gives_policies:
        abort(404)


@blueprint.get("/policies")
def policy_list() -> ResponseReturnValue:
    """Every policy, with how many devices are in which state."""
    return _list()


def _list(name: str = "", problem: str | None = None) -> str:
    found = policies.living(db_session) if current_portal.gives_policies else []
    return render_template(
        "admin/policies.html",
        open=current_portal.gives_policies,
        elsewhere=current_portal.backend.elsewhere if current_portal.backend.does.policies else None,
        policies=found,
        counts=policies.counts(db_session) if found else {},
        audiences=audiences.of_all(db_session, PolicyAudience) if found else {},
        name=name,
        problem=problem,
        notice=session.pop(NOTICE, None),
    )


@blueprint.post("/policies")
def make_policy() -> ResponseReturnValue:
    """A new one, with nothing in it, for nobody."""
    must_be_open()
    must_be_ours()
    name = request.form.get("name", "").strip()
    problem = _name_problem(name)
    if problem is None:
        try:
            with transaction():
                made = policies.create(web_sessions.editor(), name)
                policy_id = made.id
            return redirect(url_for("admin.policy_page", policy_id=policy_id), 303)
        except NameTaken:
            problem = "taken"
    return _list(name, problem), 422


@blueprint.get("/policies/<policy_id>")
def policy_page(policy_id: str) -> ResponseReturnValue:
    """One policy."""
    return show(policy_id)


def show(policy_id: str, problem: str | None = None, detail: str = "") -> str:
    """The page of a policy, perhaps with what went wrong (``problem`` and what it is about)."""
    must_be_open()
    policy = policies.find(db_session, policy_id)
    if policy is None:
        abort(404)
    parts = policies.current(db_session, current_portal.vault, policy)
    return render_template(
        "admin/policy.html",
        policy=policy,
        parts=parts,
        native=native.can_be,
        published=policies.newest(db_session, policy),
        seen=_seen(policy),
        versions=policies.versions(db_session, policy),
        who=audience_form.shown(policies.audience(db_session, policy_id), SIDES),
        counts=policies.counts(db_session).get(policy_id, {}),
        problem=problem,
        detail=detail,
        notice=session.pop(NOTICE, None),
    )


@blueprint.post("/policies/<policy_id>/name")
def rename_policy(policy_id: str) -> ResponseReturnValue:
    """Call it otherwise."""
    name = request.form.get("name", "").strip()
    problem = _name_problem(name)
    if problem is not None:
        must_be_ours()
        return show(policy_id, problem), 422
    try:
        return change(policy_id, "named", lambda each: policies.rename(web_sessions.editor(), each, name))
    except NameTaken:
        return show(policy_id, "taken"), 422


@blueprint.post("/policies/<policy_id>/publish")
@fresh_proof()
def publish_policy(policy_id: str) -> ResponseReturnValue:
    """The draft becomes a version, for all or for the pilot group; or it is thrown away."""
    what = request.form.get("what", "")
    if what == "drop":
        return change(policy_id, "dropped", policies.drop_draft)
    pilot = what == "pilot"

    def publish(policy: Policy) -> None:
        if request.form.get("seen") != _seen(policy):
            raise ChangedMeanwhile
        policies.publish(web_sessions.editor(), policy, pilot=pilot)

    return _publish(policy_id, "pilot" if pilot else "published", publish)


def _publish(policy_id: str, notice: str, publish: Callable[[Policy], None]) -> ResponseReturnValue:
    try:
        return change(policy_id, notice, publish)
    except NothingNew:
        return show(policy_id, "nothing_new"), 422
    except (ChangedMeanwhile, AudienceRefused):
        return show(policy_id, "changed"), 409
    except NotUsable as refused:
        wrong = refused.problem
        return show(policy_id, wrong.problem, wrong.place), 422


def _seen(policy: Policy) -> str:
    """Which draft somebody looks at."""
    return hashlib.sha256(policy.draft_sealed).hexdigest()[:16] if policy.draft_sealed is not None else ""


@blueprint.post("/policies/<policy_id>/pilot")
@fresh_proof()
def settle_pilot(policy_id: str) -> ResponseReturnValue:
    """What the pilot group has goes to all, or is stopped."""
    to_all = request.form.get("what") == "all"
    notice = "published" if to_all else "stopped"
    return change(policy_id, notice, lambda each: policies.settle_pilot(web_sessions.editor(), each, to_all))


@blueprint.post("/policies/<policy_id>/restore/<number>")
@fresh_proof()
def restore_policy(policy_id: str, number: str) -> ResponseReturnValue:
    """An old version becomes the newest."""
    wanted = _version(policy_id, number).number

    def restore(policy: Policy) -> None:
        policies.restore(web_sessions.editor(), policy, wanted)

    return _publish(policy_id, "restored", restore)


@blueprint.post("/policies/<policy_id>/end")
@fresh_proof()
def end_policy(policy_id: str) -> ResponseReturnValue:
    """It is taken from everybody, for good."""
    change(policy_id, "ended", lambda each: policies.archive(web_sessions.editor(), each))
    return redirect(url_for("admin.policy_list"), 303)


@blueprint.get("/policies/<policy_id>/versions/<number>")
def policy_version(policy_id: str, number: str) -> ResponseReturnValue:
    """What was published once, without its secrets."""
    must_be_open()
    version = _version(policy_id, number)
    parts = policies.opened(db_session, current_portal.vault, policy_id, version.number)
    policy = db_session.get_one(Policy, policy_id)
    shown = [(each, [(path, _shown(each, path, value)) for path, value in content.walk(each.values)]) for each in parts]
    return render_template("admin/policy_version.html", policy=policy, version=version, parts=shown)


def _shown(part: Part, path: str, value: object) -> object:
    """A value as it may be read again; None for a secret."""
    if content.holds_secret(part.type, path, value):
        return None
    return _bytes(len(value)) if isinstance(value, bytes) else value


def _bytes(count: int) -> str:
    return str(gettext("a file of %(count)s bytes", count=count))


@blueprint.post("/policies/<policy_id>/audience")
@fresh_proof()
def set_audience(policy_id: str) -> ResponseReturnValue:
    """Who gets it, who does not after all, and who gets new versions first."""
    must_be_ours()
    must_be_open()
    kept = policies.audience(db_session, policy_id)
    try:
        lines = audience_form.entered(kept, SIDES, for_everybody=(IN,))
    except AudienceRefused as refused:
        return show(policy_id, refused.code, refused.detail), 422

    def save(policy: Policy) -> None:
        audience_form.must_be_as_seen(policies.audience(db_session, policy_id))
        policies.set_audience(web_sessions.editor(), policy, lines)

    return _publish(policy_id, "audience", save)


# --- what the pages about policies share ---------------------------------------------------------------------------


def change(policy_id: str, notice: str, act: Callable[[Policy], object]) -> ResponseReturnValue:
    """Let ``act`` change the locked policy, and go back to its page; devices are told soon."""
    must_be_open()
    must_be_ours()
    with transaction():
        policy = policies.locked(db_session, policy_id)
        if policy is None:
            abort(404)
        act(policy)
    session[NOTICE] = notice
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    return redirect(url_for("admin.policy_page", policy_id=policy_id), 303)


def save_parts(policy: Policy, parts: list[Part]) -> None:
    """The draft is these parts now."""
    policies.save_draft(web_sessions.editor(), policy, parts)


def _name_problem(name: str) -> str | None:
    if not name:
        return "name"
    return "long" if len(name) > policies.LONGEST_NAME or not name.isprintable() else None


def _version(policy_id: str, number: str) -> PolicyVersion:
    wanted = whole_number(number)
    found = db_session.get(PolicyVersion, (policy_id, wanted)) if wanted is not None else None
    if found is None or policies.find(db_session, policy_id) is None:
        abort(404)
    return found
