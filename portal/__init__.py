"""The enrollment portal."""

from flask import Flask

from portal import cli, extensions, logs, web
from portal.settings import ROOT, Settings, SettingsError, load

__all__ = ["create_app"]


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. ``settings`` default to the configuration files and the environment."""
    settings = settings or _load()
    app = Flask("portal", root_path=str(ROOT), template_folder="templates", static_folder="static")
    logs.init_app(app)
    extensions.init_app(app, settings)
    web.init_app(app, settings)
    cli.init_app(app)
    return app


def _load() -> Settings:
    try:
        return load()
    except SettingsError as wrong:  # says what to change; where it was noticed helps nobody
        raise SystemExit(str(wrong)) from None
