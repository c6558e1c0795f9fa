"""Staff sign-in: password, then a code of the second factor; whoever has none yet sets it up first."""

from datetime import datetime

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

from portal import audit, clock
from portal.credentials import passkeys, second_factor, throttle
from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem
from portal.credentials.throttle import Attempt, Throttled
from portal.extensions import db_session, portal, transaction
from portal.models import Person
from portal.notifications.messages import qr_svg
from portal.people import STAFF_ROLES
from portal.web import leaving, visits
from portal.web.staff import blueprint

PENDING = "second_factor_pending"
"""Session key: who proved the first factor, when (seconds), and a secret being set up (sealed)."""
PENDING_SECONDS = 600


class StaffSignInForm(FlaskForm):  # type: ignore[misc]
    username = StringField(validators=[DataRequired("username_missing"), Length(max=128, message="username_long")])
    password = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])
    code = StringField(validators=[Length(max=64, message="code_missing")])


class CodeForm(FlaskForm):  # type: ignore[misc]
    code = StringField(validators=[DataRequired("code_missing"), Length(max=64, message="code_missing")])


@blueprint.route("/staff/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """One answer whatever is wrong: password, code or role."""
    form, minutes, status = StaffSignInForm(), None, 200
    if form.validate_on_submit():
        try:
            answer = _sign_in(form)
            if answer is not None:
                return answer
            form.password.errors = ["staff_wrong"]
        except AccountProblem as problem:
            form.username.errors = [f"account_{problem.reason}"]
        except Throttled as refusal:
            minutes, status = -(-refusal.seconds // 60), 429
            form.username.errors = ["throttled"]
    if form.errors and status == 200:
        status = 422
    providers = [each for each in portal.settings.oidc.providers if each.helpdesk_group or each.admin_group]
    return render_template("staff/sign_in.html", form=form, minutes=minutes, providers=providers), status


@blueprint.route("/staff/second-factor", methods=["GET", "POST"])
def second_factor_page() -> ResponseReturnValue:
    """After the first factor: enter a code, or set the second factor up and get recovery codes."""
    person, now = pending_person(clock.now()), clock.now()
    if person is None:
        return redirect(url_for("staff.sign_in"), 303)
    secret, form, minutes = _secret(person), CodeForm(), None
    if form.validate_on_submit():
        try:
            answer = _check_code(person, secret, form.code.data, now)
            if answer is not None:
                return answer
            form.code.errors = ["code_wrong"]
        except Throttled as refusal:
            minutes = -(-refusal.seconds // 60)
            form.code.errors = ["throttled"]
    qr = None
    if secret is not None:
        qr = qr_svg(second_factor.address(secret, person.username, portal.settings.company.name))
    page = render_template(
        "staff/second_factor.html",
        form=form,
        secret=secret,
        qr=qr,
        minutes=minutes,
        has_passkey=bool(passkeys.of(db_session, person)),
        has_app=second_factor.has_one(db_session, person),
    )
    return page, 422 if form.errors else 200


def _check_code(person: Person, secret: str | None, code: str, now: datetime) -> ResponseReturnValue | None:
    """Signed in if the code fits, with recovery codes if the second factor is new. Raises Throttled."""
    with transaction():
        counted = f"second factor of {person.id}"
        attempt = throttle.reserve(db_session, counted, request.remote_addr or "", portal.settings.sign_in, now)
    with transaction():
        codes = None
        if secret is not None and second_factor.fits(secret, code, now):
            codes = second_factor.set_up(db_session, portal.vault, person, secret)
            db_session.flush()
            actor, detail = f"{person.role}:{person.id}", {"person": person.id}
            audit.record(db_session, audit.SETTINGS, "second_factor.set_up", now, actor=actor, detail=detail)
        if not second_factor.use(db_session, portal.vault, person, code, now):
            return None
        throttle.succeed(db_session, attempt)
        answer = begin_visit(person, now)
    return render_template("staff/recovery_codes.html", codes=codes) if codes else answer


@blueprint.post("/staff/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this person's staff visits, here and on every other device."""
    visit, provider = visits.current(), leaving.way_out()
    if visit is not None:
        with transaction():
            visits.end_everywhere(visit)
    return leaving.to(url_for("staff.sign_in"), provider)


def ask_second_factor(person: Person, now: datetime) -> ResponseReturnValue:
    """The first factor is proved: go on to the second."""
    visits.forget(visits.STAFF)
    session.pop(visits.STAFF, None)
    session[PENDING] = {"person": person.id, "at": int(now.timestamp())}
    return redirect(url_for("staff.second_factor_page"), 303)


def begin_visit(person: Person, now: datetime) -> ResponseReturnValue:
    """Both factors are proved: sign the browser in, in the caller's transaction."""
    visits.begin(visits.STAFF, db_session.get_one(Person, person.id), None, now)
    return redirect(url_for("helpdesk.request_list"), 303)


def _sign_in(form: StaffSignInForm) -> ResponseReturnValue | None:
    now = clock.now()
    try:
        person, attempt = corporate.check(
            portal.database,
            portal.sources,
            portal.settings,
            form.username.data,
            form.password.data,
            request.remote_addr or "",
            now,
        )
    except corporate.WrongCredentials:
        return None
    if person.role not in STAFF_ROLES:
        return None
    return _second_factor(person, attempt, form.code.data or "", now)


def _second_factor(person: Person, attempt: Attempt, code: str, now: datetime) -> ResponseReturnValue | None:
    with transaction():
        by_passkey = not code and passkeys.of(db_session, person)
        if by_passkey or not second_factor.has_one(db_session, person):
            throttle.succeed(db_session, attempt)
            return ask_second_factor(person, now)
        if not second_factor.use(db_session, portal.vault, person, code, now):
            return None
        throttle.succeed(db_session, attempt)
        return begin_visit(person, now)


def pending_person(now: datetime) -> Person | None:
    """Who proved the first factor in this browser within the last ten minutes."""
    pending = session.get(PENDING)
    if not isinstance(pending, dict) or int(now.timestamp()) - pending["at"] >= PENDING_SECONDS:
        return None
    person = db_session.get(Person, pending["person"])
    return person if person and person.role in STAFF_ROLES and person.disabled_at is None else None


def _secret(person: Person) -> str | None:
    """The secret being set up; None for somebody who has a second factor."""
    if second_factor.has_one(db_session, person) or passkeys.of(db_session, person):
        return None
    pending = session[PENDING]
    if "secret" not in pending:
        sealed = portal.vault.seal(second_factor.new_secret().encode()).decode()
        session[PENDING] = pending = {**pending, "secret": sealed}
    return portal.vault.open(pending["secret"].encode()).decode()
