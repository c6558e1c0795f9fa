"""HTTP in, HTTP out."""

from flask import Flask

from portal import jobs
from portal.extensions import current_portal, db_session
from portal.notifications import outbox
from portal.settings import Settings
from portal.storage.cases import APPS_DUE, COMMANDS_QUEUED
from portal.web import (
    account,
    admin,
    api,
    apple,
    brand,
    employee,
    errors,
    helpdesk,
    hooks,
    i18n,
    limits,
    my,
    operations,
    own_texts,
    rules,
    security,
    staff,
    web_sessions,
)
from portal.web.apple.sign_in import handover
from portal.web.single_sign_on import blueprint as single_sign_on_pages


def init_app(app: Flask, settings: Settings) -> None:
    """Everything that answers, in the order in which a request meets it."""
    security.init_app(app, settings)
    limits.init_app(app)
    i18n.init_app(app, settings)
    own_texts.init_app(app)
    web_sessions.init_app(app)
    errors.init_app(app)
    app.teardown_request(nudge_worker)
    employee.init_app(app)
    for pages in (
        api.blueprint,
        brand.blueprint,
        apple.blueprint,
        account.blueprint,
        handover,
        my.blueprint,
        single_sign_on_pages,
        staff.blueprint,
        helpdesk.blueprint,
        admin.blueprint,
        operations.blueprint,
        hooks.blueprint,
    ):
        app.register_blueprint(pages)
    rules.check(app)


def nudge_worker(_error: BaseException | None) -> None:
    """After a request that queued mail, or commands for a backend that can wake their devices."""
    mail, orders = db_session.info.pop(outbox.QUEUED, False), db_session.info.pop(COMMANDS_QUEUED, False)
    if db_session.info.pop(APPS_DUE, False):
        jobs.nudge(current_portal.settings, jobs.POLICIES)
    if mail:
        jobs.nudge(current_portal.settings)
    if orders and current_portal.backend.wakes_devices:
        jobs.nudge(current_portal.settings, jobs.DEVICES)
