"""Commands of the demo."""

import json

import click

from portal import clock, demo
from portal.cli.common import command, fail
from portal.extensions import current_portal


@command("demo-people")
def demo_people() -> None:
    """Create the demo company's people (demo only)."""
    try:
        with current_portal.database.transaction() as session:
            demo.load_people(session, current_portal.vault, current_portal.settings, clock.now())
    except demo.NotADemo:
        fail("This portal is not a demo.")


@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@command("demo-accounts")
def demo_accounts(as_json: bool) -> None:
    """The demo's people with their passwords and TOTP secrets (demo only)."""
    try:
        found = demo.accounts(current_portal.settings)
    except demo.NotADemo:
        fail("This portal is not a demo.")
    if as_json:
        click.echo(json.dumps(found))
        return
    for account in found:
        click.echo("  ".join(str(value) for value in account.values() if value))
