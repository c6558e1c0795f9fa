"""Numbers of today and of thirty days, drawn on the server; the same as a table and as CSV."""

from flask import Response, abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from portal import clock, jobs
from portal.extensions import current_portal, db_session, transaction
from portal.pki import uploads
from portal.storage import apple_business, apple_content, apps, brake, policies, statistics
from portal.web import operations, spreadsheets, web_sessions
from portal.web.admin import blueprint, checklist
from portal.web.rules import must_be_ours
from portal.web.staff.proof import fresh_proof

NOTICE = "removals_notice"


@blueprint.get("")
def dashboard() -> ResponseReturnValue:
    """Counting only."""
    numbers = statistics.gather(db_session, clock.now())
    highest = max([1, *(max(invited, enrolled) for _, invited, enrolled in numbers.days)])
    todo = checklist.items()
    given = policies.living(db_session) if current_portal.gives_policies else []
    given_apps = apps.living(db_session) if current_portal.gives_apps else []
    return render_template(
        "admin/dashboard.html",
        numbers=numbers,
        highest=highest,
        todo=todo,
        policies=given,
        policy_counts=policies.counts(db_session) if given else {},
        health=current_portal.backend.health(),
        signer_days=operations.signer_days(clock.now()),
        push_days=_push_days(),
        apple_days=_apple_days(),
        content_token=apple_content.known(db_session) if current_portal.gives_apps else None,
        apps=given_apps,
        app_counts=apps.counts(db_session) if given_apps else {},
        now=clock.now(),
        hold=brake.held(db_session),
        held=brake.waiting(db_session),
        enough_admins=brake.admins(db_session) >= brake.APPROVALS,
        me=web_sessions.actor_here(),
        notice=session.pop(NOTICE, None),
    )


@blueprint.post("/removals/<answer>")
@fresh_proof()
def answer_held_removals(answer: str) -> ResponseReturnValue:
    """An admin agrees that what is held be removed, or says that it was a mistake."""
    if answer not in ("approve", "keep"):
        abort(404)
    must_be_ours()
    actor, now = web_sessions.actor_here(), clock.now()
    try:
        with transaction():
            if answer == "keep":
                brake.keep(db_session, actor, now)
            else:
                brake.approve(db_session, actor, _shown(), now)
        session[NOTICE] = answer
    except brake.NotTheSecond:
        session[NOTICE] = "too_new"
    except brake.MoreHeld:
        session[NOTICE] = "more_held"
    jobs.nudge(current_portal.settings, jobs.DEVICES)
    return redirect(url_for("admin.dashboard"), 303)


def _shown() -> brake.Held:
    """What the admin saw that was held: they agree to that alone."""
    try:
        return brake.Held.of(request.form.get("shown", ""))
    except ValueError:
        return brake.Held(0, None)


def _apple_days() -> int | None:
    """Days until the server token of Apple Business expires; None if there is none."""
    known = apple_business.known(db_session)
    return (known.expires - clock.now()).days if known is not None and known.expires is not None else None


def _push_days() -> int | None:
    """Days until Apple's push certificate expires; None if there is none."""
    identity = current_portal.settings.mdm.push_identity
    return (uploads.valid_until(identity) - clock.now()).days if identity else None


@blueprint.get("/dashboard.csv")
def dashboard_csv() -> ResponseReturnValue:
    """Every number of the page, one a line: what, which, how many."""
    numbers = statistics.gather(db_session, clock.now())
    rows: list[tuple[object, ...]] = [("what", "which", "count")]
    for name, span in (("today", numbers.today), ("30 days", numbers.window)):
        rows += [(name, "invited", span.invited), (name, "started", span.started), (name, "enrolled", span.enrolled)]
        rows.append((name, "median minutes", "" if span.median_minutes is None else span.median_minutes))
    rows += [("invited", day.isoformat(), invited) for day, invited, _ in numbers.days]
    rows += [("enrolled", day.isoformat(), enrolled) for day, _, enrolled in numbers.days]
    rows += [("past step", step.value, count) for step, count in numbers.funnel]
    rows += [("stopped at", step, count) for step, count in numbers.stopped]
    rows += [("refused", f"{kind} {reason}".strip(), count) for kind, reason, count in numbers.reasons]
    if current_portal.gives_policies:
        counts = policies.counts(db_session)
        for policy in policies.living(db_session):
            rows += [(f"policy {policy.name}", state, count) for state, count in counts.get(policy.id, {}).items()]
    if current_portal.gives_apps:
        app_counts = apps.counts(db_session)
        for app in apps.living(db_session):
            rows += [(f"app {app.name}", state, count) for state, count in app_counts.get(app.id, {}).items()]
    rows += [("iOS", version, count) for version, count in numbers.ios]
    rows += [("language", language, count) for language, count in numbers.languages]
    return Response(
        spreadsheets.lines(rows), mimetype="text/csv", headers=spreadsheets.as_file("enrollment-numbers.csv")
    )
