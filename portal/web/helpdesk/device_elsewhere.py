"""A device that another server enrolled and manages by itself: what that tells of it, and what it can be asked."""

from flask import render_template
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from portal import clock
from portal.backends.base import BackendDown
from portal.enrollment import ending
from portal.extensions import current_portal, db_session
from portal.models import Device
from portal.web.helpdesk import command_list
from portal.web.rules import Form


class MessageForm(Form):
    title = StringField(validators=[InputRequired("message_empty"), Length(max=60, message="message_long")])
    text = TextAreaField(validators=[InputRequired("message_empty"), Length(max=500, message="message_long")])


def page(device: Device, form: Form, message: MessageForm, notice: str | None) -> str:
    """The device's page; what it allows is asked of its server now, and nothing is offered that it does not allow."""
    device_id, server = device.id, current_portal.backend.elsewhere
    allowed = _allowed(device)
    device = db_session.get_one(Device, device_id)
    now = clock.now()
    return render_template(
        "helpdesk/device_elsewhere.html",
        device=device,
        name=device.called,
        server=server.title if server is not None else "",
        console=server.console_url() if server is not None else "",
        allowed=allowed,
        same=server is not None and server.name == device.server,
        **command_list.newest(device_id),
        managed=device.is_managed,
        silent=ending.silent(device, current_portal.settings, now),
        form=form,
        message=message,
        now=now,
        notice=notice,
    )


def _allowed(device: Device) -> frozenset[str] | None:
    """The RequestTypes that its server takes for the device now; None if that server cannot be asked."""
    server, sealed = current_portal.backend.elsewhere, device.server_id_sealed
    if server is None or server.name != device.server or sealed is None or device.ended_at is not None:
        return None
    db_session.rollback()  # hold nothing while waiting for the network
    try:
        return server.allowed(sealed)
    except BackendDown:
        return None
