"""What device-management backends tell the portal."""

import logging

from flask import abort, request
from flask.typing import ResponseReturnValue

from portal import clock, jobs
from portal.backends.nanomdm import events
from portal.extensions import current_portal, db_session, transaction
from portal.web.rules import Rules, pages

blueprint = pages("hooks", __name__, Rules(machines=True))  # the body is signed

log = logging.getLogger("portal.nanomdm")


@blueprint.post("/hooks/nanomdm")
def nanomdm() -> ResponseReturnValue:
    """One webhook: 200 as soon as it is stored (or known already); NanoMDM never sends it again."""
    if current_portal.settings.mdm.backend != "nanomdm":
        abort(404)
    body = request.get_data()
    try:
        events.check(body, request.headers.get(events.SIGNATURE, ""), current_portal.settings.nanomdm.webhook_secret)
        with transaction():
            new = events.store(db_session, current_portal.vault, body, clock.now())
    except events.NotGenuine:
        log.warning("nanomdm.webhook_not_genuine")
        return _plain("the signature does not fit\n", 403)
    except events.NotUnderstood as problem:
        log.warning("nanomdm.webhook_not_understood error=%s", problem)
        return _plain("not a webhook of NanoMDM\n", 400)
    if new:
        jobs.nudge(current_portal.settings, jobs.DEVICES)
    return _plain("stored\n" if new else "known\n", 200)


def _plain(text: str, status: int) -> ResponseReturnValue:
    return text, status, {"Content-Type": "text/plain; charset=utf-8"}
