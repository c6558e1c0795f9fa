"""Secrets that are kept while a part is edited: they may only go where they went, as safely as they went.

Which of hundreds of keys send a secret elsewhere nobody can list with certainty; which surely do not is a short list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from portal.policies import content
from portal.policies.checking import CERTIFICATES
from portal.policies.content import Part

HARMLESS = frozenset(
    {
        "AutoJoin",
        "HIDDEN_NETWORK",
        "EmailAccountDescription",
        "EmailAccountName",
        "CalDAVAccountDescription",
        "CardDAVAccountDescription",
        "LDAPAccountDescription",
        "SubCalAccountDescription",
        "UserDefinedName",
        "PayloadDisplayName",
        "PayloadDescription",
        "EnableMail",
        "EnableContacts",
        "EnableCalendars",
        "EnableReminders",
        "EnableNotes",
        "PreventMove",
        "PreventAppSheet",
        "MailNumberOfPastDaysToSync",
    }
)
"""Keys (dotted paths) that change nothing about where a secret goes, or how."""


def sent_elsewhere(before: Part, after: Part) -> list[str]:
    """The secrets of a part (dotted paths) that stayed although something changed by which they may go elsewhere."""
    had, has = content.secrets(before), content.secrets(after)
    kept = [path for path, value in has.items() if had.get(path) == value]
    return kept if kept and _rest(before) != _rest(after) else []


def trusting(before: Part, after: Part, parts: Sequence[Part]) -> list[Part]:
    """The parts with secrets that go by the certificate that ``before`` was, if that became another one."""
    if before.type not in CERTIFICATES or before.values == after.values:
        return []
    return [each for each in parts if before.uuid.upper() in content.references(each) and content.secrets(each)]


def _rest(part: Part) -> Mapping[str, Any]:
    secret = content.secrets(part)
    return {path: value for path, value in content.walk(part.values) if path not in secret and path not in HARMLESS}
