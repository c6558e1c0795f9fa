"""The commands of ``flask --app app``, one file a topic."""

from collections.abc import Iterable

import click
from flask import Flask

from portal.cli.apps import group as app_group
from portal.cli.common import say_plainly
from portal.cli.config import config
from portal.cli.credentials import credentials_group
from portal.cli.demo import demo_accounts, demo_people
from portal.cli.devices import device_group
from portal.cli.discovery import discovery_group
from portal.cli.iphone import iphone
from portal.cli.maintenance import audit_group, backup_group, ca, keys, removals, setup, terms_group, worker
from portal.cli.people import people_group
from portal.cli.policies import policy_group
from portal.cli.requests import invite, status

COMMANDS = (
    setup,
    ca,
    worker,
    invite,
    status,
    demo_people,
    demo_accounts,
    iphone,
    audit_group,
    backup_group,
    config,
    keys,
    removals,
    terms_group,
    people_group,
    device_group,
    policy_group,
    app_group,
    discovery_group,
    credentials_group,
)


def init_app(app: Flask) -> None:
    """Register every command."""
    for command in COMMANDS:
        app.cli.add_command(command)


def _all_say_plainly(commands: Iterable[click.Command]) -> None:
    for each in commands:
        if isinstance(each, click.Group):
            _all_say_plainly(each.commands.values())
        elif each.callback is not None:
            each.callback = say_plainly(each.callback)


_all_say_plainly(COMMANDS)
