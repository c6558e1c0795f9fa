"""Forms that have no fields of their own: only whether they are ours."""

from flask import abort
from flask_wtf import FlaskForm


class _OwnForm(FlaskForm):  # type: ignore[misc]
    """Only its CSRF token."""


def must_be_ours() -> None:
    """400 for a form that did not come from our own page."""
    if not _OwnForm().validate_on_submit():
        abort(400)
