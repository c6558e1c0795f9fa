"""Setting a local password by a one-time link, and changing it with the old one."""

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, EqualTo, InputRequired, Length

from portal import clock, people
from portal.credentials import passwords, throttle
from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem
from portal.credentials.passwords import LinkUsed, PasswordRefused
from portal.credentials.throttle import Throttled
from portal.extensions import current_portal, db_session, transaction
from portal.models import LONGEST_USERNAME, Person
from portal.web.account import blueprint
from portal.web.employee.steps import FORM_REFUSED
from portal.web.rules import Form

CHANGED = "password_changed"
"""Session key: say once on the next page that it worked."""


class NewPasswordForm(Form):
    new = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])
    again = PasswordField(validators=[EqualTo("new", message="password_differs")])


class ChangePasswordForm(NewPasswordForm):
    username = StringField(
        validators=[DataRequired("username_missing"), Length(max=LONGEST_USERNAME, message="username_long")]
    )
    password = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])


@blueprint.route("/account/password/<token>", methods=["GET", "POST"])
def set_password(token: str) -> ResponseReturnValue:
    """Whoever holds the link chooses a password, once."""
    form, now = NewPasswordForm(), clock.now()
    try:
        person = passwords.owner(db_session, token, now)
        if form.validate_on_submit():
            chosen = passwords.judged(form.new.data, person, current_portal.settings)
            with transaction():
                passwords.set_by_link(db_session, token, chosen, now)
            return _done()
    except PasswordRefused as refusal:
        form.new.errors = [refusal.reason]
    except LinkUsed:
        return render_template("account/link_used.html"), 404
    return _page(form, person), FORM_REFUSED if form.errors else 200


@blueprint.route("/account/password", methods=["GET", "POST"])
def change_password() -> ResponseReturnValue:
    """With the old password, as at a sign-in and counted like one."""
    form, now, minutes = ChangePasswordForm(), clock.now(), None
    if session.pop(CHANGED, False):
        return render_template("account/done.html")
    if form.validate_on_submit():
        try:
            if _change(form):
                return _done()
            form.password.errors = ["credentials_wrong"]
        except PasswordRefused as refusal:
            form.new.errors = [refusal.reason]
        except Throttled as refusal:
            minutes = refusal.minutes
            form.username.errors = ["throttled"]
        except AccountProblem as problem:
            form.username.errors = [f"account_{problem.reason}"]
    return _page(form, None, minutes=minutes, now=now), FORM_REFUSED if form.errors else 200


def _change(form: ChangePasswordForm) -> bool:
    now, settings = clock.now(), current_portal.settings
    try:
        person, attempt = corporate.check(
            current_portal, form.username.data, form.password.data, request.remote_addr or "", now
        )
    except corporate.WrongCredentials:
        return False
    if person.source != people.LOCAL:
        raise AccountProblem("elsewhere")
    with transaction():
        throttle.release(db_session, attempt)  # the old password was right, whatever becomes of the new one
    chosen = passwords.judged(form.new.data, person, settings)
    try:
        with transaction():
            throttle.reserve_alone(db_session, throttle.new_password_of(person), settings.sign_in, now)
            passwords.change(db_session, person, chosen, now)
    except people.ProofOver:
        return False
    return True


def _done() -> ResponseReturnValue:
    session.clear()
    session[CHANGED] = True
    return redirect(url_for("account.change_password"), 303)


def _page(form: NewPasswordForm, person: Person | None, **values: object) -> str:
    return render_template(
        "account/password.html",
        form=form,
        person=person,
        length=current_portal.settings.sign_in.password_length,
        **values,
    )
