"""The list of requests, and inviting one more person."""

from datetime import timedelta

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from wtforms import StringField
from wtforms.validators import DataRequired, Length

from portal import clock, people
from portal.enrollment import journey
from portal.enrollment.invitations import Asker
from portal.events import Actor, Event
from portal.extensions import cases, current_portal, db_session
from portal.lifecycle import inviting
from portal.lifecycle.inviting import NotInvited
from portal.models import LONGEST_USERNAME, AuditEvent, EnrollmentRequest
from portal.storage import search
from portal.web import web_sessions
from portal.web.helpdesk import blueprint
from portal.web.rules import Form

ASKED = ("q", "status", "step", "age", "source", "attention", "mine", "order")
"""What the list's address can ask for."""
RECENT = timedelta(days=7)
LOOKED_THROUGH, MOST_REFUSED = 50, 3
"""Refusals that are read, and people who are shown."""


class InviteForm(Form):
    username = StringField(
        validators=[DataRequired("their_username_missing"), Length(max=LONGEST_USERNAME, message="username_long")]
    )


@blueprint.get("")
def request_list() -> ResponseReturnValue:
    """One page of requests as the address asks for; with ``part=live`` only what changes, for the page's script."""
    if request.args.get("part") == "live":
        return render_template("helpdesk/list_live.html", **_rows())
    return _page(InviteForm())


@blueprint.post("/requests")
def invite() -> ResponseReturnValue:
    """Create a request; refused, with the reason, for a person without a Managed Apple Account."""
    form = InviteForm()
    web_session = web_sessions.current()
    if not form.validate_on_submit() or web_session is None:
        return _page(form), 422
    try:
        by = Asker(web_sessions.actor_here(), web_session.person.name)
        username = people.username_meant(db_session, form.username.data)
        created = inviting.by_username(cases(), current_portal, username, web_session.person.role, by)
    except NotInvited as refusal:
        if refusal.request_id:
            session["helpdesk_notice"] = refusal.code
            return redirect(url_for("helpdesk.request_page", request_id=refusal.request_id), 303)
        form.username.errors = [refusal.code]
        return _page(form), 422
    return redirect(url_for("helpdesk.request_page", request_id=created.request.id), 303)


def _page(form: InviteForm) -> str:
    return render_template(
        "helpdesk/list.html",
        form=form,
        statuses=list(journey.Status),
        steps=list(journey.STEPS),
        ages=list(search.Age),
        sources=journey.SOURCES,
        attentions=list(journey.Attention),
        refused=_refused_lately(),
        notice=session.pop("helpdesk_notice", None),
        **_rows(),
    )


def _rows() -> dict[str, object]:
    """The asked-for page and how its address continues."""
    asked = {key: request.args.get(key, "").strip() for key in ASKED}
    web_session = web_sessions.current()
    filters = search.Filters(
        search=asked["q"],
        status=asked["status"],
        step=asked["step"],
        age=asked["age"],
        source=asked["source"],
        attention=asked["attention"],
        handed_to=web_session.person_id if asked["mine"] and web_session else "",
        oldest_first=asked["order"] == "oldest",
    )
    place = request.args.get("place", "")
    now = clock.now()
    page = search.page(db_session, current_portal.settings, filters, now, place)
    kept = {key: value for key, value in asked.items() if value}
    narrowed = any(asked[key] for key in ASKED if key not in ("q", "order"))
    others = [] if narrowed or page.before else search.people_without_request(db_session, asked["q"])
    rows = {"page": page, "asked": asked, "kept": kept, "place": place, "narrowed": narrowed, "now": now}
    return {**rows, "others": others}


def _refused_lately() -> list[AuditEvent]:
    """Who could not begin by themselves lately, and why: the last time of each, unless they have a request since."""
    refused = (
        select(AuditEvent)
        .where(
            AuditEvent.chain == people.PEOPLE_CHAIN,
            AuditEvent.kind == Event.REQUEST_REFUSED,
            AuditEvent.actor == Actor.EMPLOYEE,
            AuditEvent.at > clock.now() - RECENT,
        )
        .order_by(AuditEvent.seq.desc())
        .limit(LOOKED_THROUGH)
    )
    latest: dict[str, AuditEvent] = {}
    for event in db_session.scalars(refused):
        latest.setdefault(str((event.detail or {}).get("person", "")), event)
    theirs = select(EnrollmentRequest.person_id, func.max(EnrollmentRequest.created_at))
    of_them = theirs.where(EnrollmentRequest.person_id.in_(latest)).group_by(EnrollmentRequest.person_id)
    since = {row[0]: row[1] for row in db_session.execute(of_them)}
    still = [each for person_id, each in latest.items() if person_id not in since or since[person_id] < each.at]
    return still[:MOST_REFUSED]
