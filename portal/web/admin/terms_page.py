"""The license terms: published versions, and the next one while it is written."""

from datetime import datetime

from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.extensions import current_portal, db_session, transaction
from portal.storage import terms
from portal.storage.terms import TermsExist, TermsMissing
from portal.web import web_sessions
from portal.web.admin import blueprint
from portal.web.rules import must_be_ours

NOTICE = "terms_notice"
LONGEST_VERSION = 32


@blueprint.get("/terms")
def terms_page() -> ResponseReturnValue:
    """Every version, and the draft."""
    return _page()


@blueprint.get("/terms/<version>/<language>")
def terms_text(version: str, language: str) -> ResponseReturnValue:
    """One published text, as it was accepted."""
    try:
        shown = terms.text_of(db_session, version, language)
    except TermsMissing:
        abort(404)
    return render_template("admin/terms_text.html", terms=shown)


@blueprint.post("/terms")
def save_terms() -> ResponseReturnValue:
    """Save the draft, publish it now, or throw it away, by the button that was pressed."""
    must_be_ours()
    what, now = request.form.get("what", "save"), clock.now()
    if what == "drop":
        with transaction():
            terms.drop_draft(web_sessions.editor())
        return _back("dropped")
    version = request.form.get("version", "").strip()
    texts = {
        language: text.replace("\r\n", "\n")
        for language in current_portal.settings.languages
        if (text := request.form.get(f"text.{language}", "").strip())
    }
    publish_at = clock.typed(request.form.get("publish_at", ""))
    problem = _problem(version, texts, publish_at, now)
    if problem is None:
        try:
            with transaction():
                editor = web_sessions.editor()
                terms.save_draft(editor, version, texts, publish_at if what != "publish" else None)
                if what == "publish":
                    terms.publish_draft(editor)
            return _back("published" if what == "publish" else "planned" if publish_at else "saved")
        except TermsExist:
            problem = "exists"
        except TermsMissing:
            problem = "missing"
    return _page(version, texts, request.form.get("publish_at", ""), problem), 422


def _problem(version: str, texts: dict[str, str], publish_at: datetime | None, now: datetime) -> str | None:
    if not version or len(version) > LONGEST_VERSION or "/" in version:
        return "version"
    if not texts.get(terms.FALLBACK_LOCALE):
        return "missing"
    if request.form.get("publish_at") and (publish_at is None or publish_at <= now):
        return "date"
    return None


def _page(
    version: str = "", texts: dict[str, str] | None = None, publish_at: str = "", problem: str | None = None
) -> str:
    draft, published = terms.draft(db_session), terms.versions(db_session)
    if texts is None and draft is not None:
        version, texts = draft.version, draft.texts
        publish_at = f"{draft.publish_at:%Y-%m-%dT%H:%M}" if draft.publish_at else ""
    if texts is None and published:
        current = terms.current_version(db_session)
        texts = {each: terms.text_of(db_session, current, each).text for each in current_portal.settings.languages}
    return render_template(
        "admin/terms.html",
        draft=draft,
        published=published,
        version=version,
        texts=texts or {},
        publish_at=publish_at,
        problem=problem,
        languages=current_portal.settings.languages,
        notice=session.pop(NOTICE, None),
    )


def _back(notice: str) -> ResponseReturnValue:
    session[NOTICE] = notice
    return redirect(url_for("admin.terms_page"), 303)
