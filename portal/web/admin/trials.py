"""The "try it" buttons: what the settings on a page do when they are really used, told line by line."""

import re
from collections.abc import Callable

from portal import clock
from portal.backends.base import BackendDown
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.extensions import current_portal
from portal.models import Person, new_id
from portal.notifications import messages
from portal.notifications.email import NotDelivered, Undeliverable, open_transport
from portal.notifications.sms import open_gateway
from portal.services import signer_of
from portal.settings import Settings
from portal.web import i18n

MOST_LINES = 12
Outcome = tuple[bool, list[str]]
"""Whether it worked, and what happened; the lines are technical and not translated."""


def mail(settings: Settings, admin: Person, _who: str) -> Outcome:
    """Send a mail to the admin's own address, now."""
    message = messages.trial(settings, admin)
    try:
        open_transport(settings).send(new_id(), message, clock.now())
    except (NotDelivered, Undeliverable) as problem:
        return False, [str(problem)]
    return True, [admin.email]


def sms(settings: Settings, _admin: Person, who: str) -> Outcome:
    """Send a text message to the number that was typed, now."""
    if not re.fullmatch(r"\+?[\d ()/.-]{5,40}", who):
        return False, ["no number"]
    try:
        message = messages.trial_text(settings, who, i18n.current())
        open_gateway(settings).send(new_id(), message, clock.now())
    except (NotDelivered, Undeliverable) as problem:
        return False, [str(problem)]
    return True, [who]


def directory(settings: Settings, _admin: Person, who: str) -> Outcome:
    """Connect to every server, bind, and read the person ``who`` if one is named."""
    if not settings.ldap.servers:
        return False, ["servers is empty: no directory"]
    from portal.credentials.directory import Directory

    asked, lines = Directory(settings.ldap), []
    try:
        for line in asked.probe(who or None):
            lines.append(line)
    except SourceUnavailable as problem:
        return False, [*lines, _said(problem)]
    except AccountProblem as problem:
        return False, [*lines, f"refused: {problem.reason}"]
    finally:
        asked.close()
    return True, lines


def providers(settings: Settings, _admin: Person, _who: str) -> Outcome:
    """Ask every provider for its metadata and keys."""
    if not settings.oidc.providers:
        return False, ["no provider"]
    from portal.credentials.oidc import Provider

    lines, worked = [], True
    for chosen in settings.oidc.providers:
        name, provider = chosen.name, Provider(chosen)
        try:
            provider.metadata()
            lines.append(f"{name}: {provider.settings.issuer} answers as it should")
        except SourceUnavailable as problem:
            worked = False
            lines.append(f"{name}: {_said(problem)}")
    return worked, lines


def _said(problem: SourceUnavailable) -> str:
    return f"{problem.reason}: {problem.detail}" if problem.detail else problem.reason


def backend(settings: Settings, _admin: Person, _who: str) -> Outcome:
    """Ask the device management, and open the certificate that signs profiles."""
    health = current_portal.backend.health()
    lines = [f"{current_portal.settings.mdm.backend}: {'ready' if health.ready else health.reason}"]
    try:
        certificate = signer_of(settings, current_portal.authority).certificate
    except (OSError, ValueError) as problem:
        return False, [*lines, f"signing certificate: {problem}"]
    days = (certificate.not_valid_after_utc - clock.now()).days
    lines.append(f"profiles are signed by {certificate.subject.rfc4514_string()}, valid for {days} more days")
    return health.ready and days > 0, lines


def maas360(settings: Settings, _admin: Person, _who: str) -> Outcome:
    """Sign in at MaaS360 and read one page of devices."""
    from portal.backends.maas360.client import Client, Refused, host_of
    from portal.backends.maas360.names import NAMES, problem_of

    chosen = settings.maas360
    problems = [f"{each}: {problem}" for each in chosen.names if (problem := problem_of(each))]
    if not host_of(chosen):
        return False, ["host is empty, and the billing ID tells none", *problems]
    lines = [host_of(chosen)]
    try:
        count = Client(chosen).trial()
    except BackendDown as down:
        return False, [*lines, f"does not let the portal in: {down.reason}", *problems]
    except Refused as refusal:
        return False, [*lines, f"signed in; devices cannot be read: it says {refusal.code}", *problems]
    lines += ["signed in", f"{count} devices can be read"]
    if not (chosen.discovery_url or chosen.enrollment_url):
        problems.append("neither discovery_url nor enrollment_url is set: nobody can enroll")
    lines.append(f"{len(NAMES)} names are unverified, {len(chosen.names)} corrected")
    return not problems, [*lines, *problems]


TRIALS: dict[str, Callable[[Settings, Person, str], Outcome]] = {
    "mail": mail,
    "sms": sms,
    "directory": directory,
    "providers": providers,
    "backend": backend,
    "maas360": maas360,
}
"""By page of settings."""
