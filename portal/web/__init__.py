"""HTTP in, HTTP out."""

from flask import Flask

from portal import jobs
from portal.extensions import db_session, portal
from portal.notifications import outbox
from portal.settings import Settings
from portal.web import apple, employee, errors, helpdesk, i18n, limits, operations, security, staff, visits


def init_app(app: Flask, settings: Settings) -> None:
    """Everything that answers, in the order in which a request meets it."""
    security.init_app(app, settings)
    limits.init_app(app)
    i18n.init_app(app, settings)
    visits.init_app(app)
    errors.init_app(app)
    app.teardown_request(nudge_worker)
    for part in (employee, apple, staff, helpdesk, operations):
        app.register_blueprint(part.blueprint)


def nudge_worker(_error: BaseException | None) -> None:
    """After a request that queued mail."""
    if db_session.info.pop(outbox.QUEUED, False):
        jobs.nudge(portal.settings)
