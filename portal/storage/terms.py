"""The versions of the license terms: drafted, published, the current one, how many accepted which."""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal.audit import Editor
from portal.enrollment.terms import FALLBACK_LOCALE, TermsMissing, in_language, sha256
from portal.events import Event
from portal.models import EnrollmentRequest, Terms, TermsDraft
from portal.models.enrollment import NEWEST_TERMS
from portal.vault import Vault

__all__ = [
    "FALLBACK_LOCALE",
    "TermsExist",
    "TermsMissing",
    "current_version",
    "draft",
    "drop_draft",
    "in_language",
    "publish",
    "publish_draft",
    "publish_if_due",
    "save_draft",
    "sha256",
    "text_of",
    "texts_of",
    "versions",
]


class TermsExist(Exception):
    """That version exists; a published text never changes."""


def publish(editor: Editor, version: str, texts: dict[str, str]) -> None:
    """Publish ``texts`` (locale -> text) as ``version``; from now on it must be accepted. Raises TermsExist."""
    session, now = editor.session, editor.now
    _check_new(session, version, texts)
    for locale, text in texts.items():
        session.add(Terms(version=version, locale=locale, text=text.strip() + "\n", published_at=now))
    digests = {locale: sha256(text.strip() + "\n") for locale, text in texts.items()}
    editor.record(Event.TERMS_PUBLISHED, version=version, sha256=digests)


def save_draft(editor: Editor, version: str, texts: dict[str, str], publish_at: datetime | None) -> None:
    """Keep the next version while it is written; there is one draft. Raises TermsExist, TermsMissing."""
    session, actor, now = editor.session, editor.actor, editor.now
    _check_new(session, version, texts)
    session.execute(delete(TermsDraft))
    session.add(TermsDraft(version=version, texts=texts, publish_at=publish_at, saved_at=now, saved_by=actor))
    editor.record(Event.TERMS_DRAFTED, version=version, publish_at=publish_at.isoformat() if publish_at else None)


def draft(session: Session) -> TermsDraft | None:
    """The version that is being written, if any."""
    return session.scalar(select(TermsDraft).limit(1))


def drop_draft(editor: Editor) -> None:
    """Forget the draft, if there is one."""
    written = draft(editor.session)
    if written is not None:
        editor.session.delete(written)
        editor.record(Event.TERMS_DRAFT_DROPPED, version=written.version)


def publish_draft(editor: Editor) -> bool:
    """Publish the draft as it is; False if there is none. Raises TermsExist."""
    session = editor.session
    written = session.scalar(select(TermsDraft).limit(1).with_for_update())
    if written is None:
        return False
    publish(editor, written.version, written.texts)
    session.delete(written)
    return True


def publish_if_due(session: Session, vault: Vault, now: datetime) -> None:
    """The worker's part: publish the draft whose time has come, in the name of who saved it.

    It is dropped if its version was published by other means meanwhile: a published text never changes.
    """
    written = draft(session)
    if written is None or written.publish_at is None or written.publish_at > now:
        return
    editor = Editor(session, vault, written.saved_by, now)
    try:
        publish_draft(editor)
    except TermsExist:
        drop_draft(editor)


def versions(session: Session) -> list[tuple[str, datetime, list[str], int]]:
    """(version, published at, languages, how many accepted it last), newest first."""
    found: dict[str, tuple[str, datetime, list[str], int]] = {}
    version = EnrollmentRequest.terms_version
    counts = session.execute(select(version, func.count()).group_by(version)).all()
    accepted: dict[str | None, int] = {row[0]: row[1] for row in counts}
    for each in session.scalars(select(Terms).order_by(Terms.published_at.desc(), Terms.id)):
        entry = found.setdefault(each.version, (each.version, each.published_at, [], accepted.get(each.version, 0)))
        entry[2].append(each.locale)
    return list(found.values())


def _check_new(session: Session, version: str, texts: dict[str, str]) -> None:
    if FALLBACK_LOCALE not in texts:
        raise TermsMissing(f"The terms need a text in {FALLBACK_LOCALE!r}.")
    if session.scalar(select(Terms.id).where(Terms.version == version).limit(1)):
        raise TermsExist(version)


def current_version(session: Session) -> str:
    """The version published last. Raises TermsMissing."""
    version = session.scalar(NEWEST_TERMS)
    if version is None:
        raise TermsMissing
    return version


def texts_of(session: Session, version: str) -> dict[str, Terms]:
    """The texts of ``version``, by language."""
    return {each.locale: each for each in session.scalars(select(Terms).where(Terms.version == version))}


def text_of(session: Session, version: str, locale: str) -> Terms:
    """The text of ``version`` in ``locale``, else in the fallback language. Raises TermsMissing."""
    return in_language(texts_of(session, version), locale)
