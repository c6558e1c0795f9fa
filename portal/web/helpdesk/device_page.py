"""One device: the few things IT can see of it, and the few it can do."""

from flask import abort, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import StringField
from wtforms.validators import Length

from portal import clock
from portal.enrollment import management
from portal.enrollment.management import ConfirmationWrong, DeviceGone
from portal.extensions import db_session, portal, transaction
from portal.models import Command, Device
from portal.web import visits
from portal.web.helpdesk import blueprint

NOTICE = "device_notice"


class ConfirmForm(FlaskForm):  # type: ignore[misc]
    confirm = StringField(validators=[Length(max=128, message="confirm_wrong")])


@blueprint.get("/devices/<device_id>")
def device_page(device_id: str) -> ResponseReturnValue:
    """Attributes, commands with their state, and what can be done."""
    return _page(device_id, ConfirmForm())


@blueprint.post("/devices/<device_id>/lock")
def lock_device(device_id: str) -> ResponseReturnValue:
    """Lock the screen."""
    if ConfirmForm().validate_on_submit():
        try:
            with transaction():
                management.lock_screen(db_session, portal.backend, device_id, visits.actor_here(), clock.now())
            session[NOTICE] = "lock"
        except DeviceGone:
            session[NOTICE] = "gone"
    return redirect(url_for("helpdesk.device_page", device_id=device_id), 303)


@blueprint.post("/devices/<device_id>/remove-work-data")
def remove_work_data(device_id: str) -> ResponseReturnValue:
    """Selective wipe, confirmed with the device's name."""
    form = ConfirmForm()
    if form.validate_on_submit():
        try:
            with transaction():
                management.remove_work_data(
                    db_session,
                    portal.backend,
                    portal.settings,
                    device_id,
                    form.confirm.data or "",
                    visits.actor_here(),
                    clock.now(),
                )
            session[NOTICE] = "wipe"
        except DeviceGone:
            session[NOTICE] = "gone"
        except ConfirmationWrong:
            form.confirm.errors = ["confirm_wrong"]
            return _page(device_id, form), 422
    return redirect(url_for("helpdesk.device_page", device_id=device_id), 303)


def _page(device_id: str, form: ConfirmForm) -> str:
    device = db_session.get(Device, device_id)
    if device is None:
        abort(404)
    commands = db_session.scalars(select(Command).where(Command.device_id == device_id).order_by(Command.id.desc()))
    return render_template(
        "helpdesk/device.html",
        device=device,
        name=management.name_of(device),
        commands=list(commands),
        managed=device.enrolled_at is not None and device.ended_at is None,
        form=form,
        notice=session.pop(NOTICE, None),
    )
