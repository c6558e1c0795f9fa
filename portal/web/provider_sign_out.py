"""Signing out of the provider, too, through which a browser signed in (OpenID Connect RP-Initiated Logout 1.0)."""

from flask import redirect, render_template, session
from flask.typing import ResponseReturnValue

from portal.extensions import current_portal

PROVIDER = "provider"
"""Session key: the provider this browser came through."""


def came_through(provider: str) -> None:
    """Remember it for the way out."""
    session[PROVIDER] = provider


def to(address: str, provider: str | None) -> ResponseReturnValue:
    """On to ``address`` of ours, by way of the provider if there was one. ``provider`` as ``way_out`` told."""
    known = current_portal.providers.get(provider or "")
    elsewhere = known.logout_address(current_portal.settings.url(address)) if known else None
    if known is None or elsewhere is None:
        return redirect(address, 303)
    return on_to(elsewhere, known.settings.title)


def way_out() -> str | None:
    """The provider that this browser came through; forgotten by asking."""
    found = session.pop(PROVIDER, None)
    return str(found) if found else None


def on_to(address: str, title: str) -> ResponseReturnValue:
    """A page that leads to another site at once: what follows a form may not redirect there (form-action)."""
    return render_template("employee/forward.html", address=address, title=title)
