"""What holds for the pages of a blueprint, declared where the blueprint is. One without rules is not served.

Whose pages they are and who may open them, how large a body may be and of which kind, who judges the browser: each is
looked up here by the request's blueprint. What is not said is closed: staff with no role named opens nothing, a form is
small and comes from our own page, a browser that cannot go on is sent away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Flask, abort, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict

from portal.extensions import csrf

EMPLOYEE, WEB_VIEW, STAFF = "employee", "web_view", "staff"
"""Areas: a browser can be signed in to each of them, as different people. Settings' web view may share Safari's jar."""
FORM_BODY_BYTES = 64 * 1024
MACHINE_BODY_BYTES = 1024 * 1024
"""What a device that is known by its signature may send, and a backend's webhook."""


@dataclass(frozen=True, slots=True)
class Rules:
    """For every page of a blueprint; views are named without it."""

    area: str = EMPLOYEE
    roles: frozenset[str] | None = None
    """Who of staff may open them; None: whoever comes, each view sees to it itself."""
    machines: bool = False
    """Devices or servers ask: no form, no CSRF token, a body of their own size; refusals are plain text."""
    programs: bool = False
    """Programs ask with a token in a header: JSON, no CSRF token."""
    bodies: Mapping[str, int] = field(default_factory=dict)
    """Bytes of a body that may be larger, or has to be smaller, by view."""
    json_views: frozenset[str] = frozenset()
    """Views that our own scripts ask with JSON."""
    long_texts: bool = False
    """Fields may hold license terms."""
    judges_browser: bool = False
    """Only a browser that can enroll opens them ..."""
    any_browser: frozenset[str] = frozenset()
    """... but these views, which judge it themselves or are fetched by something else."""


OF_NOBODY = Rules()
"""Static files, and addresses that nothing answers."""
_RULES: dict[str, Rules] = {}


def pages(name: str, import_name: str, rules: Rules, url_prefix: str | None = None) -> Blueprint:
    """A blueprint whose pages follow ``rules``."""
    made = Blueprint(name, import_name, url_prefix=url_prefix)
    declare(name, rules)
    if rules.machines or rules.programs:
        csrf.exempt(made)
    if rules.roles is not None:
        made.before_request(_only_these_roles)
    return made


def declare(name: str, rules: Rules) -> None:
    """The rules of what is registered as ``name``."""
    _RULES[name] = rules


def here() -> Rules:
    """The rules of the page that is asked for."""
    return _RULES.get(request.blueprint or "", OF_NOBODY)


def view() -> str:
    """The name of the view that is asked for, without its blueprint."""
    return (request.endpoint or "").rpartition(".")[2]


def bearer() -> str | None:
    """The token that a device or a program shows with its request, if it does (RFC 6750 section 2.1)."""
    shown = request.authorization
    return (shown.token or None) if shown is not None and shown.type == "bearer" else None


class Form(FlaskForm):  # type: ignore[misc]
    """What was typed: a file that comes under a field's name is not looked at."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def wrap_formdata(self, _form: "Form", formdata: Any) -> MultiDict[str, str] | None:
            """See WTForms; what is no mapping stands for what the request brings."""
            if formdata is None or isinstance(formdata, MultiDict):
                return formdata
            return request.form or None


class _OwnForm(Form):
    """Only its CSRF token."""


def must_be_ours() -> None:
    """400 for a form without fields of its own that did not come from our own page."""
    if not _OwnForm().validate_on_submit():
        abort(400)


def check(app: Flask) -> None:
    """Raises LookupError if a blueprint of ``app`` declared no rules."""
    missing = set(app.blueprints) - set(_RULES)
    if missing:
        raise LookupError(f"no rules for the pages of {', '.join(sorted(missing))}")


def _only_these_roles() -> ResponseReturnValue | None:
    """Nobody signed in is asked to sign in; who is signed in with another role is refused."""
    from portal.web import web_sessions

    web_session = web_sessions.current()
    if web_session is None:
        return redirect(url_for("staff.sign_in"), 303)
    if web_session.person.role not in (here().roles or ()):
        abort(403)
    return None
