"""The company's own words on employees' pages."""

from flask import Flask

from portal.extensions import current_portal
from portal.settings import Settings
from portal.web import i18n


def init_app(app: Flask) -> None:
    """Give templates ``own_text(name)``: paragraphs, or none where the portal's own words are to stand."""
    app.jinja_env.globals["own_text"] = lambda name: paragraphs(current_portal.settings, name)


def paragraphs(settings: Settings, name: str) -> list[str]:
    """The words for ``name`` in the language of the page."""
    return settings.texts.own(name, i18n.current(), {"company": settings.company.name})
