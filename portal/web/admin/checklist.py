"""What a new portal still needs before the first real invitation."""

from dataclasses import dataclass

from sqlalchemy import exists, select

from portal import discovery
from portal.extensions import current_portal, db_session
from portal.models import DiscoveryCheck, EnrollmentRequest, Person, SettingsVersion
from portal.settings import Settings
from portal.storage import terms

IN_A_DEMO = ("company", "people", "maas360", "invitation")
"""A demo has no mail server, no certificates and no website to connect; the rest can be tried in it."""


@dataclass(frozen=True)
class Item:
    """One thing to do: its code for the page's words, whether it is done, and where it is done."""

    code: str
    done: bool
    endpoint: str
    page: str = ""


def items() -> list[Item]:
    """In the order in which they are best done."""
    settings: Settings = current_portal.settings
    domains = discovery.domains(db_session, settings)
    checks = {each.domain: each.problem for each in db_session.scalars(select(DiscoveryCheck))}
    uploaded = bool(settings.profile.signing_identity or settings.profile.signing_certificate)
    every = [
        Item("company", _saved("company"), "admin.settings_page", "company"),
        Item("mail", settings.mail.transport == "smtp", "admin.settings_page", "mail"),
        Item("people", _any_account(), "admin.people_page"),
        Item("terms", _own_terms(), "admin.terms_page"),
        Item("signing", uploaded, "admin.settings_page", "backend"),
        Item("discovery", any(checks.get(each, "x") is None for each in domains), "admin.discovery_page"),
        Item("push", bool(settings.mdm.push_identity), "admin.settings_page", "backend"),
        Item("invitation", _any_enrolled(), "helpdesk.request_list"),
    ]
    if current_portal.backend.elsewhere is not None:  # it signs profiles, wakes devices, and has certificates for that
        every = [each for each in every if each.code not in ("signing", "push")]
        every.insert(-1, Item("maas360", current_portal.backend.health().ready, "admin.settings_page", "maas360"))
    return [each for each in every if each.code in IN_A_DEMO] if settings.demo else every


def _saved(page: str) -> bool:
    return bool(db_session.scalar(select(exists().where(SettingsVersion.page == page))))


def _any_account() -> bool:
    return bool(db_session.scalar(select(exists().where(Person.managed_apple_account.is_not(None)))))


def _own_terms() -> bool:
    return len(terms.versions(db_session)) > 1


def _any_enrolled() -> bool:
    return bool(db_session.scalar(select(exists().where(EnrollmentRequest.enrolled_at.is_not(None)))))
