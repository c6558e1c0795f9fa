"""What is too large or not text is refused before anything looks at it."""

import json
from typing import Any

from flask import Flask, abort, request

from portal import plists
from portal.web import rules
from portal.web.rules import FORM_BODY_BYTES, MACHINE_BODY_BYTES

LONGEST_FIELD = 4096
LONGEST_TEXT = 60_000
"""Characters of a field in which admins write license terms."""


def json_object() -> dict[str, Any] | None:
    """The JSON object in the body; None for anything else, also for one that is nested too deep, or is no text."""
    try:
        value = request.get_json(silent=True)
        plists.check_bounds(value)
        json.dumps(value, ensure_ascii=False).encode()  # half a character, which JSON can name, no database takes
    except (RecursionError, UnicodeEncodeError, plists.BadPlist):
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
    def bound_the_body(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
        followed = rules.here()
        usual = MACHINE_BODY_BYTES if followed.machines else FORM_BODY_BYTES
        request.max_content_length = followed.bodies.get(rules.view(), usual)

    @app.before_request
    def refuse_bad_input() -> None:
        if "\x00" in request.path or "\x00" in (request.headers.get("User-Agent") or ""):
            abort(400)
        followed = rules.here()
        if followed.machines:
            return
        if request.is_json and not (followed.programs or rules.view() in followed.json_views):
            abort(400)  # a form never comes like that; the form library would read it all the same
        for values in (request.args, request.form):
            for key, value in values.items(multi=True):
                if "\x00" in key or "\x00" in value:
                    abort(400)
                if len(value) > (LONGEST_TEXT if followed.long_texts else LONGEST_FIELD):
                    abort(413)
        for key, file in request.files.items(multi=True):
            if "\x00" in key or "\x00" in (file.filename or ""):
                abort(400)
