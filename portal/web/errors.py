"""The one place where refusals of the domain become a page or a status."""

import logging

from flask import Flask, jsonify, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from portal.backends import NotSetUp
from portal.backends.base import ManagedElsewhere
from portal.credentials.base import SourceUnavailable
from portal.enrollment import errors as refusals
from portal.enrollment.profile import ProfileNotSigned
from portal.extensions import current_portal
from portal.people import ProofOver
from portal.pki.authority import AuthorityMissing
from portal.vault import VaultError
from portal.web import rules, web_sessions
from portal.web.employee import steps

log = logging.getLogger("portal.errors")
RETRY_SECONDS = "5"
STAFF_PATHS = ("/admin/", "/helpdesk/", "/staff/")
"""Where pages are for staff, also those that there are not."""

PAGES: dict[type[Exception], tuple[str, int]] = {
    refusals.LinkUnusable: ("link", 404),
    refusals.WrongPerson: ("wrong_person", 403),
    refusals.NoManagedAppleAccount: ("no_managed_apple_account", 403),
    refusals.SelfEnrollmentOff: ("self_enrollment_off", 403),
    refusals.TooManyDevices: ("too_many_devices", 403),
    refusals.ProfileUnavailable: ("profile", 404),
    refusals.BackendUnavailable: ("unavailable", 503),
    ManagedElsewhere: ("unavailable", 503),
    ProfileNotSigned: ("unavailable", 503),
    SourceUnavailable: ("unavailable", 503),
    AuthorityMissing: ("unavailable", 503),
    NotSetUp: ("unavailable", 503),
    VaultError: ("unavailable", 503),
    OperationalError: ("unavailable", 503),
    PoolTimeout: ("unavailable", 503),
    DBAPIError: ("unavailable", 503),
}
HTTP_PAGES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    405: "bad_request",
    413: "too_large",
    503: "unavailable",
}


def init_app(app: Flask) -> None:
    """Register every refusal."""
    for kind in PAGES:
        app.register_error_handler(kind, _refused)
    app.register_error_handler(refusals.StepOutOfOrder, _to_current_step)
    app.register_error_handler(refusals.RequestEnded, _to_current_step)
    app.register_error_handler(ProofOver, _sign_in_again)
    app.register_error_handler(refusals.WrongAccount, _wrong_account)
    app.register_error_handler(refusals.HandoverRefused, _handover_refused)
    app.register_error_handler(CSRFError, _form_too_old)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def for_machines() -> bool:
    """Whether the answer goes to a device rather than a person."""
    return rules.here().machines or request.path.startswith(("/mdm", "/scep")) or request.path == "/apple/enroll"


def page(name: str, status: int, **values: object) -> tuple[str, int, dict[str, str]]:
    """An error page, or a plain reason for machines."""
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else {}
    if for_machines():
        return name + "\n", status, {"Content-Type": "text/plain; charset=utf-8", **headers}
    staff = web_sessions.area() == rules.STAFF or request.path.startswith(STAFF_PATHS)
    return render_template(f"errors/{name}.html", again=_again(), staff=staff, **values), status, headers


def _again() -> str:
    """Where to try again: the same page, or where a form or a file was asked for."""
    if request.method != "GET" or request.endpoint == "safari.profile_file":
        return steps.page("continue_journey")
    return request.full_path.removesuffix("?")


def _refused(error: Exception) -> ResponseReturnValue:
    name, status = next(PAGES[kind] for kind in type(error).__mro__ if kind in PAGES)
    if isinstance(error, refusals.LinkUnusable):
        return page(name, status, may_begin=current_portal.settings.enrollment.self_enrollment)
    if status == 503:
        log.error("unavailable error=%s", type(error).__name__, exc_info=error)
    return page(name, status)


def _to_current_step(_error: Exception) -> ResponseReturnValue:
    return redirect(steps.page("continue_journey"), 303)


def _sign_in_again(_error: Exception) -> ResponseReturnValue:
    if rules.view() in rules.here().json_views:
        return jsonify(error="signed-out"), 403
    session[web_sessions.SIGNED_OUT] = True
    if web_sessions.area() == rules.STAFF:
        return redirect(url_for("staff.sign_in"), 303)
    return redirect(steps.page("sign_in"), 303)


def _wrong_account(error: refusals.WrongAccount) -> ResponseReturnValue:
    return page("wrong_account", 403, account=error.account)


def _handover_refused(error: refusals.HandoverRefused) -> ResponseReturnValue:
    return page("handover", 403, reason=error.reason)


def _form_too_old(_error: Exception) -> ResponseReturnValue:
    return page("form_too_old", 400)


def _http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if status < 400:
        return error
    answer = page(HTTP_PAGES.get(status, "unexpected" if status >= 500 else "bad_request"), status)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer[2]["Allow"] = ", ".join(sorted(allowed))
    return answer


def _unexpected(error: Exception) -> ResponseReturnValue:
    log.error("unexpected error=%s", type(error).__name__, exc_info=error)
    return page("unexpected", 500)
