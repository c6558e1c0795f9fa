"""The demo's mail, readable in the browser. Outside the demo these addresses do not exist."""

import email
import email.policy
from pathlib import Path

from flask import abort, render_template
from flask.typing import ResponseReturnValue

from portal.extensions import current_portal
from portal.notifications.email import FOLDER
from portal.notifications.messages import PHONE
from portal.web.staff import blueprint

NEWEST = 50


@blueprint.get("/staff/outbox")
def outbox() -> ResponseReturnValue:
    """The newest mails first."""
    if not current_portal.settings.demo:
        abort(404)
    files = sorted((current_portal.settings.data / FOLDER).glob("*.eml"), reverse=True)[:NEWEST]
    return render_template("staff/outbox.html", mails=[_read(path) for path in files])


def _read(path: Path) -> dict[str, str]:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    body = message.get_body(("plain",))
    return {
        "to": str(message["To"] or message[PHONE]),
        "subject": str(message["Subject"]),
        "text": body.get_content() if body else "",
    }
