"""The parts of a policy: added, edited, uploaded, taken out; checked before they are kept."""

import hashlib
import hmac

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from portal import clock
from portal.enrollment import allowed
from portal.enrollment.errors import CommandForbidden
from portal.extensions import current_portal, db_session
from portal.models import Policy
from portal.pki import work_authority
from portal.policies import accepting, catalogue, checking, content, forms, holding, own_authority, uploading
from portal.policies.checking import BROKEN, FORBIDDEN
from portal.policies.content import MERGED, Part
from portal.policies.forms import Entered
from portal.policies.variables import NAMES
from portal.storage import policies
from portal.web.admin import blueprint
from portal.web.admin.policy_pages import change, must_be_open, save_parts, show
from portal.web.rules import must_be_ours


class ChangedMeanwhile(Exception):
    """Somebody else changed the part since the form was filled."""


@blueprint.get("/policies/<policy_id>/parts")
def choose_part(policy_id: str) -> ResponseReturnValue:
    """Which kind to add."""
    policy, parts = _draft(policy_id)
    there = {each.type for each in parts}
    offered = [each for each in forms.offered() if each not in MERGED or each not in there]
    known = catalogue.load().payloads
    return render_template(
        "admin/policy_parts.html",
        policy=policy,
        front=[each for each in offered if each in forms.FOR_PEOPLE],
        behind=[(each, known[each].title) for each in offered if each not in forms.FOR_PEOPLE],
    )


@blueprint.route("/policies/<policy_id>/parts/new/<kind>", methods=["GET", "POST"])
def new_part(policy_id: str, kind: str) -> ResponseReturnValue:
    """A part that was not there."""
    if kind not in forms.offered():
        abort(404)
    policy, parts = _draft(policy_id)
    if request.method != "POST":
        return _form(policy, parts, Part("", kind, forms.BEGINNINGS.get(kind, {})), new=True)
    return _save(policy, parts, None, kind)


@blueprint.route("/policies/<policy_id>/parts/<uuid>", methods=["GET", "POST"])
def edit_part(policy_id: str, uuid: str) -> ResponseReturnValue:
    """One that is there."""
    policy, parts = _draft(policy_id)
    part = next((each for each in parts if each.uuid == uuid), None)
    if part is None:
        abort(404)
    if request.method != "POST":
        return _form(policy, parts, part, new=False)
    return _save(policy, parts, part, part.type)


@blueprint.post("/policies/<policy_id>/parts/<uuid>/remove")
def remove_part(policy_id: str, uuid: str) -> ResponseReturnValue:
    """Take it out of the draft."""

    def remove(policy: Policy) -> None:
        parts = policies.current(db_session, current_portal.vault, policy)
        save_parts(policy, [each for each in parts if each.uuid != uuid])

    return change(policy_id, "part_removed", remove)


@blueprint.post("/policies/<policy_id>/upload")
def upload_parts(policy_id: str) -> ResponseReturnValue:
    """Take over everything in a .mobileconfig."""
    must_be_ours()
    _, parts = _draft(policy_id)
    upload = request.files.get("profile")
    body = upload.stream.read(allowed.LARGEST_PROFILE + 1) if upload is not None else b""
    try:
        profile = allowed.open_profile(body).values
    except CommandForbidden as refusal:
        return show(policy_id, refusal.reason), 422
    found, added = accepting.worst(checking.check(profile)), []
    if found is None:
        try:
            added = uploading.parts_of(profile)
        except uploading.UuidTwice:
            return show(policy_id, "uuid_twice"), 422
        found = accepting.worst(accepting.problems([*parts, *added]))
    if found is not None:
        return show(policy_id, found.problem, found.place), 422

    def add(policy: Policy) -> None:
        save_parts(policy, [*policies.current(db_session, current_portal.vault, policy), *added])

    return change(policy_id, "uploaded", add)


def _save(policy: Policy, parts: list[Part], before: Part | None, kind: str) -> ResponseReturnValue:
    must_be_ours()
    entered = Entered(
        text=lambda name: request.form.get(name, ""),
        several=request.form.getlist,
        file=lambda name: request.files[name].stream.read(forms.LARGEST_FILE + 1) if name in request.files else b"",
    )
    values, problems = forms.read(kind, before, entered)
    part = Part(before.uuid, kind, values) if before is not None else content.new_part(kind, values)
    after = [part if each.uuid == part.uuid else each for each in parts] if before is not None else [*parts, part]
    if before is not None and request.form.get("seen") != seen(before):
        problems[""] = "changed"
    if before is not None and holding.trusting(before, part, parts):
        problems.setdefault("PayloadContent", "trusted_by")
    for each in accepting.problems(after):
        if each.payload in (kind, "") and each.problem in FORBIDDEN | BROKEN:
            problems.setdefault(each.key, each.problem)
    if problems:
        return _form(policy, parts, part, new=before is None, problems=problems, shown_before=before), 422

    def save(locked: Policy) -> None:
        if own_authority.is_own(part):  # so that a network can be set up before the first device comes
            company = current_portal.settings.company.name
            work_authority.make(db_session, current_portal.vault, company, clock.now())
        now = policies.current(db_session, current_portal.vault, locked)
        if before is not None and before not in now:
            raise ChangedMeanwhile
        save_parts(locked, [part if each.uuid == part.uuid else each for each in now] if before else [*now, part])

    try:
        return change(policy.id, "part_saved", save)
    except ChangedMeanwhile:
        return _form(policy, parts, part, new=False, problems={"": "changed"}, shown_before=before), 422


def _form(
    policy: Policy,
    parts: list[Part],
    part: Part,
    *,
    new: bool,
    problems: dict[str, str] | None = None,
    shown_before: Part | None = None,
) -> str:
    front, behind = forms.fields(part.type)
    set_ = {path for path, _ in content.walk(part.values)}
    return render_template(
        "admin/policy_part.html",
        policy=policy,
        part=part,
        new=new,
        seen=seen(shown_before or part),
        front=front,
        behind=behind,
        behind_used=bool({each.path for each in behind} & (set_ | set(problems or {}))),
        shown={each.path: forms.shown(each, part.values, part.type) for each in (*front, *behind)},
        problems=problems or {},
        identities=[each for each in parts if each.type in forms.IDENTITIES],
        anchors=[each for each in parts if each.type in forms.CERTIFICATES],
        vpns=[each for each in parts if each.type == forms.VPN],
        variables=NAMES,
        own_authority=_own_addresses() if part.type == own_authority.SCEP else None,
        notes=[] if new else [each for each in accepting.problems(parts) if each.payload == part.type],
        title=name_of,
    )


def _own_addresses() -> dict[str, str]:
    """Where a RADIUS server finds the portal's own authority."""
    url = current_portal.settings.url
    return {"ca": url(own_authority.CERTIFICATE_PATH), "list": url(own_authority.LIST_PATH)}


def name_of(part: Part) -> str:
    """What tells a part from others of its kind."""
    keys = ("SSID_STR", "EmailAccountDescription", "UserDefinedName", "Label", "Host", "IncomingMailServerHostName",
            "CalDAVHostName", "CardDAVHostName", "SubCalAccountHostName", "ExtensionIdentifier",
            "PayloadContent.URL", "PayloadDisplayName", "PayloadCertificateFileName")  # fmt: skip
    return next((str(found) for key in keys if (found := content.at(part.values, key))), "")


def _draft(policy_id: str) -> tuple[Policy, list[Part]]:
    must_be_open()
    policy = policies.find(db_session, policy_id)
    if policy is None:
        abort(404)
    return policy, list(policies.current(db_session, current_portal.vault, policy))


def seen(part: Part) -> str:
    """Which content of a part a form was filled from; keyed, so that no secret can be guessed by it."""
    key = current_portal.vault.derive("forms of policies")
    return hmac.new(key, content.write([part]), hashlib.sha256).hexdigest()[:16]
