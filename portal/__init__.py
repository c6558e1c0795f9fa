"""The enrollment portal."""

import logging
import os
from collections.abc import Callable
from typing import Any

from flask import Flask

from portal import cli, extensions, logs, web
from portal.settings import ROOT, Settings, SettingsError, load, unknown_variables

__all__ = ["create_app"]

log = logging.getLogger("portal.settings")


class Application(Flask):
    """Flask, but for what no view of ours is."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Itself: nothing here is a coroutine. Flask would look at each function that a request meets."""
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. ``settings`` default to the configuration files and the environment."""
    strange = unknown_variables(os.environ) if settings is None else []
    settings = settings or _load()
    app = Application("portal", root_path=str(ROOT), template_folder="templates", static_folder="static")
    logs.init_app(app)
    for name in strange:
        log.warning("settings.variable_sets_nothing name=%s", name)
    extensions.init_app(app, settings)
    web.init_app(app, settings)
    cli.init_app(app)
    return app


def _load() -> Settings:
    try:
        return load()
    except SettingsError as wrong:  # says what to change; where it was noticed helps nobody
        raise SystemExit(str(wrong)) from None
