"""What somebody would get of all policies and why; and the lists of people that admins keep."""

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import jobs, people
from portal.declarations import wanting
from portal.extensions import current_portal, db_session, transaction
from portal.models import Membership, Person, PolicyAudience
from portal.people import accounts, audiences
from portal.people.audiences import LIST, OUT
from portal.policies import composing
from portal.policies.variables import Recipient
from portal.storage import policies
from portal.versions import version_of
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.admin.policy_pages import NOTICE, must_be_open
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

USUAL_IOS = "18.0"
LONGEST_LIST_NAME = 60
MOST_ON_A_LIST = 20_000


@blueprint.get("/policies/person")
def policies_of_person() -> ResponseReturnValue:
    """By username and iOS."""
    must_be_open()
    username, ios = request.args.get("username", "").strip(), request.args.get("ios", USUAL_IOS).strip()
    version = version_of(ios)
    person = people.by_username(db_session, username) if username else None
    return render_template(
        "admin/policies_of_person.html",
        username=username,
        ios=ios if version else USUAL_IOS,
        person=person,
        result=_result(person, version or version_of(USUAL_IOS)) if person is not None else None,
    )


def _result(person: Person, ios: tuple[int, ...]) -> dict[str, object]:
    settings = current_portal.settings
    grants = policies.granted(db_session, person.id)
    account = accounts.of(db_session, person, settings)
    recipient = Recipient(person.email, account or "", person.username, person.name)
    names = {each.id: each.name for each in policies.living(db_session)}
    speaking = audiences.matched(db_session, PolicyAudience, person.id)
    matched = {policy_id: lines for policy_id, lines in speaking.items() if policy_id in names}
    return {
        "account": account,
        "grants": grants,
        "matched": matched,
        "names": names,
        "kept_away": [each for each, lines in matched.items() if any(line.side == OUT for line in lines)],
        "composition": composing.compose(grants, recipient, ios, wanting.declares(settings, ios)),
        "groups": list(db_session.scalars(select(Membership.name).where(Membership.person_id == person.id))),
        "parts": {part.uuid: part.type for grant in grants for part in grant.parts},
    }


@blueprint.get("/policies/lists")
def policy_lists() -> ResponseReturnValue:
    """The lists, and every other group that is known."""
    must_be_open()
    return _lists()


@blueprint.post("/policies/lists")
@fresh_proof()
def save_policy_list() -> ResponseReturnValue:
    """These people are on a list; nobody: it is gone."""
    must_be_open()
    must_be_ours()
    name, typed = request.form.get("name", "").strip(), request.form.get("people", "")
    names = typed.replace(",", "\n").split()
    if not name or len(name) > LONGEST_LIST_NAME or not name.isprintable():
        return _lists(name, typed, "name"), 422
    if len(names) > MOST_ON_A_LIST:
        return _lists(name, typed, "too_many"), 422
    wanted = {people.fold_username(each) for each in names}
    query = select(Person.username, Person.id).where(Person.username.in_(wanted), Person.erased_at.is_(None))
    found: dict[str, str] = {row[0]: row[1] for row in db_session.execute(query)}
    missing = sorted(wanted - set(found))
    if missing:
        return _lists(name, typed, "nobody", ", ".join(missing[:5])), 422
    with transaction():
        audiences.set_list(web_sessions.editor(), name, set(found.values()))
    session[NOTICE] = "list"
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    return redirect(url_for("admin.policy_lists"), 303)


def _lists(name: str = "", typed: str = "", problem: str | None = None, detail: str = "") -> str:
    wanted = request.args.get("name", "")
    if wanted and problem is None:
        query = select(Person.username).join(Membership, Membership.person_id == Person.id)
        there = db_session.scalars(query.where(Membership.name == f"{LIST}:{wanted}").order_by(Person.username))
        name, typed = wanted, "\n".join(there)
    return render_template(
        "admin/policy_lists.html",
        groups=audiences.groups(db_session),
        name=name,
        typed=typed,
        problem=problem,
        detail=detail,
        notice=session.pop(NOTICE, None),
    )
