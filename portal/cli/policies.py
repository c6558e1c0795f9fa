"""Commands about policies."""

import json
import sys
from pathlib import Path

import click
from flask.cli import AppGroup

from portal.enrollment import allowed
from portal.enrollment.errors import CommandForbidden
from portal.policies import checking
from portal.policies.checking import Problem

policy_group = AppGroup("policy", help="What IT may put on personal devices.")


@policy_group.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(file: Path, as_json: bool) -> None:
    """Say what of the profile FILE applies in user enrollment; ends with 1 if it cannot be used."""
    with file.open("rb") as opened:
        content = opened.read(allowed.LARGEST_PROFILE + 1)
    try:
        problems = checking.check(allowed.open_profile(content).values)
    except CommandForbidden as refusal:
        problems = [Problem("", "", refusal.reason)]
    good = checking.usable(problems)
    if as_json:
        told = [{"payload": each.payload, "key": each.key, "problem": each.problem} for each in problems]
        click.echo(json.dumps({"usable": good, "problems": told}))
    else:
        for each in problems:
            place = " ".join(part for part in (each.payload, each.key) if part) or "the profile"
            place = "".join(letter if letter.isprintable() else "?" for letter in place)  # one problem, one line
            click.echo(f"{place}: {each.problem.replace('_', ' ')}{f' ({each.detail})' if each.detail else ''}")
        click.echo("It can be used." if good else "It cannot be used.")
    if not good:
        sys.exit(1)
