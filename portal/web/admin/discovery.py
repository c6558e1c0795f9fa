"""How iPhones find this portal from the company's own domain: the rules to install there, and a look from outside."""

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock, discovery
from portal.discovery import outside
from portal.events import Event
from portal.extensions import current_portal, db_session, transaction
from portal.models import DiscoveryCheck
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.rules import Form

SERVERS = ("nginx", "apache", "caddy", "iis", "cloudflare", "static")


class CheckForm(Form):
    """A button."""


@blueprint.get("/discovery")
def discovery_page() -> ResponseReturnValue:
    """Domains with their last check, and the rules for each kind of web server."""
    domains = sorted(discovery.domains(db_session, current_portal.settings))
    chosen = request.args.get("server", SERVERS[0])
    return render_template(
        "admin/discovery.html",
        checks=[(domain, db_session.get(DiscoveryCheck, domain)) for domain in domains],
        servers=SERVERS,
        chosen=chosen if chosen in SERVERS else SERVERS[0],
        path=discovery.PATH,
        target=current_portal.settings.url(discovery.PATH),
        base_url=current_portal.settings.url(discovery.BASE_PATH),
        apple_address=current_portal.settings.url(f"{discovery.PATH}?via={discovery.FROM_APPLE}"),
    )


@blueprint.post("/discovery/<domain>/check")
def check_discovery(domain: str) -> ResponseReturnValue:
    """Ask the domain as an iPhone would and remember the outcome; only domains of this portal are asked."""
    if domain not in discovery.domains(db_session, current_portal.settings):
        abort(404)
    if CheckForm().validate_on_submit():
        db_session.rollback()  # hold nothing while waiting for the network
        outcome = outside.check(domain, current_portal.settings.url(discovery.BASE_PATH))
        with transaction():
            discovery.record(db_session, domain, outcome.problem, outcome.detail, clock.now())
            web_sessions.editor().record(Event.DISCOVERY_CHECKED, outcome.problem, domain=domain)
    return redirect(url_for("admin.discovery_page", _anchor="domains"), 303)
