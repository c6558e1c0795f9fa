"""What is too large or not text is refused before anything looks at it."""

from typing import Any

from flask import Flask, abort, request

from portal import plists
from portal.pki import asn1

MACHINE_BODY_BYTES = 1024 * 1024
"""What a device that is known by its signature may send, and a backend's webhook."""
FORM_BODY_BYTES = 64 * 1024
LONGEST_FIELD = 4096
LONGEST_TEXT = 60_000
"""Characters of a field in which admins write license terms."""
UNKNOWN_SENDERS = ("apple.scep", "apple.enroll")
"""Machines' endpoints at which anybody may send; the message is read before its sender is known."""
MACHINE_BLUEPRINTS = ("apple", "hooks")
JSON_PAGES = ("staff.options_for_adding", "staff.add_passkey", "staff.options_for_signing_in", "staff.use_passkey",
              "staff.confirm_by_passkey")  # fmt: skip
"""People's endpoints that our own scripts ask with JSON."""
UPLOADS = {
    "admin.save_settings": 1_200_000,
    "admin.preview_settings": 1_200_000,
    "admin.save_terms": 600_000,
    "admin.install_profile": 600_000,
    "api.order_command": 800_000,
    "helpdesk.upload_campaign": 8_500_000,
}
"""Bytes of a form that carries a file, by endpoint."""


def json_object() -> dict[str, Any] | None:
    """The JSON object in the body; None for anything else, also for one that is nested too deep."""
    try:
        value = request.get_json(silent=True)
        plists.check_bounds(value)
    except (RecursionError, plists.BadPlist):
        return None
    return value if isinstance(value, dict) else None


def whole_number(text: str) -> int | None:
    """A number of a row as it stands in an address; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def init_app(app: Flask) -> None:
    """Bound bodies and fields; refuse NUL bytes, which no form has and PostgreSQL cannot store."""
    app.config["MAX_CONTENT_LENGTH"] = MACHINE_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MACHINE_BODY_BYTES

    @app.url_value_preprocessor  # runs before anything reads the form
    def bound_the_body(endpoint: str | None, _values: dict[str, Any] | None) -> None:
        if request.endpoint in UNKNOWN_SENDERS:
            request.max_content_length = asn1.LARGEST_MESSAGE
        elif request.blueprint not in MACHINE_BLUEPRINTS:
            request.max_content_length = UPLOADS.get(endpoint or "", FORM_BODY_BYTES)

    @app.before_request
    def refuse_bad_input() -> None:
        if "\x00" in request.path or "\x00" in (request.headers.get("User-Agent") or ""):
            abort(400)
        if request.blueprint in MACHINE_BLUEPRINTS:
            return
        if request.is_json and not (request.blueprint == "api" or request.endpoint in JSON_PAGES):
            abort(400)  # a form never comes like that; the form library would read it all the same
        for values in (request.args, request.form):
            for key, value in values.items(multi=True):
                if "\x00" in key or "\x00" in value:
                    abort(400)
                if len(value) > (LONGEST_TEXT if request.blueprint == "admin" else LONGEST_FIELD):
                    abort(413)
