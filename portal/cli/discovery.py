"""Service discovery from outside."""

import sys

import click
from flask.cli import AppGroup

from portal import clock, discovery
from portal.cli.common import fail
from portal.discovery import outside
from portal.extensions import current_portal

PROBLEMS = {
    "unreachable": "The domain does not answer over https.",
    "timeout": "The domain does not answer in time.",
    "tls": "The domain's certificate is not trusted.",
    "not_https": "A redirect leads away from https; iPhones do not follow it.",
    "redirects": "It redirects too often.",
    "query_lost": "The redirect loses the query: it has to repeat user-identifier and model-family.",
    "other_domain": "The portal is reached, but this domain is not one of those that may enroll.",
    "status": "The address is not served.",
    "content_type": "The answer has to be application/json.",
    "not_json": "The answer is not what iPhones understand.",
    "other_server": "The answer names another server.",
}

discovery_group = AppGroup("discovery", help="How iPhones find this portal from a company's domain.")


@discovery_group.command("check", with_appcontext=True)
@click.argument("domain")
def discovery_check(domain: str) -> None:
    """Look at DOMAIN as an iPhone would; remembers the outcome, which decides the way on iOS 15 to 17."""
    base_url = current_portal.settings.url(discovery.BASE_PATH)
    try:
        outcome = outside.check(domain, base_url)
    except outside.NoDomain:
        fail(f"{domain!r} is not the name of a domain.")
    with current_portal.database.transaction() as session:
        discovery.record(session, domain.casefold(), outcome.problem, outcome.detail, clock.now())
    for step in outcome.steps:
        click.echo(step)
    if outcome.problem:
        click.echo(f"{PROBLEMS[outcome.problem]} ({outcome.detail})", err=True)
        sys.exit(1)
    click.echo(f"Right: accounts of {domain} enroll at {base_url}.")
