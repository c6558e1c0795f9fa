"""Staff sign-in: password and a code of the second factor."""

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

from portal import clock
from portal.credentials import sign_in as corporate
from portal.credentials import throttle, totp
from portal.credentials.throttle import Throttled
from portal.extensions import db_session, portal, transaction
from portal.models import LocalAccount, Person
from portal.people import STAFF_ROLES
from portal.web import visits
from portal.web.staff import blueprint


class StaffSignInForm(FlaskForm):  # type: ignore[misc]
    username = StringField(validators=[DataRequired("username_missing"), Length(max=128, message="username_long")])
    password = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])
    code = StringField(validators=[DataRequired("code_missing"), Length(max=32, message="code_missing")])


@blueprint.route("/staff/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """One answer whatever is wrong: password, code or role."""
    form, minutes, status = StaffSignInForm(), None, 200
    if form.validate_on_submit():
        try:
            if _sign_in(form):
                return redirect(url_for("helpdesk.request_list"), 303)
            form.password.errors = ["staff_wrong"]
        except Throttled as refusal:
            minutes, status = -(-refusal.seconds // 60), 429
            form.username.errors = ["throttled"]
    if form.errors and status == 200:
        status = 422
    return render_template("staff/sign_in.html", form=form, minutes=minutes), status


@blueprint.post("/staff/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this person's staff visits, here and on every other device."""
    visit = visits.current()
    if visit is not None:
        with transaction():
            visits.end_everywhere(visit)
    return redirect(url_for("staff.sign_in"), 303)


def _sign_in(form: StaffSignInForm) -> bool:
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
        return False
    with transaction():
        account = db_session.scalar(
            select(LocalAccount)
            .where(LocalAccount.person_id == person.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        if account is None or person.role not in STAFF_ROLES:
            return False
        if not totp.use(account, portal.vault, form.code.data, now):
            return False
        throttle.succeed(db_session, attempt)
        staff = db_session.get_one(Person, person.id)
        visits.begin(visits.STAFF, staff, None, now)
    return True
