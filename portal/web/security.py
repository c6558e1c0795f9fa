"""Headers, cookies, CSRF and whom we believe about the client's address."""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from portal.settings import ROOT, Settings

STATIC_MAX_AGE_SECONDS = 365 * 24 * 3600
HSTS = "max-age=31536000; includeSubDomains"


def content_security_policy(form_action: str = "") -> str:
    """The policy of every page; ``form_action``: where its forms may lead besides here."""
    return "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            f"form-action 'self' {form_action}".rstrip(),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


def init_app(app: Flask, settings: Settings) -> None:
    """Configure ``app`` for the public address and the trusted proxies."""
    app.config.update(
        SESSION_COOKIE_NAME="__Host-portal" if settings.secure else "portal",
        SESSION_COOKIE_SECURE=settings.secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_I18N_ENABLED=False,  # forms answer with codes; their words are ours
        WTF_CSRF_TIME_LIMIT=None,  # the token lives and dies with the session
        WTF_CSRF_SSL_STRICT=False,  # it would want a Referer, which no-referrer withholds; SameSite and the token stay
        PREFERRED_URL_SCHEME="https" if settings.secure else "http",
        SEND_FILE_MAX_AGE_DEFAULT=STATIC_MAX_AGE_SECONDS,
    )
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings)  # type: ignore[method-assign]
    app.jinja_env.globals["asset"] = _asset

    policy = content_security_policy()

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", policy)
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        if settings.secure:
            headers["Strict-Transport-Security"] = HSTS
        if request.endpoint != "static":
            headers.setdefault("Cache-Control", "no-store")
        return response


class TrustedProxies:
    """Applies ``X-Forwarded-For`` and ``-Proto`` only when the connection comes from a configured network."""

    def __init__(self, app: Callable[..., Iterable[bytes]], settings: Settings) -> None:
        self._direct = app
        self._proxied = ProxyFix(app, x_for=1, x_proto=1, x_host=0)
        self._networks = settings.proxy.trusted

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        app = self._proxied if self._trusts(environ.get("REMOTE_ADDR", "")) else self._direct
        return app(environ, start_response)

    def _trusts(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


@lru_cache(maxsize=64)
def _asset(name: str) -> str:
    """The address of a static file, changing with its content so that it can be kept for a year."""
    version = hashlib.sha256((ROOT / "static" / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={version}"
