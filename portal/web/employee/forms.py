"""The employee's forms. Validation answers with codes; their words are in components/messages.html."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import AnyOf, DataRequired, InputRequired, Length


class SignInForm(FlaskForm):  # type: ignore[misc]
    username = StringField(validators=[DataRequired("username_missing"), Length(max=128, message="username_long")])
    password = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])


class OwnershipForm(FlaskForm):  # type: ignore[misc]
    ownership = StringField(validators=[AnyOf(("employee", "corporate"), message="ownership_missing")])


class AcknowledgeForm(FlaskForm):  # type: ignore[misc]
    acknowledge = StringField(validators=[InputRequired("acknowledge_missing")])


class PasscodeForm(FlaskForm):  # type: ignore[misc]
    passcode = StringField(validators=[DataRequired("passcode_missing"), Length(max=64, message="passcode_format")])


class ContinueForm(FlaskForm):  # type: ignore[misc]
    """A page with nothing to say but "go on"; the field is named ``continue``."""


class TermsForm(FlaskForm):  # type: ignore[misc]
    accept = StringField(validators=[InputRequired("accept_missing")])
    version = HiddenField()
    sha256 = HiddenField()
