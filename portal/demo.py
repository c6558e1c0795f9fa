"""The demo company: plainly made-up people, with passwords and second factors made at first start."""

import json
import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from portal import people
from portal.credentials import local, second_factor
from portal.models import Person
from portal.settings import Settings
from portal.vault import Vault

FILE = "demo-accounts.json"
PEOPLE = (
    ("employee1", "Demo Employee One", "employee", True),
    ("employee2", "Demo Employee Two", "employee", True),
    ("employee3", "Demo Employee Three", "employee", False),
    ("employee4", "Demo Employee Four", "employee", True),
    ("helpdesk1", "Demo Helpdesk", "helpdesk", False),
    ("admin1", "Demo Admin", "admin", False),
)


class NotADemo(Exception):
    """Demo accounts exist only where ``demo`` is set."""


def load_people(session: Session, vault: Vault, settings: Settings, now: datetime) -> None:
    """Create the demo's people once. Raises NotADemo."""
    if not settings.demo:
        raise NotADemo
    path = settings.data / FILE
    if path.exists():
        return
    accounts = [_create(session, vault, row, now) for row in PEOPLE]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(accounts, file, indent=1)


def accounts(settings: Settings) -> list[dict[str, Any]]:
    """What ``demo-accounts --json`` prints. Raises NotADemo."""
    path: Path = settings.data / FILE
    if not settings.demo or not path.exists():
        raise NotADemo
    return list(json.loads(path.read_text()))


def _create(session: Session, vault: Vault, row: tuple[str, str, str, bool], now: datetime) -> dict[str, Any]:
    username, name, role, managed = row
    password, secret = secrets.token_urlsafe(9), None
    account = f"{username}@work.example" if managed else None
    person = people.by_username(session, username) or Person(username=username, created_at=now)
    person.name, person.email, person.role = name, f"{username}@example.com", role
    person.managed_apple_account, person.locale = account, "en"
    session.add(person)
    local.set_password(session, person, password)
    session.flush()
    if role in people.STAFF_ROLES:
        secret = second_factor.new_secret()
        second_factor.set_up(session, vault, person, secret)
    return {
        "username": username,
        "password": password,
        "role": role,
        "totp_secret": secret,
        "managed_apple_account": account,
    }
