"""Settings that admins change while the portal runs: a page for each topic, its history, tests and previews."""

from typing import Any

from cryptography import x509
from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import people
from portal.extensions import current_portal, db_session, transaction
from portal.models import SettingsVersion
from portal.settings import TEXT_VARIABLES, held_secrets, overlay, saving
from portal.settings.overlay import NotValid, Problem
from portal.settings.saving import LocksOut, SavedMeanwhile, SettingsEditor
from portal.web import web_sessions
from portal.web.admin import blueprint, previews, settings_form, trials
from portal.web.admin.settings_form import ONLY_WITH, PAGES, Field, fields_of
from portal.web.limits import whole_number
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

INDEX = {
    "company": ("company", "texts", "terms_page"),
    "enrolling": ("enrollment", "from-settings", "accounts", "discovery_page"),
    "signing-in": ("sign-in", "directory", "providers"),
    "messages": ("mail", "sms", "notifications"),
    "devices": ("backend", "maas360", "device_management", "apple_business_page"),
    "work": ("policies", "policy_list", "policy_catalogue", "apps", "app_list"),
    "records": ("tokens_page", "retention"),
}
"""What the page of all settings leads to, by group: pages of settings, and views of this blueprint."""
NOTICE = "settings_notice"
"""Session key: what happened to the settings, for the next page."""
HISTORY_SHOWN = 20
UNSHOWN = {"secret_keys", "database_url", "queue.redis_url", "nanomdm.api_key", "nanomdm.webhook_secret"}
"""Fixed settings that hold secrets or may hold a password."""


@blueprint.get("/settings")
def settings_index() -> ResponseReturnValue:
    """Every page of settings, and what only the files can say."""
    fixed = [(name, overlay.value_of(current_portal.live.base, name)) for name in sorted(overlay.FIXED - UNSHOWN)]
    backend = current_portal.settings.mdm.backend
    groups = {
        group: [(page, _at(page)) for page in pages if ONLY_WITH.get(page, backend) == backend]
        for group, pages in INDEX.items()
    }
    return render_template("admin/settings_index.html", groups=groups, fixed=fixed)


def _at(page: str) -> str:
    return url_for("admin.settings_page", page=page) if page in PAGES else url_for(f"admin.{page}")


@blueprint.get("/settings/<page>")
def settings_page(page: str) -> ResponseReturnValue:
    """One page as it is saved now."""
    return _page(page)


TAKE_FROM_EVERYBODY = {"apps", "policies"}
"""Pages with a switch that takes what is on everybody's device."""


def _holds_secrets() -> bool:
    """Whether the page of this request decides where held secrets go, or who signs."""
    page = (request.view_args or {}).get("page", "")
    kinds = {part.kind for field in _fields(page) for part in (field, *field.parts)}
    return bool(kinds & {"secret", "identity"})


def _needs_proof() -> bool:
    return _holds_secrets() or (request.view_args or {}).get("page") in TAKE_FROM_EVERYBODY


@blueprint.post("/settings/<page>")
@fresh_proof(_needs_proof)
def save_settings(page: str) -> ResponseReturnValue:
    """Save, or show the page again with what is wrong, what somebody else changed, or whom it would lock out."""
    fields = _fields(page)
    must_be_ours()
    seen = request.form.get("seen", 0, type=int)
    try:
        wanted = settings_form.read(fields, request.form, request.files, current_portal.settings)
    except NotValid as refused:
        return _page(page, problems=refused.problems, entered=True), 422
    try:
        with transaction():
            confirmed = request.form.get("confirm") == "yes"
            changed = saving.save(_editor(), page, wanted, seen=seen, confirmed=confirmed)
    except NotValid as refused:
        return _page(page, wanted=wanted, problems=refused.problems, entered=True), 422
    except SavedMeanwhile as meanwhile:
        return _page(page, wanted=wanted, meanwhile=meanwhile, entered=True), 409
    except LocksOut:
        return _page(page, wanted=wanted, locks_out=True, entered=True), 422
    current_portal.refresh(0)
    session[NOTICE] = [_outcome(changed, wanted)]
    return redirect(url_for("admin.settings_page", page=page), 303)


def _outcome(changed: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What is said of a save; a held secret that would have gone to another server is gone."""
    emptied = [name for name in changed if wanted.get(name) == held_secrets.KEPT]
    emptied += [name for name in held_secrets.IN_TABLES if name in changed and secret_lost(changed[name])]
    return "secret_emptied" if emptied else "saved" if changed else "unchanged"


def secret_lost(change: list[list[dict[str, Any]]]) -> bool:
    """Whether a table that is still there has a secret no more (``change``: masked tables before and after)."""
    before, after = ({each["name"]: bool(each.get("client_secret")) for each in tables} for tables in change)
    return any(before[name] and not after[name] for name in before.keys() & after)


@blueprint.post("/settings/<page>/try")
@fresh_proof(_holds_secrets)
def try_settings(page: str) -> ResponseReturnValue:
    """Try what is on the page, saved or not: send a mail, ask the directory or a provider, the backend.

    A held secret is used only for the server that it was typed for.
    """
    fields = _fields(page)
    if page not in trials.TRIALS:
        abort(404)
    must_be_ours()
    try:
        wanted = settings_form.read(fields, request.form, request.files, current_portal.settings)
        settings = overlay.lay_over(current_portal.settings, held_secrets.settle(wanted, _value))
    except NotValid as refused:
        return _page(page, problems=refused.problems, entered=True), 422
    admin = web_sessions.here().person
    db_session.commit()  # hold nothing while waiting for the network
    worked, lines = trials.TRIALS[page](settings, admin, request.form.get("who", "").strip())
    return _page(page, wanted=wanted, entered=True, tried=(worked, lines[: trials.MOST_LINES]))


@blueprint.post("/settings/<page>/preview")
def preview_settings(page: str) -> ResponseReturnValue:
    """What employees would see with what is typed but not saved."""
    fields = _fields(page)
    if page not in ("company", "texts"):
        abort(404)
    must_be_ours()
    try:
        wanted = settings_form.read(fields, request.form, request.files, current_portal.settings)
        settings = overlay.lay_over(current_portal.live.base, {**_current(fields), **wanted})
    except NotValid as refused:
        return _page(page, problems=refused.problems, entered=True), 422
    return previews.show(settings, request.form.get("show", ""), web_sessions.here().person)


@blueprint.post("/settings/history/<version>/restore")
@fresh_proof()
def restore_settings(version: str) -> ResponseReturnValue:
    """Bring back what was before one save."""
    must_be_ours()
    number = whole_number(version)
    entry = db_session.get(SettingsVersion, number) if number is not None else None
    if entry is None:
        abort(404)
    try:
        with transaction():
            confirmed = request.form.get("confirm") == "yes"
            saving.restore(_editor(), entry.id, confirmed)
    except NotValid:
        session[NOTICE] = ["restore_not_valid"]
    except LocksOut:
        session[NOTICE] = ["restore_locks_out"]
    else:
        current_portal.refresh(0)
        session[NOTICE] = ["restored"]
    return redirect(url_for("admin.settings_page", page=entry.page if entry.page in PAGES else "company"), 303)


def _editor() -> SettingsEditor:
    """Who saves on this page, in the request's transaction."""
    return SettingsEditor(**vars(web_sessions.editor()), base=current_portal.live.base)


def _page(
    page: str,
    *,
    wanted: dict[str, Any] | None = None,
    problems: list[Problem] | None = None,
    meanwhile: SavedMeanwhile | None = None,
    locks_out: bool = False,
    entered: bool = False,
    tried: tuple[bool, list[str]] | None = None,
) -> str:
    fields = _fields(page)
    current = _current(fields)
    shown = {**current, **(wanted or {})}
    typed = {field.name: _typed(field, shown[field.name], entered) for field in fields}
    history = saving.history(db_session, page, {field.name for field in fields}, HISTORY_SHOWN)
    actors = [each.actor for each in history] + ([meanwhile.by] if meanwhile else [])
    seen = meanwhile.version if meanwhile else request.form.get("seen", "0") if entered else _version(page)
    return render_template(
        "admin/settings_page.html",
        page=page,
        fields=fields,
        typed=typed,
        current=current,
        pinned=overlay.pinned(),
        problems=problems or [],
        wrong={each.name: each for each in problems or []},
        meanwhile=meanwhile,
        locks_out=locks_out,
        seen=seen,
        history=history,
        names=people.names_of_actors(db_session, actors),
        masked=overlay.masked,
        languages=current_portal.settings.languages,
        variables=TEXT_VARIABLES,
        uploaded=_uploaded(fields),
        trial=page in trials.TRIALS,
        tried=tried,
        who=request.form.get("who", ""),
        notice=session.pop(NOTICE, None),
    )


def _uploaded(fields: tuple[Field, ...]) -> dict[str, x509.Certificate]:
    """The certificates that were uploaded, by setting."""
    texts = {
        each.name: overlay.value_of(current_portal.settings, each.name) for each in fields if each.kind == "identity"
    }
    return {name: x509.load_pem_x509_certificates(pem.encode())[0] for name, pem in texts.items() if pem}


def _typed(field: Field, value: Any, entered: bool) -> Any:
    """What stands in the field: after a refusal exactly what was typed, else the value."""
    if field.kind in ("tables", "texts", "several"):
        return value
    if entered and field.kind in ("text", "number", "lines") and field.name in request.form:
        return request.form[field.name]
    return value if field.kind == "flag" else field.write(value)


def _fields(page: str) -> tuple[Field, ...]:
    if page not in PAGES:
        abort(404)
    return fields_of(page)


def _current(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {field.name: _value(field.name) for field in fields}


def _value(name: str) -> Any:
    return overlay.value_of(current_portal.settings, name)


def _version(page: str) -> int:
    return saving.page_version(db_session, page)
