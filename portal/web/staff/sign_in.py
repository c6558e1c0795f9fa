"""Staff sign-in: password, then a code of the second factor; whoever has none yet sets it up first.

Whoever proved the first factor has a session of an area of its own, which opens the second page and nothing else. Every
try, good or not, leaves one event.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

from portal import audit, clock, people
from portal.credentials import passkeys, second_factor, throttle
from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.credentials.passkeys import PasskeyRefused
from portal.credentials.second_factor import FactorLocked
from portal.credentials.throttle import Throttled
from portal.events import Actor, Event
from portal.extensions import current_portal, db_session, transaction
from portal.models import LONGEST_USERNAME, Person, WebSession
from portal.notifications.messages import qr_svg
from portal.people import STAFF_ROLES
from portal.web import provider_sign_out, web_sessions
from portal.web.rules import STAFF, Form
from portal.web.staff import blueprint

Judge = Callable[[], str | None]
Then = Callable[[str], ResponseReturnValue]
PASSWORD = "password"  # noqa: S105
"""How the first factor was proved; else the name of a provider."""
NEW_APP, PROVIDER = "new_app", "provider"
"""The second factor: set up just now; or proved at the provider."""
REFUSED = Event.STAFF_SIGN_IN_REFUSED
_REASONS = {
    Throttled: "throttled",
    FactorLocked: "factor_locked",
    PasskeyRefused: "wrong_passkey",
    people.ProofOver: "proof_over",
}
TOLD_ONCE = ("throttled", "unreachable", "timeout", "sso_state")
"""Once in a row, so that nobody and no outage fills the trail."""


class StaffSignInForm(Form):
    username = StringField(
        validators=[DataRequired("username_missing"), Length(max=LONGEST_USERNAME, message="username_long")]
    )
    password = PasswordField(validators=[InputRequired("password_missing"), Length(max=1024, message="password_long")])
    code = StringField(validators=[Length(max=64, message="code_missing")])


class CodeForm(Form):
    code = StringField(validators=[DataRequired("code_missing"), Length(max=64, message="code_missing")])


@blueprint.route("/staff/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """One answer whatever is wrong: password, code or role."""
    form, minutes, status = StaffSignInForm(), None, 200
    if form.validate_on_submit():
        try:
            answer = _sign_in(form)
            if answer is not None:
                return answer
            form.password.errors = ["staff_wrong"]
        except AccountProblem as problem:
            form.username.errors = [f"account_{problem.reason}"]
        except FactorLocked:
            form.code.errors = ["factor_locked"]
        except Throttled as refusal:
            minutes, status = refusal.minutes, 429
            form.username.errors = ["throttled"]
    if form.errors and status == 200:
        status = 422
    providers = [each for each in current_portal.settings.oidc.providers if each.helpdesk_group or each.admin_group]
    return render_template("staff/sign_in.html", form=form, minutes=minutes, providers=providers), status


@blueprint.route("/staff/second-factor", methods=["GET", "POST"])
def second_factor_page() -> ResponseReturnValue:
    """After the first factor: enter a code, or set the second factor up and get recovery codes."""
    pending, now = pending_session(), clock.now()
    if pending is None:
        return redirect(url_for("staff.sign_in"), 303)
    person, secret, form, minutes = pending.person, _secret(pending), CodeForm(), None
    if form.validate_on_submit():
        try:
            answer = _check_code(pending, secret, form.code.data, now)
            if answer is not None:
                return answer
            form.code.errors = ["code_wrong"]
        except FactorLocked:
            form.code.errors = ["factor_locked"]
        except Throttled as refusal:
            minutes = refusal.minutes
            form.code.errors = ["throttled"]
    qr = None
    if secret is not None:
        qr = qr_svg(second_factor.address(secret, person.username, current_portal.settings.company.name))
    page = render_template(
        "staff/second_factor.html",
        form=form,
        secret=secret,
        qr=qr,
        minutes=minutes,
        has_passkey=bool(passkeys.of(db_session, person)),
        has_app=second_factor.has_one(db_session, person),
    )
    return page, 422 if form.errors else 200


@blueprint.post("/staff/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this person's staff sessions, here and on every other device."""
    web_session, provider = web_sessions.current(), provider_sign_out.way_out()
    if web_session is not None:
        with transaction():
            web_sessions.end_everywhere(web_session)
    return provider_sign_out.to(url_for("staff.sign_in"), provider)


# --- the first factor -------------------------------------------------------------------------------------------------


def _sign_in(form: StaffSignInForm) -> ResponseReturnValue | None:
    now = clock.now()
    try:
        person, attempt = corporate.check(
            current_portal, form.username.data, form.password.data, request.remote_addr or "", now
        )
    except corporate.WrongCredentials as wrong:
        refused("wrong_credentials", wrong.person, PASSWORD, now)
        return None
    except (AccountProblem, SourceUnavailable) as problem:
        refused(problem.reason, None, PASSWORD, now)
        raise
    except Throttled:
        refused("throttled", None, PASSWORD, now)
        raise
    with transaction():
        throttle.release(db_session, attempt)
    if person.role not in STAFF_ROLES:
        refused("not_staff", person, PASSWORD, now)
        return None
    code = form.code.data or ""
    if (not code and passkeys.of(db_session, person)) or not second_factor.has_one(db_session, person):
        return ask_second_factor(person, PASSWORD, now)
    use = lambda: second_factor.use(db_session, current_portal.vault, person, code, now)  # noqa: E731
    return prove(code_of(person, PASSWORD, use), now)


def ask_second_factor(person: Person, method: str, now: datetime) -> ResponseReturnValue:
    """The first factor is proved, by ``method``: go on to the second. Raises ProofOver."""
    with transaction():
        people.still_proved(db_session, person)
        web_sessions.end(STAFF)
        web_sessions.begin(web_sessions.HALF_STAFF, person, None, now, method)
    return redirect(url_for("staff.second_factor_page"), 303)


def pending_session() -> WebSession | None:
    """The session of a browser in which staff proved the first factor within the last ten minutes."""
    found = web_sessions.find(web_sessions.HALF_STAFF)
    return found if found is not None and found.person.role in STAFF_ROLES else None


# --- the second factor ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """A second factor that is tried: by whom, after which first factor, and what its tries are counted as.

    ``judge``, in a transaction, names the factor that was proved, None if none was; ``changes``: it may set one up.
    """

    person: Person
    method: str
    judge: Judge
    counted: str
    changes: bool = False


def code_of(person: Person, method: str, judge: Judge, *, changes: bool = False) -> Trial:
    """A code is tried."""
    return Trial(person, method, judge, throttle.second_factor_of(person), changes)


def prove(trial: Trial, now: datetime) -> ResponseReturnValue | None:
    """Sign in with the second factor if it is proved, else None. Raises as ``judged`` does."""
    return judged(trial, lambda factor: begin_session(trial.person, now, trial.method, factor, now), now)


def judged(trial: Trial, then: Then, now: datetime) -> ResponseReturnValue | None:
    """Judge the trial; ``then`` answers what was proved, in the same transaction. None if nothing was.

    Its tries are counted by themselves: knowing the password clears none of them. Raises Throttled, FactorLocked,
    PasskeyRefused, ProofOver.
    """
    person, method, counted = trial.person, trial.method, trial.counted
    try:
        with transaction():
            attempt = throttle.reserve(
                db_session, counted, request.remote_addr or "", current_portal.settings.sign_in, now
            )
        with transaction():
            people.still_proved(db_session, person, trial.changes)
            factor = trial.judge()
            if factor is not None:
                throttle.release(db_session, attempt)
                throttle.clear(db_session, counted)
                return then(factor)
    except (Throttled, FactorLocked, PasskeyRefused, people.ProofOver) as refusal:
        refused(_REASONS[type(refusal)], person, method, now)
        raise
    refused("wrong_code", person, method, now)
    return None


def _check_code(pending: WebSession, secret: str | None, code: str, now: datetime) -> ResponseReturnValue | None:
    """Signed in if the code fits, with recovery codes if the second factor is new. Raises Throttled, FactorLocked."""
    person, codes = pending.person, []

    def judge() -> str | None:
        if secret is None:
            return second_factor.use(db_session, current_portal.vault, person, code, now)
        if _has_factor(person):
            raise people.ProofOver  # set up in another window meanwhile: it is not replaced by a password alone
        if not second_factor.fits(secret, code, now):
            return None
        codes.extend(second_factor.set_up(db_session, current_portal.vault, person, secret))
        db_session.flush()
        second_factor.use(db_session, current_portal.vault, person, code, now)  # this code works once, too
        actor, told = audit.actor_of(person), {"person": person.id}
        audit.record(db_session, audit.SETTINGS, Event.SECOND_FACTOR_SET_UP, now, actor=actor, detail=told)
        return NEW_APP

    answer = prove(code_of(person, pending.method or PASSWORD, judge, changes=secret is not None), now)
    return render_template("staff/recovery_codes.html", codes=codes) if codes and answer is not None else answer


def _has_factor(person: Person) -> bool:
    return second_factor.has_one(db_session, person) or bool(passkeys.of(db_session, person))


def _secret(pending: WebSession) -> str | None:
    """The secret being set up; None for somebody who has a second factor. Raises ProofOver."""
    if _has_factor(pending.person):
        return None
    sealed = pending.factor_secret_sealed
    if sealed is None:
        sealed = current_portal.vault.seal(second_factor.new_secret().encode())
        with transaction():
            people.still_proved(db_session, pending.person)
            web_sessions.keep(pending, factor_secret_sealed=sealed)
    return current_portal.vault.open(sealed).decode()


# --- signed in, or refused --------------------------------------------------------------------------------------------


def begin_session(
    person: Person, now: datetime, method: str, factor: str, proved_at: datetime | None
) -> ResponseReturnValue:
    """Both factors are proved, the second at ``proved_at``: sign the browser in, in the caller's transaction.

    Raises ProofOver.
    """
    people.still_proved(db_session, person)
    web_sessions.end(web_sessions.HALF_STAFF)
    web_session = web_sessions.begin(STAFF, person, None, now, method)
    web_session.proved_at = proved_at
    _event(Event.STAFF_SIGNED_IN, None, person, {"method": method, "factor": factor}, now)
    return redirect(url_for("helpdesk.request_list"), 303)


def refused(reason: str, person: Person | None, method: str, now: datetime) -> None:
    """A try to sign in as staff failed."""
    with transaction():
        newest = audit.newest(db_session, people.PEOPLE_CHAIN)
        again = newest is not None and (newest.kind, newest.reason) == (REFUSED, reason)
        if not (again and reason in TOLD_ONCE):
            _event(REFUSED, reason, person, {"method": method}, now)


def _event(event: Event, reason: str | None, person: Person | None, detail: dict[str, str], now: datetime) -> None:
    told = {**detail, "address": throttle.network_of(request.remote_addr or "")}
    actor = audit.actor_of(person) if person is not None else Actor.SYSTEM
    told |= {"person": person.id} if person is not None else {}
    audit.record(db_session, people.PEOPLE_CHAIN, event, now, reason=reason, actor=actor, detail=told)
