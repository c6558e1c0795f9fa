"""Inviting many: a list is uploaded and checked, then invited at a pace; pages with progress, problems and a funnel."""

from datetime import datetime

from flask import Response, abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import clock
from portal.enrollment.invitations import Asker
from portal.extensions import cases, db_session, transaction
from portal.models import Campaign, CampaignEntry
from portal.people import lists
from portal.people.lists import ListRefused
from portal.storage import campaigns
from portal.storage.campaigns import MOST_PER_MINUTE, Plan, WrongState
from portal.web import spreadsheets, web_sessions
from portal.web.helpdesk import blueprint
from portal.web.rules import Form

NOTICE = "campaign_notice"
SHOWN = 50
LONGEST_MESSAGE = 2000
SAMPLE = "username\r\nfirst.employee\r\nsecond.employee\r\n"


class UploadForm(Form):
    """Its CSRF token; the file is read by hand, bounded."""


@blueprint.get("/campaigns")
def campaign_list() -> ResponseReturnValue:
    """Every campaign with its funnel, the newest first."""
    return _list()


@blueprint.get("/campaigns/sample.csv")
def campaign_sample() -> ResponseReturnValue:
    """A file to start from."""
    return Response(SAMPLE, headers=spreadsheets.as_file("people.csv"))


@blueprint.post("/campaigns")
def upload_campaign() -> ResponseReturnValue:
    """Check a list; nobody is invited yet."""
    if not UploadForm().validate_on_submit():
        abort(400)
    name, upload = request.form.get("name", "").strip()[:80], request.files.get("file")
    if upload is None or not upload.filename:
        return _list(problem=ListRefused("missing"), name=name), 422
    try:
        lines = lists.usernames(upload.stream.read(lists.LARGEST_BYTES + 1))
    except ListRefused as refused:
        return _list(problem=refused, name=name), 422
    with transaction():
        by = Asker(web_sessions.actor_here(), web_sessions.here().person.name)
        made = campaigns.check(cases(), name or upload.filename[:80], lines, by)
    return redirect(url_for("helpdesk.campaign_page", campaign_id=made.id), 303)


@blueprint.get("/campaigns/<campaign_id>")
def campaign_page(campaign_id: str) -> ResponseReturnValue:
    """One campaign; with ``part=live`` only what changes."""
    template = "campaign_live" if request.args.get("part") == "live" else "campaign"
    return _page(campaign_id, template)


@blueprint.get("/campaigns/<campaign_id>/problems.csv")
def campaign_problems(campaign_id: str) -> ResponseReturnValue:
    """Every line that was not invited, and why."""
    campaign = _campaign(campaign_id)
    rows = db_session.execute(
        select(CampaignEntry.line, CampaignEntry.username, CampaignEntry.reason)
        .where(CampaignEntry.campaign_id == campaign.id, CampaignEntry.state == "refused")
        .order_by(CampaignEntry.line)
    ).all()
    return Response(
        spreadsheets.lines([("line", "username", "problem"), *(tuple(row) for row in rows)]),
        headers=spreadsheets.as_file("problems.csv"),
    )


@blueprint.post("/campaigns/<campaign_id>/start")
def start_campaign(campaign_id: str) -> ResponseReturnValue:
    """Begin, now or at a time, with a message and a pace."""
    if not UploadForm().validate_on_submit():
        abort(400)
    _campaign(campaign_id)
    typed = {
        key: request.form.get(key, "").strip() for key in ("message", "starts_at", "per_minute", "remind_after_days")
    }
    starts_at = clock.typed(typed["starts_at"])
    wrong = _wrong(typed, starts_at)
    if wrong:
        return _page(campaign_id, "campaign", typed=typed, wrong=wrong), 422
    try:
        with transaction():
            message, reminder = typed["message"].replace("\r\n", "\n"), int(typed["remind_after_days"] or 0)
            plan = Plan(message, starts_at, int(typed["per_minute"]), reminder)
            campaigns.start(cases(), campaign_id, plan, web_sessions.actor_here())
        session[NOTICE] = "started"
    except WrongState:
        session[NOTICE] = "wrong_state"
    return redirect(url_for("helpdesk.campaign_page", campaign_id=campaign_id), 303)


@blueprint.post("/campaigns/<campaign_id>/<what>")
def change_campaign(campaign_id: str, what: str) -> ResponseReturnValue:
    """pause, resume, cancel."""
    if what not in ("pause", "resume", "cancel"):
        abort(404)
    if not UploadForm().validate_on_submit():
        abort(400)
    _campaign(campaign_id)
    try:
        with transaction():
            campaigns.change(cases(), campaign_id, what, web_sessions.actor_here())
        session[NOTICE] = what
    except WrongState:
        session[NOTICE] = "wrong_state"
    return redirect(url_for("helpdesk.campaign_page", campaign_id=campaign_id), 303)


def _wrong(typed: dict[str, str], starts_at: datetime | None) -> dict[str, str]:
    """Field -> what is wrong with it."""
    wrong = {}
    if len(typed["message"]) > LONGEST_MESSAGE:
        wrong["message"] = "message_long"
    if typed["starts_at"] and (starts_at is None or starts_at < clock.now()):
        wrong["starts_at"] = "moment"
    for field, least, most in (("per_minute", 1, MOST_PER_MINUTE), ("remind_after_days", 0, 60)):
        value = typed[field] or ("0" if field == "remind_after_days" else "")
        if not (value.isascii() and value.isdigit() and len(value) < 6 and least <= int(value) <= most):
            wrong[field] = field
    return wrong


def _list(problem: ListRefused | None = None, name: str = "") -> str:
    newest = db_session.scalars(select(Campaign).order_by(Campaign.created_at.desc()).limit(SHOWN)).all()
    counted = campaigns.funnels(db_session, [each.id for each in newest])
    rows = [(each, counted[each.id]) for each in newest]
    return render_template("helpdesk/campaigns.html", form=UploadForm(), rows=rows, problem=problem, name=name)


def _page(
    campaign_id: str, template: str, typed: dict[str, str] | None = None, wrong: dict[str, str] | None = None
) -> str:
    campaign = _campaign(campaign_id)
    entries = select(CampaignEntry).where(CampaignEntry.campaign_id == campaign_id, CampaignEntry.state == "refused")
    return render_template(
        f"helpdesk/{template}.html",
        campaign=campaign,
        funnel=campaigns.funnels(db_session, [campaign_id])[campaign_id],
        problems=list(db_session.scalars(entries.order_by(CampaignEntry.line).limit(SHOWN))),
        typed=typed or {"per_minute": "60", "remind_after_days": "3"},
        wrong=wrong or {},
        most_per_minute=MOST_PER_MINUTE,
        now=clock.now(),
        notice=session.pop(NOTICE, None) if template == "campaign" else None,
    )


def _campaign(campaign_id: str) -> Campaign:
    campaign = db_session.get(Campaign, campaign_id)
    if campaign is None:
        abort(404)
    return campaign
