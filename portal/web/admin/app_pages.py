"""Work apps: the catalogue, who gets which, how each behaves, and what became of them."""

from collections.abc import Callable

from flask import abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from portal import clock, jobs, people
from portal.apps import behaviour, origin
from portal.apps.behaviour import NotUsable
from portal.apps.origin import Origin, OriginRefused
from portal.apps_and_books.store import NotFound
from portal.extensions import current_portal, db_session, transaction
from portal.models import App, AppAudience, Membership, Person
from portal.people import audiences
from portal.people.audiences import IN
from portal.policies.content import Part
from portal.policies.variables import NAMES
from portal.storage import app_intake, apple_content, apps, policies
from portal.storage.apps import SIDES, Known, TooMany
from portal.versions import version_of
from portal.web import web_sessions
from portal.web.admin import audience_form, blueprint
from portal.web.admin.audience_form import AudienceRefused
from portal.web.admin.policy_people import USUAL_IOS
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

NOTICE = "app_notice"
VPN = "com.apple.vpn.managed.applayer"


def must_be_open() -> None:
    """404 in a closed room."""
    if not current_portal.gives_apps:
        abort(404)


@blueprint.get("/apps")
def app_list() -> ResponseReturnValue:
    """Every app, with its licenses and where it is."""
    found = apps.living(db_session) if current_portal.gives_apps else []
    return render_template(
        "admin/apps.html",
        open=current_portal.gives_apps,
        elsewhere=current_portal.backend.elsewhere if current_portal.backend.does.apps else None,
        apps=found,
        counts=apps.counts(db_session) if found else {},
        audiences=audiences.of_all(db_session, AppAudience) if found else {},
        licenses=apps.licenses(db_session) if found else {},
        known=apple_content.known(db_session),
        notice=session.pop(NOTICE, None),
    )


@blueprint.get("/apps/new")
def new_app() -> ResponseReturnValue:
    """From the licenses, by its App Store id, or the company's own."""
    must_be_open()
    return _new()


def _new(problem: str = "", **typed: str) -> str:
    there = {each.adam_id for each in apps.living(db_session)}
    rows = sorted(apps.licenses(db_session).values(), key=lambda each: ((each.name or "").casefold(), each.adam_id))
    return render_template(
        "admin/app_new.html",
        licenses=[each for each in rows if each.usable and each.adam_id not in there],
        known=apple_content.known(db_session),
        problem=problem,
        typed=typed,
    )


@blueprint.post("/apps")
@fresh_proof()
def add_app() -> ResponseReturnValue:
    """Take one into the catalogue; what it is the store, or its manifest, says."""
    must_be_open()
    must_be_ours()
    typed = {name: request.form.get(name, "") for name in ("adam_id", "manifest_url")}
    actor = web_sessions.actor_here()
    db_session.commit()  # hold nothing while waiting for the network
    try:
        app_id = app_intake.add(current_portal.database, current_portal, origin.entered(**typed), actor)
    except (OriginRefused, NotFound) as refused:
        return _new(refused.code, **typed), 422
    except (Known, TooMany) as refused:
        return _new("known" if isinstance(refused, Known) else "too_many", **typed), 422
    session[NOTICE] = "added"
    return redirect(url_for("admin.app_page", app_id=app_id), 303)


@blueprint.get("/apps/<app_id>")
def app_page(app_id: str) -> ResponseReturnValue:
    """One app."""
    return _page(app_id)


def _page(app_id: str, problem: str = "", detail: str = "", typed: dict[str, str] | None = None) -> str:
    must_be_open()
    app = apps.find(db_session, app_id)
    if app is None:
        abort(404)
    held = behaviour.of(app, current_portal.vault)
    written = {
        "configuration": behaviour.shown(held.configuration),
        "vpn": held.vpn,
        "domains": "\n".join(held.domains),
        "removable": "yes" if held.removable else "",
    }
    return render_template(
        "admin/app.html",
        app=app,
        typed=typed or written,
        vpns=_vpns(),
        variables=NAMES,
        who=audience_form.shown(apps.audience(db_session, app_id), SIDES),
        counts=apps.counts(db_session).get(app_id, {}),
        license=apps.licenses(db_session).get(app.adam_id or ""),
        known=apple_content.known(db_session),
        problem=problem,
        detail=detail,
        notice=session.pop(NOTICE, None),
    )


def _vpns() -> list[Part]:
    """The VPNs for work apps that policies in use set up."""
    if not current_portal.gives_policies:
        return []
    in_use = [(each, policies.in_use(each)) for each in policies.living(db_session)]
    opened = (policies.opened(db_session, current_portal.vault, each.id, number) for each, number in in_use if number)
    return [part for parts in opened for part in parts if part.type == VPN]


@blueprint.post("/apps/<app_id>/behaviour")
@fresh_proof()
def set_behaviour(app_id: str) -> ResponseReturnValue:
    """Removable or not, configuration, VPN, domains."""
    names = ("configuration", "vpn", "domains", "removable")
    typed = {name: request.form.get(name, "") for name in names}
    try:
        wanted = behaviour.entered(
            typed["removable"] == "yes", typed["configuration"], typed["vpn"].strip(), typed["domains"]
        )
    except NotUsable as refused:
        must_be_ours()
        return _page(app_id, refused.code, refused.detail, typed), 422
    return _change(app_id, "saved", lambda app: apps.set_behaviour(web_sessions.editor(), app, wanted))


@blueprint.post("/apps/<app_id>/audience")
@fresh_proof()
def set_app_audience(app_id: str) -> ResponseReturnValue:
    """Who gets it by itself, who may take it, who does not get it after all."""
    must_be_open()
    must_be_ours()
    kept = apps.audience(db_session, app_id)
    try:
        lines = audience_form.entered(kept, SIDES, for_everybody=(IN, apps.OFFERED))
    except AudienceRefused as refused:
        return _page(app_id, refused.code, refused.detail), 422

    def save(app: App) -> None:
        audience_form.must_be_as_seen(apps.audience(db_session, app_id))
        apps.set_audience(web_sessions.editor(), app, lines)

    try:
        return _change(app_id, "audience", save)
    except AudienceRefused as refused:
        return _page(app_id, refused.code), 409


@blueprint.post("/apps/<app_id>/describe")
def describe_app(app_id: str) -> ResponseReturnValue:
    """Ask the store, or the manifest, again what it is."""
    must_be_open()
    must_be_ours()
    app = apps.find(db_session, app_id)
    if app is None:
        abort(404)
    comes_from, bundle_id = Origin(app.adam_id, app.manifest_url), app.bundle_id
    db_session.commit()  # hold nothing while waiting for the network
    try:
        told, icon = app_intake.describe(current_portal.database, current_portal, comes_from)
    except NotFound as unknown:
        return _page(app_id, unknown.code), 422
    if told.bundle_id != bundle_id:
        return _page(app_id, "another_app", told.bundle_id), 422
    return _change(app_id, "described", lambda app: apps.describe(app, told, icon, clock.now()))


@blueprint.post("/apps/<app_id>/end")
@fresh_proof()
def end_app(app_id: str) -> ResponseReturnValue:
    """It is taken from everybody, and its licenses given back."""
    _change(app_id, "ended", lambda app: apps.archive(web_sessions.editor(), app))
    return redirect(url_for("admin.app_list"), 303)


@blueprint.get("/apps/person")
def apps_of_person() -> ResponseReturnValue:
    """What somebody would get, and why."""
    must_be_open()
    username, ios = request.args.get("username", "").strip(), request.args.get("ios", USUAL_IOS).strip()
    version = version_of(ios) or version_of(USUAL_IOS)
    person = people.by_username(db_session, username) if username else None
    return render_template(
        "admin/apps_of_person.html",
        username=username,
        ios=ios if version_of(ios) else USUAL_IOS,
        person=person,
        result=_result(person, version) if person is not None else None,
    )


def _result(person: Person, ios: tuple[int, ...]) -> dict[str, object]:
    granted = apps.granted(db_session, person.id)
    return {
        "granted": [(each, version_of(each.app.minimum_ios) > ios) for each in granted],
        "matched": audiences.matched(db_session, AppAudience, person.id),
        "names": {each.id: each.name for each in apps.living(db_session)},
        "licenses": apps.licenses(db_session),
        "groups": list(db_session.scalars(select(Membership.name).where(Membership.person_id == person.id))),
    }


def _change(app_id: str, notice: str, act: Callable[[App], object]) -> ResponseReturnValue:
    """Let ``act`` change the locked app, and go back to its page; devices are told soon."""
    must_be_open()
    must_be_ours()
    with transaction():
        app = apps.locked(db_session, app_id)
        if app is None:
            abort(404)
        act(app)
    session[NOTICE] = notice
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    return redirect(url_for("admin.app_page", app_id=app_id), 303)
