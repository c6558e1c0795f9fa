"""The only place that holds framework objects. Each is bound to an application in ``create_app``."""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast

from flask import Flask, current_app, g, has_app_context
from flask_babel import Babel
from flask_login import LoginManager
from flask_wtf import CSRFProtect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from werkzeug.local import LocalProxy

from portal.services import Portal
from portal.settings import Settings
from portal.storage.cases import Cases
from portal.vault import VaultError

babel = Babel()
csrf = CSRFProtect()
login_manager = LoginManager()


def _portal() -> Portal:
    return cast(Portal, current_app.extensions["portal"])


def _session() -> Session:
    if "db_session" not in g:
        g.db_session = _portal().database.session()
    return cast(Session, g.db_session)


current_portal = cast(Portal, LocalProxy(_portal))
db_session = cast(Session, LocalProxy(_session))


def transaction() -> AbstractContextManager[Session]:
    """Write on the request's session in one piece; see Database.transaction."""
    return _portal().database.transaction(_session())


def only_while(check: Callable[[Session], object] | None) -> None:
    """From here on each transaction of this request is kept only while ``check`` lets it (``Database.check``).

    None: whatever happens.
    """
    g.only_while = check


def _check(session: Session) -> None:
    check = g.get("only_while") if has_app_context() else None
    if check is not None:
        check(session)


def cases() -> Cases:
    """The cases of this portal, in the request's session, as of now."""
    return Cases(_session(), _portal())


def init_app(app: Flask, settings: Settings) -> None:
    """Bind everything here to ``app``."""
    held = app.extensions["portal"] = Portal(settings)
    held.database.check = _check
    app.secret_key = secrets.token_bytes(32)  # before setup nothing is served but 503

    def sign() -> None:
        try:
            keys = held.signing_keys("web sessions")
        except (VaultError, DBAPIError):
            return
        app.secret_key = keys[-1]
        app.config["SECRET_KEY_FALLBACKS"] = keys[:-1]
        app.config["WTF_CSRF_SECRET_KEY"] = keys

    sign()
    app.before_request(held.refresh)

    @app.before_request
    def retire_old_keys() -> None:
        if app.config.get("SECRET_KEY_FALLBACKS"):
            sign()

    csrf.init_app(app)
    login_manager.init_app(app, add_context_processor=False)  # it would ask the database on each page, errors too

    @app.teardown_appcontext
    def close_session(_error: BaseException | None) -> None:
        session = g.pop("db_session", None)
        if session is not None:
            session.close()
