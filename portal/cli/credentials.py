"""Corporate credentials, from the outside."""

import click
from flask.cli import AppGroup

from portal.cli.common import fail
from portal.credentials.base import SourceUnavailable
from portal.extensions import current_portal

WORDS = {
    "not_configured": "No server is configured.",
    "unreachable": "It does not answer.",
    "timeout": "It does not answer in time.",
    "tls": "Its certificate is not trusted, or it speaks no TLS.",
    "service_password": "It does not accept the service account or its password.",
    "busy": "It says that it is busy.",
    "search": "It refuses the search.",
    "mapping": "An entry lacks what is mapped.",
    "issuer": "It calls itself something else than the configured issuer.",
    "metadata": "It does not describe itself as a provider should.",
    "keys": "Its keys cannot be read.",
}

credentials_group = AppGroup("credentials", help="Where employees and staff sign in.")


@credentials_group.command("check", with_appcontext=True)
@click.argument("username", required=False)
def credentials_check(username: str | None) -> None:
    """Say step by step what works; with USERNAME also what the directory tells of that person."""
    try:
        for line in current_portal.reachable.steps(username):
            click.echo(line)
    except SourceUnavailable as problem:
        fail(f"{WORDS.get(problem.reason, problem.reason)} ({problem.detail})")
