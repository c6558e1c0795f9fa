"""The license terms: versions in several languages, the current one, what exactly was accepted."""

import hashlib
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.models import Terms
from portal.models.enrollment import NEWEST_TERMS

FALLBACK_LOCALE = "en"


class TermsMissing(Exception):
    """No terms were published yet (run ``flask --app app setup``), or not in the fallback language."""


class TermsExist(Exception):
    """That version exists; a published text never changes."""


def publish(session: Session, version: str, texts: dict[str, str], actor: str, now: datetime) -> None:
    """Publish ``texts`` (locale -> text) as ``version``; from now on it must be accepted. Raises TermsExist."""
    if FALLBACK_LOCALE not in texts:
        raise TermsMissing(f"The terms need a text in {FALLBACK_LOCALE!r}.")
    if session.scalar(select(Terms.id).where(Terms.version == version).limit(1)):
        raise TermsExist(version)
    for locale, text in texts.items():
        session.add(Terms(version=version, locale=locale, text=text.strip() + "\n", published_at=now))
    digests = {locale: sha256(text.strip() + "\n") for locale, text in texts.items()}
    audit.record(
        session,
        audit.SETTINGS,
        "terms.published",
        now,
        actor=actor,
        detail={"version": version, "sha256": digests},
    )


def current_version(session: Session) -> str:
    """The version published last. Raises TermsMissing."""
    version = session.scalar(NEWEST_TERMS)
    if version is None:
        raise TermsMissing
    return version


def text_of(session: Session, version: str, locale: str) -> Terms:
    """The text of ``version`` in ``locale``, else in the fallback language."""
    wanted = [locale, locale.split("_")[0], FALLBACK_LOCALE]
    found = {t.locale: t for t in session.scalars(select(Terms).where(Terms.version == version))}
    for name in wanted:
        if name in found:
            return found[name]
    raise TermsMissing(version)


def sha256(text: str) -> str:
    """The hex digest that an acceptance records."""
    return hashlib.sha256(text.encode()).hexdigest()
