"""One request: what to say on the phone, the steps, the timeline, and what can be done about it."""

from collections.abc import Callable
from typing import TypeVar

from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from wtforms import StringField, TextAreaField
from wtforms.validators import Length

from portal import audit, clock, people
from portal.credentials import throttle
from portal.enrollment import access, advice, ending, invitations, journey
from portal.enrollment.case import Case
from portal.enrollment.errors import NoPhone, RemovalsHeld, RequestEnded, UnknownPerson
from portal.enrollment.invitations import Asker
from portal.extensions import cases, current_portal, db_session, transaction
from portal.models import Device, EnrollmentRequest, OutboxMessage, Person
from portal.notifications.messages import qr_svg
from portal.people import STAFF_ROLES
from portal.storage import search
from portal.web import web_sessions
from portal.web.helpdesk import blueprint, command_list
from portal.web.helpdesk.device_page import policies_of
from portal.web.rules import Form

NOTICE = "helpdesk_notice"
Result = TypeVar("Result")


class ActionForm(Form):
    """A button."""


class HandOverForm(Form):
    colleague = StringField(validators=[Length(max=16)])
    note = TextAreaField(validators=[Length(max=invitations.LONGEST_NOTE, message="note_long")])


@blueprint.get("/requests/<request_id>")
def request_page(request_id: str) -> ResponseReturnValue:
    """Everything about one request; with ``part=live`` only what changes, for the page's script."""
    if request.args.get("part") == "live":
        return render_template("helpdesk/request_live.html", **_facts(request_id))
    return _page(request_id)


@blueprint.post("/requests/<request_id>/resend")
def resend(request_id: str) -> ResponseReturnValue:
    """A new mail with a new link and passcode."""
    by = Asker(web_sessions.actor_here(), web_sessions.here().person.name)
    return _do(request_id, lambda case: invitations.resend(case, by), "resent")


@blueprint.post("/requests/<request_id>/new-passcode")
def new_passcode(request_id: str) -> ResponseReturnValue:
    """Only a new passcode; on the screen, too, if that was asked for and an admin allows it."""
    shown, actor = request.form.get("shown") == "yes", web_sessions.actor_here()
    code = _act(request_id, lambda case: invitations.new_passcode(case, actor, shown=shown))
    session[NOTICE] = "new_passcode"
    return _page(request_id, passcode=code) if code else _back(request_id)


@blueprint.post("/requests/<request_id>/text")
def send_text(request_id: str) -> ResponseReturnValue:
    """The link by text message."""
    actor = web_sessions.actor_here()
    return _do(request_id, lambda case: invitations.send_text(case, actor), "texted")


@blueprint.post("/requests/<request_id>/unlock")
def unlock(request_id: str) -> ResponseReturnValue:
    """Signing in, and having passcodes sent, works for the employee again."""
    actor = web_sessions.actor_here()

    def act(case: Case) -> None:
        invitations.unlock(case, actor)
        throttle.clear(db_session, throttle.password_of(case.request.person))

    return _do(request_id, act, "unlocked")


@blueprint.post("/requests/<request_id>/extend")
def extend(request_id: str) -> ResponseReturnValue:
    """The whole lifetime again, from now."""
    actor = web_sessions.actor_here()
    return _do(request_id, lambda case: invitations.extend(case, actor), "extended")


@blueprint.post("/requests/<request_id>/cancel")
def cancel(request_id: str) -> ResponseReturnValue:
    """End the request; its links, passcode and profile stop working, an enrolled device is asked to leave."""
    known = _known(request_id)
    if known.ended_at is not None:
        session[NOTICE] = "over"
        return _back(request_id)
    actor = web_sessions.actor_here()
    notice = "cancelled" if known.enrolled_at is None else "leaving"
    return _do(request_id, lambda case: ending.cancel(case, actor), notice)


@blueprint.post("/requests/<request_id>/hand-over")
def hand_over(request_id: str) -> ResponseReturnValue:
    """To a colleague, with a note."""
    form, actor = HandOverForm(), web_sessions.actor_here()
    colleague = db_session.get(Person, form.colleague.data or "")
    if not form.validate_on_submit() or colleague is None:
        return _page(request_id, form=form), 422
    note = form.note.data or ""
    return _do(request_id, lambda case: invitations.hand_over(case, colleague, note, actor), "handed_over")


@blueprint.post("/requests/<request_id>/sign-in-again")
def sign_in_again(request_id: str) -> ResponseReturnValue:
    """The device's owner has to sign in again in Settings; the enrollment stays."""
    actor = web_sessions.actor_here()
    asked = _act(request_id, lambda case: access.ask_to_sign_in_again(case, actor))
    session[NOTICE] = "sign_in_again" if asked else "over"
    return _back(request_id)


@blueprint.post("/requests/<request_id>/qr")
def show_qr(request_id: str) -> ResponseReturnValue:
    """A QR code with a link of its own, as large as the screen and ready to print; audited."""
    actor = web_sessions.actor_here()
    token = _act(request_id, lambda case: invitations.show_qr(case, actor))
    address = current_portal.settings.url(f"/e/{token}")
    return render_template("helpdesk/qr.html", request_=_known(request_id), qr=qr_svg(address))


class NotDone(Exception):
    """An action was refused, or not confirmed; the request's page says why."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


@blueprint.errorhandler(NotDone)
def _not_done(refusal: NotDone) -> ResponseReturnValue:
    return _back(refusal.request_id)


REFUSED: dict[type[Exception], str] = {
    RequestEnded: "over",
    RemovalsHeld: "removals_held",
    UnknownPerson: "no_colleague",
    NoPhone: "no_phone",
}
"""What the page says of a refusal."""


def _act(request_id: str, act: Callable[[Case], Result]) -> Result:
    """What one confirmed action on the locked case gave. Raises NotDone."""
    _known(request_id)
    if not ActionForm().validate_on_submit():
        raise NotDone(request_id)
    try:
        with transaction():
            return act(cases().lock(request_id))
    except tuple(REFUSED) as refusal:
        session[NOTICE] = REFUSED[type(refusal)]
        raise NotDone(request_id) from None


def _do(request_id: str, act: Callable[[Case], object], notice: str) -> ResponseReturnValue:
    """The same, and back to the page that says what it did."""
    _act(request_id, act)
    session[NOTICE] = notice
    return _back(request_id)


def _page(request_id: str, form: HandOverForm | None = None, passcode: str = "") -> str:
    staff = select(Person).where(Person.role.in_(STAFF_ROLES), Person.disabled_at.is_(None)).order_by(Person.name)
    return render_template(
        "helpdesk/request.html",
        form=form or HandOverForm(),
        passcode=passcode,
        may_show_passcode=current_portal.settings.passcode.shown_to_helpdesk,
        may_text=current_portal.settings.sms.transport != "none",
        lifetime=current_portal.settings.enrollment.request_lifetime_days,
        colleagues=[each for each in db_session.scalars(staff) if each.id != web_sessions.here().person_id],
        notice=session.pop(NOTICE, None),
        **_facts(request_id),
    )


def _facts(request_id: str) -> dict[str, object]:
    """All that the page tells of one request."""
    known, now = _known(request_id), clock.now()
    facts = journey.of(known)
    device = db_session.scalar(
        select(Device).where(Device.request_id == request_id).order_by(Device.authenticated_at.desc())
    )
    mails = list(
        db_session.scalars(
            select(OutboxMessage).where(OutboxMessage.request_id == request_id).order_by(OutboxMessage.created_at)
        )
    )
    events = audit.timeline(db_session, request_id)
    step = journey.current_step(facts, now)
    attention = search.attention_of(db_session, current_portal.settings, known, now)
    return {
        "request_": known,
        "status": journey.status(facts, now),
        "step": step,
        "steps": _steps(known, facts),
        "open": known.can_enroll(now),
        "closed": not known.is_unfinished,
        "advice": advice.give(
            cases().view(known),
            events,
            mails,
            attention,
            policies_of(device) if device else (),
            served=step is not journey.Step.PROFILE or current_portal.backend.health().ready,
        ),
        "attention": attention,
        "events": list(reversed(events)),
        "actors": people.names_of_actors(db_session, (each.actor for each in events)),
        "device": device,
        "commands": command_list.counted(device.id) if device is not None else (0, 0),
        "mails": mails,
        "handed_to": db_session.get(Person, known.handed_to) if known.handed_to else None,
        "code": journey.short_code(known.id),
        "now": now,
    }


def _steps(known: EnrollmentRequest, facts: journey.Facts) -> list[tuple[journey.Step, object]]:
    """Every step with the time it was done, or None."""
    done = (
        known.signed_in_at,
        known.ownership_at if known.ownership == "employee" else None,
        known.privacy_at,
        known.passcode_verified_at,
        known.overview_at,
        known.terms_accepted_at,
        facts.profile_downloaded_at,
        known.enrolled_at,
    )
    return list(zip(journey.STEPS, done, strict=True))


def _known(request_id: str) -> EnrollmentRequest:
    known = db_session.get(EnrollmentRequest, request_id)
    if known is None:
        abort(404)
    return known


def _back(request_id: str) -> ResponseReturnValue:
    return redirect(url_for("helpdesk.request_page", request_id=request_id), 303)
