"""The language of a page: the browser's, among those offered."""

from datetime import datetime

from flask import Flask, request
from flask_babel import format_datetime, get_locale

from portal import labels
from portal.apps.states import lacks_license
from portal.extensions import babel, current_portal
from portal.settings import Settings
from portal.texts import TRANSLATIONS
from portal.wording import words

RIGHT_TO_LEFT = {"ar", "fa", "he", "ur"}
UNAMBIGUOUS = "d MMM y, HH:mm"


def init_app(app: Flask, settings: Settings) -> None:
    """Choose the language for each request and tell the templates."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(TRANSLATIONS)

    def select() -> str:
        languages = current_portal.settings.languages
        return request.accept_languages.best_match(languages) or languages[0]

    babel.init_app(
        app,
        default_locale=settings.languages[0],
        locale_selector=select,
        timezone_selector=lambda: current_portal.settings.company.time_zone,
    )

    app.jinja_env.filters["datetimeformat"] = datetimeformat
    app.jinja_env.globals.update(labels=labels, words=words, lacks_license=lacks_license)

    @app.context_processor
    def language() -> dict[str, object]:
        locale = current()
        return {"locale": locale, "direction": "rtl" if locale[:2] in RIGHT_TO_LEFT else "ltr"}


def datetimeformat(value: datetime, form: str | None = None) -> str:
    """A time in the company's zone; short in English so that nobody takes a month for a day."""
    clear = UNAMBIGUOUS if form == "short" and current().startswith("en") else form
    return str(format_datetime(value, clear))


def current() -> str:
    """The locale of the page being made, like ``de``."""
    return str(get_locale() or "en")
