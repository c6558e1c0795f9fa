"""What employees see of their managed iPhones later on: the work apps on them, and those that they may take.

They sign in as for enrolling; whose devices are shown is whoever signed in.
"""

from flask import abort, g, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import audit, clock, jobs, people
from portal.events import Actor, Event
from portal.extensions import cases, current_portal, db_session, transaction
from portal.models import Device, EnrollmentRequest, WebSession
from portal.storage import apps
from portal.storage.apps import NotOffered, TooOften
from portal.web import web_sessions
from portal.web.employee.enter import LINK, MY
from portal.web.rules import Form, Rules, pages

blueprint = pages("my", __name__, Rules())
NOTICE = "my_notice"


class ChoiceForm(Form):
    """Nothing but the proof that it comes from our own page."""


@blueprint.get("/my")
def my_devices() -> ResponseReturnValue:
    """Own devices with their work apps; who is not signed in signs in first."""
    if not current_portal.gives_apps:
        abort(404)
    web_session = web_sessions.current()
    if web_session is None:
        session.pop(LINK, None)
        session[MY] = True
        return redirect(url_for("employee.sign_in"), 303)
    g.walker = web_session.person.name
    devices = _devices(web_session)
    granted = apps.granted(db_session, web_session.person_id)
    return render_template(
        "my/devices.html",
        devices=[(each, each.called, apps.on_device(db_session, each.id)) for each in devices],
        offered=[each for each in granted if not each.by_itself],
        notice=session.pop(NOTICE, None),
    )


@blueprint.post("/my/apps/<app_id>/<wish>")
def choose_app(app_id: str, wish: str) -> ResponseReturnValue:
    """Take an app that is offered, or give it back."""
    if not current_portal.gives_apps or wish not in ("take", "give-back"):
        abort(404)
    web_session = web_sessions.current()
    if web_session is None:
        return redirect(url_for("my.my_devices"), 303)
    if not ChoiceForm().validate_on_submit():
        abort(400)
    now = clock.now()
    try:
        with transaction():
            changed = apps.choose(db_session, web_session.person_id, app_id, wish == "take", now)
            if changed:
                _tell_trail(web_session, app_id, wish)
    except NotOffered:
        abort(404)
    except TooOften:
        session[NOTICE] = "too_often"
        return redirect(url_for("my.my_devices"), 303)
    if changed:
        jobs.nudge(current_portal.settings, jobs.POLICIES)
    session[NOTICE] = wish
    return redirect(url_for("my.my_devices"), 303)


def _tell_trail(web_session: WebSession, app_id: str, wish: str) -> None:
    """With each device that it concerns; with the person, while there is none."""
    app, devices = apps.find(db_session, app_id), _devices(web_session)
    reason, detail = None if wish == "take" else "given_back", {"app": app.name if app is not None else ""}
    for device in devices:
        case = cases().of_device(device.id)
        if case is not None:
            case.record(Event.APP_CHOSEN, reason, detail=detail, actor=Actor.EMPLOYEE)
    if not devices:
        told = {**detail, "person": web_session.person_id}
        audit.record(db_session, people.PEOPLE_CHAIN, Event.APP_CHOSEN, clock.now(), reason=reason,
                     actor=Actor.EMPLOYEE, detail=told)  # fmt: skip


def _devices(web_session: WebSession) -> list[Device]:
    """The managed devices of who is signed in, the newest first."""
    query = (
        select(Device)
        .join(EnrollmentRequest, EnrollmentRequest.id == Device.request_id)
        .where(EnrollmentRequest.person_id == web_session.person_id)
        .where(Device.is_managed_here)
    )
    return list(db_session.scalars(query.order_by(Device.enrolled_at.desc())))
