"""The audit trail: searched, exported, and its chains checked."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from flask import Response, redirect, render_template, request, session, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from portal import audit, clock, jobs, labels, people
from portal.audit import Search
from portal.extensions import current_portal, db_session, transaction
from portal.web import spreadsheets
from portal.web.admin import blueprint
from portal.web.limits import whole_number
from portal.web.rules import must_be_ours

PAGE_SIZE = 100
MOST_EXPORTED = 50_000
LAST_YEAR = 9000
"""Days near the end of the calendar cannot be counted on from."""
ASKED = ("kind", "who", "request", "since", "until")
NOTICE = "audit_notice"


@blueprint.get("/audit")
def audit_page() -> ResponseReturnValue:
    """One page of events, newest first."""
    wanted, asked = _wanted()
    before = whole_number(request.args.get("before", ""))
    events = audit.search(db_session, wanted, before, PAGE_SIZE + 1)
    shown = events[:PAGE_SIZE]
    return render_template(
        "admin/audit.html",
        events=shown,
        more=shown[-1].id if len(events) > PAGE_SIZE else None,
        asked=asked,
        kept={key: value for key, value in asked.items() if value},
        groups=labels.GROUP,
        names=people.names_of_actors(db_session, (each.actor for each in shown)),
        check=audit.last_check(db_session),
        notice=session.pop(NOTICE, None),
    )


@blueprint.get("/audit.csv")
def audit_csv() -> ResponseReturnValue:
    """The events that are shown, all pages of them."""
    wanted, _ = _wanted()
    return Response(
        stream_with_context(spreadsheets.lines(_rows(wanted))),
        mimetype="text/csv",
        headers=spreadsheets.as_file("audit-trail.csv"),
    )


@blueprint.post("/audit/verify")
def verify_audit() -> ResponseReturnValue:
    """Ask the worker to check every chain."""
    must_be_ours()
    with transaction():
        audit.ask_for_check(db_session, clock.now())
    jobs.nudge(current_portal.settings)
    session[NOTICE] = "asked"
    return redirect(url_for("admin.audit_page"), 303)


def _wanted() -> tuple[Search, dict[str, str]]:
    asked = {key: request.args.get(key, "").strip()[:100] for key in ASKED}
    person = people.by_username(db_session, asked["who"]) if asked["who"] else None
    until = _day(asked["until"])
    group = asked["kind"]
    return Search(
        kinds=(group, *labels.ALSO.get(group, ())) if group in labels.GROUP else (),
        chain=audit.request_chain(asked["request"]) if asked["request"] else "",
        actor=(audit.actor_of(person) if person else asked["who"]) if asked["who"] else "",
        since=_day(asked["since"]),
        until=until + timedelta(days=1) if until else None,
    ), asked


def _day(text: str) -> datetime | None:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return day if day.year < LAST_YEAR else None


def _rows(wanted: Search) -> Iterator[tuple[object, ...]]:
    yield ("at", "chain", "number", "kind", "reason", "actor", "detail", "digest")
    before, count = None, 0
    while count < MOST_EXPORTED:
        events = audit.search(db_session, wanted, before, 1000)
        for each in events:
            detail = {key: value for key, value in (each.detail or {}).items() if key != "salt"}
            text = json.dumps(detail, ensure_ascii=False) if detail else ""
            yield (each.at.isoformat(), each.chain, each.seq, each.kind, each.reason, each.actor, text, each.digest)
        if len(events) < 1000:
            return
        before, count = events[-1].id, count + len(events)
        db_session.expunge_all()
