"""One request: status, step, timeline, device; sending again, the QR code, cancelling."""

from flask import abort, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import select

from portal import audit, clock
from portal.enrollment import access, journey, requests
from portal.extensions import db_session, portal, transaction
from portal.models import Command, Device, EnrollmentRequest, OutboxMessage, Visit
from portal.notifications.messages import qr_svg
from portal.web import visits
from portal.web.helpdesk import blueprint

NOTICE = "helpdesk_notice"


class ActionForm(FlaskForm):  # type: ignore[misc]
    """A button."""


@blueprint.get("/requests/<request_id>")
def request_page(request_id: str) -> ResponseReturnValue:
    """Everything about one request."""
    return _page(request_id)


@blueprint.post("/requests/<request_id>/resend")
def resend(request_id: str) -> ResponseReturnValue:
    """A new mail with a new link and passcode."""
    if _confirmed(request_id):
        with transaction():
            requests.resend(
                db_session,
                portal.vault,
                portal.settings,
                request_id,
                clock.now(),
                asked_by=_visit().person.name,
                actor=visits.actor(_visit()),
            )
        session[NOTICE] = "resent"
    return _back(request_id)


@blueprint.post("/requests/<request_id>/cancel")
def cancel(request_id: str) -> ResponseReturnValue:
    """End the request; its links, passcode and profile stop working."""
    if _confirmed(request_id):
        with transaction():
            requests.cancel(db_session, request_id, visits.actor(_visit()), clock.now())
        session[NOTICE] = "cancelled"
    return _back(request_id)


@blueprint.post("/requests/<request_id>/sign-in-again")
def sign_in_again(request_id: str) -> ResponseReturnValue:
    """The device's owner has to sign in again in Settings; the enrollment stays."""
    if ActionForm().validate_on_submit():
        if db_session.get(EnrollmentRequest, request_id) is None:
            abort(404)
        with transaction():
            asked = access.ask_to_sign_in_again(db_session, request_id, visits.actor(_visit()), clock.now())
        session[NOTICE] = "sign_in_again" if asked else "over"
    return _back(request_id)


@blueprint.post("/requests/<request_id>/qr")
def show_qr(request_id: str) -> ResponseReturnValue:
    """A QR code with a link of its own; shown once, audited."""
    if not _confirmed(request_id):
        return _back(request_id)
    with transaction():
        token = requests.show_qr(db_session, request_id, visits.actor(_visit()), clock.now())
    return _page(request_id, qr=qr_svg(portal.settings.url(f"/e/{token}")))


def _page(request_id: str, qr: str | None = None) -> str:
    request = db_session.get(EnrollmentRequest, request_id)
    if request is None:
        abort(404)
    now = clock.now()
    facts = journey.of(request)
    device = db_session.scalar(
        select(Device).where(Device.request_id == request_id).order_by(Device.authenticated_at.desc())
    )
    commands = []
    if device is not None:
        commands = list(db_session.scalars(select(Command).where(Command.device_id == device.id).order_by(Command.id)))
    mails = db_session.scalars(
        select(OutboxMessage).where(OutboxMessage.request_id == request_id).order_by(OutboxMessage.created_at)
    ).all()
    return render_template(
        "helpdesk/request.html",
        request_=request,
        status=journey.status(facts, now),
        step=journey.current_step(facts, now),
        open=request.enrolled_at is None and not facts.over(now),
        events=audit.timeline(db_session, request_id),
        device=device,
        commands=commands,
        mails=mails,
        qr=qr,
        form=ActionForm(),
        notice=session.pop(NOTICE, None),
    )


def _confirmed(request_id: str) -> bool:
    request = db_session.get(EnrollmentRequest, request_id)
    if request is None or not ActionForm().validate_on_submit():
        return False
    if request.enrolled_at is not None or journey.of(request).over(clock.now()):
        session[NOTICE] = "over"
        return False
    return True


def _visit() -> Visit:
    visit = visits.current()
    assert visit is not None  # the blueprint lets nobody else in
    return visit


def _back(request_id: str) -> ResponseReturnValue:
    return redirect(url_for("helpdesk.request_page", request_id=request_id), 303)
