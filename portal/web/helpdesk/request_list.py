"""The list of requests, and inviting one more person."""

from datetime import timedelta

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import or_, select
from wtforms import StringField
from wtforms.validators import DataRequired, Length

from portal import clock, people
from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.enrollment import journey, requests
from portal.enrollment.errors import NoManagedAppleAccount, UnknownPerson
from portal.extensions import db_session, portal, transaction
from portal.models import AuditEvent, EnrollmentRequest, IssuedProfile, Person
from portal.web import visits
from portal.web.helpdesk import blueprint

PAGE_SIZE = 50
RECENT = timedelta(days=7)


class InviteForm(FlaskForm):  # type: ignore[misc]
    username = StringField(validators=[DataRequired("username_missing"), Length(max=128, message="username_long")])


@blueprint.get("")
def request_list() -> ResponseReturnValue:
    """The newest requests, found by name, username or e-mail, filtered by status."""
    return _page(InviteForm())


@blueprint.post("/requests")
def invite() -> ResponseReturnValue:
    """Create a request; refused, with the reason, for a person without a Managed Apple Account."""
    form = InviteForm()
    visit = visits.current()
    if not form.validate_on_submit() or visit is None:
        return _page(form), 422
    try:
        person = corporate.look_up(portal.database, portal.sources, portal.settings, form.username.data, clock.now())
        if person is None:
            raise UnknownPerson
        with transaction():
            created = requests.create(
                db_session,
                portal.vault,
                portal.settings,
                db_session.get_one(Person, person.id),
                visit.person.role,
                clock.now(),
                asked_by=visit.person.name,
                actor=visits.actor(visit),
            )
        return redirect(url_for("helpdesk.request_page", request_id=created.request.id), 303)
    except UnknownPerson:
        form.username.errors = ["person_unknown"]
    except AccountProblem as problem:
        form.username.errors = [f"account_{problem.reason}"]
    except SourceUnavailable:
        form.username.errors = ["directory_unavailable"]
    except NoManagedAppleAccount:
        form.username.errors = ["person_without_account"]
    return _page(form), 422


def _page(form: InviteForm) -> str:
    now = clock.now()
    search, wanted = request.args.get("q", "").strip(), request.args.get("status", "")
    status = journey.status_expression(now)
    query = (
        select(EnrollmentRequest, status)
        .outerjoin(IssuedProfile, IssuedProfile.id == EnrollmentRequest.profile_id)
        .join(Person, Person.id == EnrollmentRequest.person_id)
        .order_by(EnrollmentRequest.created_at.desc())
        .limit(PAGE_SIZE)
    )
    if search:
        pattern = f"%{search.casefold().replace('%', '').replace('_', '')}%"
        query = query.where(
            or_(Person.username.ilike(pattern), Person.name.ilike(pattern), Person.email.ilike(pattern))
        )
    if wanted in set(journey.Status):
        query = query.where(status == wanted)
    rows = []
    for found, state in db_session.execute(query).unique():
        facts = journey.of(found)
        rows.append({"request": found, "status": state, "step": journey.current_step(facts, now)})
    refused = db_session.scalars(
        select(AuditEvent)
        .where(
            AuditEvent.chain == people.PEOPLE_CHAIN, AuditEvent.kind == "request.refused", AuditEvent.at > now - RECENT
        )
        .order_by(AuditEvent.seq.desc())
        .limit(5)
    ).all()
    return render_template(
        "helpdesk/list.html",
        form=form,
        rows=rows,
        search=search,
        wanted=wanted,
        statuses=list(journey.Status),
        refused=refused,
        notice=session.pop("helpdesk_notice", None),
    )
