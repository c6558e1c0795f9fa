"""One device: the few things IT can see of it, and the few it can do."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import abort, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from wtforms import StringField
from wtforms.validators import Length

from portal import clock
from portal.apps import delivering
from portal.declarations import speaking
from portal.declarations.status import ACCOUNTS, Known
from portal.enrollment import ending, management
from portal.enrollment.case import Case
from portal.enrollment.errors import CommandForbidden, ConfirmationWrong, DeviceGone, RemovalsHeld
from portal.extensions import cases, current_portal, db_session, transaction
from portal.models import Certificate, DeclarativeState, Device, DevicePolicy
from portal.storage import apps, policies
from portal.web import web_sessions
from portal.web.helpdesk import blueprint, command_list, device_elsewhere
from portal.web.helpdesk.device_elsewhere import MessageForm
from portal.web.rules import Form

NOTICE = "device_notice"
REPORTED = ("device.model.marketing-name", "passcode.is-present", "passcode.is-compliant", "mdm.enrollment-type")
"""What the page shows of a device's reports; model and iOS are there anyway."""
WARN_BEFORE = timedelta(days=60)
"""How long before a device's certificate runs out its page says so."""


class ConfirmForm(Form):
    confirm = StringField(validators=[Length(max=128, message="confirm_wrong")])


@blueprint.get("/devices/<device_id>")
def device_page(device_id: str) -> ResponseReturnValue:
    """Attributes, what IT put there, commands with their state, and what can be done."""
    return _page(device_id, ConfirmForm())


@blueprint.post("/devices/<device_id>/lock")
def lock_device(device_id: str) -> ResponseReturnValue:
    """Lock the screen."""
    return _do(device_id, "lock", lambda case, _typed, actor: management.lock_screen(case, actor))


@blueprint.post("/devices/<device_id>/read")
def read_device(device_id: str) -> ResponseReturnValue:
    """Read everything again."""
    return _do(device_id, "read", lambda case, _typed, actor: management.read(case, actor))


@blueprint.post("/devices/<device_id>/policies")
def send_policies(device_id: str) -> ResponseReturnValue:
    """Send every policy again."""
    return _do(device_id, "policies", lambda case, _typed, actor: speaking.send_again(case, actor))


@blueprint.post("/devices/<device_id>/apps/<app_id>")
def send_app(device_id: str, app_id: str) -> ResponseReturnValue:
    """Ask for a work app once more, whatever became of it."""
    return _do(device_id, "app", lambda case, _typed, actor: delivering.send_again(case, app_id, actor))


@blueprint.post("/devices/<device_id>/remove-work-data")
def remove_work_data(device_id: str) -> ResponseReturnValue:
    """Selective wipe, confirmed with the device's name."""
    return _do(device_id, "wipe", management.remove_work_data)


@blueprint.post("/devices/<device_id>/give-up")
def give_up(device_id: str) -> ResponseReturnValue:
    """End the enrollment of a device that does not answer, confirmed with its name."""
    return _do(device_id, "given_up", management.give_up)


@blueprint.post("/devices/<device_id>/give-back")
def give_back(device_id: str) -> ResponseReturnValue:
    """Undo a selective wipe, at a server that can."""
    return _do(device_id, "give_back", lambda case, _typed, actor: management.give_back(case, actor))


@blueprint.post("/devices/<device_id>/remove-control")
def remove_control(device_id: str) -> ResponseReturnValue:
    """Have the server that enrolled the device let it go, confirmed with its name."""
    return _do(device_id, "control", management.remove_control)


@blueprint.post("/devices/<device_id>/message")
def send_message(device_id: str) -> ResponseReturnValue:
    """A message to its owner, at a server that can."""
    form = MessageForm()
    if not form.validate_on_submit():
        return _page(device_id, ConfirmForm(formdata=None), form), 422
    title, text = form.title.data, form.text.data
    return _do(device_id, "message", lambda case, _typed, actor: management.send_message(case, title, text, actor))


def _do(device_id: str, notice: str, act: Callable[[Case, str, str], None]) -> ResponseReturnValue:
    """One action on the device's locked case (with what was typed, and who acts), and back to its page."""
    form = ConfirmForm()
    if form.validate_on_submit():
        actor = web_sessions.actor_here()
        try:
            with transaction():
                act(locked(device_id), form.confirm.data or "", actor)
            session[NOTICE] = notice
        except DeviceGone:
            session[NOTICE] = "gone"
        except RemovalsHeld:
            session[NOTICE] = "removals_held"
        except CommandForbidden as refusal:
            session[NOTICE] = f"forbidden {refusal.reason}"
        except ConfirmationWrong:
            form.confirm.errors = ["confirm_wrong"]
            return _page(device_id, form), 422
    return redirect(url_for("helpdesk.device_page", device_id=device_id), 303)


def locked(device_id: str) -> Case:
    """The case of a device, to act on it. Raises DeviceGone."""
    case = cases().of_device(device_id)
    if case is None:
        raise DeviceGone
    return case


def _page(device_id: str, form: ConfirmForm, message: MessageForm | None = None) -> str:
    device = db_session.get(Device, device_id)
    if device is None:
        abort(404)
    if device.server is not None:
        message = message or MessageForm(formdata=None)
        return device_elsewhere.page(device, form, message, session.pop(NOTICE, None))
    now = clock.now()
    assert device.certificate_fingerprint is not None
    certificate = db_session.get_one(Certificate, device.certificate_fingerprint)
    return render_template(
        "helpdesk/device.html",
        device=device,
        name=device.called,
        certificate=certificate,
        expires_soon=certificate.expires_at - now < WARN_BEFORE,
        certificates=[(each.get("CommonName"), _until(each)) for each in device.certificates],
        **command_list.newest(device_id),
        managed=device.is_managed,
        reported=_reported(device),
        accounts=_accounts(device),
        policies=policies_of(device),
        work_apps=apps.on_device(db_session, device.id) if current_portal.gives_apps else [],
        silent=ending.silent(device, current_portal.settings, now),
        admin=web_sessions.here().person.role == "admin",
        enrollment_profile=current_portal.settings.enrollment_profile,
        form=form,
        now=now,
        notice=session.pop(NOTICE, None),
    )


def _reported(device: Device) -> tuple[datetime, dict[str, Any]] | None:
    """When the device reported by itself last, and what; None if it never did."""
    state = db_session.get(DeclarativeState, device.id)
    if state is None or state.reported_at is None:
        return None
    values = Known(**state.known).values
    return state.reported_at, {name: values[name] for name in REPORTED if name in values}


def _accounts(device: Device) -> list[str]:
    """The kinds of accounts that policies set up on the device, by its own reports."""
    state = db_session.get(DeclarativeState, device.id)
    lists = Known(**state.known).lists if state is not None and state.known else {}
    return [name.removeprefix("account.list.") for name in ACCOUNTS for _ in lists.get(name, {})]


def policies_of(device: Device) -> list[tuple[str, DevicePolicy]]:
    """What became of each policy on the device, by the policy's name; nothing in a closed room."""
    return policies.on_device(db_session, device.id) if current_portal.gives_policies else []


def _until(certificate: dict[str, Any]) -> datetime | None:
    """When a certificate that the device listed runs out, if it could be read."""
    written = certificate.get("NotValidAfter")
    return datetime.fromisoformat(written) if written else None
