"""The employee's forms. Validation answers with codes; their words are in components/messages.html."""

from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import AnyOf, DataRequired, InputRequired, Length, ValidationError

from portal.enrollment import passcode as passcodes
from portal.models import LONGEST_USERNAME
from portal.web.rules import Form


class SignInForm(Form):
    username = StringField(
        validators=[DataRequired("username_missing"), Length(max=LONGEST_USERNAME, message="username_long")]
    )
    password = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])


class OwnershipForm(Form):
    ownership = StringField(validators=[AnyOf(("employee", "corporate"), message="ownership_missing")])


class AcknowledgeForm(Form):
    acknowledge = StringField(validators=[InputRequired("acknowledge_missing")])


def _six_digits(_form: Form, field: StringField) -> None:
    """What cannot be a passcode is no try at one."""
    if not passcodes.is_one(field.data or ""):
        raise ValidationError("passcode_format")


class PasscodeForm(Form):
    passcode = StringField(
        validators=[DataRequired("passcode_missing"), Length(max=64, message="passcode_format"), _six_digits]
    )


class ContinueForm(Form):
    """A page with nothing to say but "go on"; the field is named ``continue``."""


class TermsForm(Form):
    accept = StringField(validators=[InputRequired("accept_missing")])
    version = HiddenField()
    sha256 = HiddenField()
