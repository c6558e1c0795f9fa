"""What the employee does, step by step. Each looks at the case, changes one fact and records one event.

Repeating any of them is safe: a step that is not the current one is refused (StepOutOfOrder), and nothing changes.
"""

from portal import people
from portal.enrollment import invitations, passcode
from portal.enrollment import terms as license_terms
from portal.enrollment.case import TOLD_AGAIN_AFTER, Case
from portal.enrollment.errors import (
    LinkUnusable,
    PasscodeExpired,
    PasscodeLocked,
    PasscodeWrong,
    TermsChanged,
    WrongAccount,
    WrongPerson,
)
from portal.enrollment.journey import Step
from portal.events import Actor, Event
from portal.models import Person

TOLD_ONCE = {"throttled", "source_unavailable", "sso_state"}
IN_SETTINGS = "in_settings"


def sign_in(case: Case, person: Person) -> None:
    """``person`` signed in on the link of the request. Raises LinkUnusable, or WrongPerson (recorded)."""
    if not case.request.can_enroll(case.now):
        raise LinkUnusable
    if case.request.person_id != person.id:
        case.record_once(Event.SIGN_IN_REFUSED, "wrong_person", detail={"person": person.id}, within=TOLD_AGAIN_AFTER)
        raise WrongPerson
    signed_in(case)


def signed_in(case: Case, where: str | None = None) -> None:
    """The right person signed in, in Safari or ``where``."""
    if case.request.signed_in_at is None:
        case.request.signed_in_at = case.now
        case.record(Event.SIGN_IN_ACCEPTED, where)
    else:
        case.record_once(Event.SIGN_IN_ACCEPTED, where, within=TOLD_AGAIN_AFTER)


def same_account(account: str | None, identifier: str) -> bool:
    """Whether ``identifier``, typed in Settings, may be the person's Managed Apple Account."""
    return not account or not identifier or people.fold_username(identifier) == people.fold_username(account)


def another_account(case: Case | None, account: str) -> WrongAccount:
    """Another account than the person's was typed in Settings: told with their open request, if there is one."""
    if case is not None:
        case.record_once(Event.SIGN_IN_REFUSED, "another_account", within=TOLD_AGAIN_AFTER)
    return WrongAccount(account)


def signed_in_by_device(case: Case) -> bool:
    """A device shows that its owner signed in at the identity provider (apple-oauth2).

    True if everything before the profile was answered in Safari, else it is told (recorded).
    """
    signed_in(case, IN_SETTINGS)
    if case.step in (Step.PROFILE, Step.FINISH):
        return True
    case.record(Event.PROFILE_REFUSED, "not_answered", actor=Actor.DEVICE)
    return False


def seen_with(case: Case, browser: str, language: str) -> None:
    """What the person who signed in reads the pages with, for helpdesk: ``safari 17.4``, ``settings``, ...; ``de``.

    An open request names the Managed Apple Account that its person has now, if any.
    """
    request = case.request
    request.browser, request.language, request.unfit_browser = browser, language, None
    if request.is_unfinished:
        account = case.store.account_of(request.person, case.settings)
        request.managed_apple_account = account or request.managed_apple_account


def unfit_browser(case: Case, verdict: str) -> None:
    """Somebody looks at the link in a browser that cannot go on; told once until somebody signs in."""
    if case.request.unfit_browser is None and case.request.signed_in_at is None and not case.over:
        case.request.unfit_browser = verdict
        case.record(Event.BROWSER_UNFIT, verdict)


def sign_in_failed(case: Case, reason: str, why: str = "") -> None:
    """A try to sign in on this request failed (``reason``: wrong_credentials, throttled, source_unavailable, ...).

    ``why`` is the source's own code for it. What anybody can bring about is told once in a row.
    """
    detail = {"why": why} if why else None
    if reason in TOLD_ONCE:
        case.record_once(Event.SIGN_IN_REFUSED, reason, detail=detail, within=TOLD_AGAIN_AFTER)
    else:
        case.record(Event.SIGN_IN_REFUSED, reason, detail=detail)


def choose_ownership(case: Case, ownership: str) -> None:
    """Employee goes on; Corporate ends here, marked for helpdesk, but can be corrected."""
    case.must_be_at(Step.OWNERSHIP)
    if case.request.ownership == ownership:
        return
    case.request.ownership, case.request.ownership_at = ownership, case.now
    case.record(Event.OWNERSHIP_CHOSEN, ownership)


def acknowledge_privacy(case: Case) -> None:
    """The privacy notice was acknowledged."""
    case.must_be_at(Step.PRIVACY)
    case.request.privacy_at = case.now
    case.record(Event.PRIVACY_ACKNOWLEDGED)


def enter_passcode(case: Case, entered: str) -> None:
    """The second proof. From now on only this browser may walk the rest.

    Raises PasscodeWrong, PasscodeLocked, PasscodeExpired (recorded).
    """
    case.must_be_at(Step.PASSCODE)
    assert case.browser is not None
    request = case.request
    try:
        passcode.verify(request, entered, case.settings.passcode, case.vault, case.now)
    except PasscodeWrong as refusal:
        case.record(Event.PASSCODE_REJECTED, "wrong", detail={"tries_left": refusal.tries_left})
        raise
    except PasscodeLocked:
        case.record(Event.PASSCODE_REJECTED, "locked")
        raise
    except PasscodeExpired:
        case.record(Event.PASSCODE_REJECTED, "passcode_expired")
        raise
    request.passcode_verified_at, request.passcode_session_id = case.now, case.browser.session_id
    case.record(Event.PASSCODE_VERIFIED)


def send_passcode(case: Case) -> None:
    """The employee asks for another passcode. Raises PasscodeTooSoon, PasscodeSendsUsedUp, RequestEnded."""
    case.must_be_open()
    if case.step is not Step.PASSCODE:
        return
    passcode.check_resend(case.request, case.settings.passcode, case.now)
    invitations.mail_passcode(case)
    case.request.passcode_sends += 1
    case.record(Event.PASSCODE_SENT, actor=Actor.EMPLOYEE)


def see_overview(case: Case) -> None:
    """The overview was read."""
    case.must_be_at(Step.OVERVIEW)
    case.request.overview_at = case.now
    case.record(Event.OVERVIEW_SEEN)


def accept_terms(case: Case, version: str, sha256: str, locale: str) -> None:
    """The terms shown were accepted. Raises TermsChanged when they are not the current ones, word for word."""
    case.must_be_at(Step.TERMS)
    current = case.request.terms_current
    if current is None or version != current:
        raise TermsChanged
    text = license_terms.in_language(case.store.terms(current), locale)
    if sha256 != license_terms.sha256(text.text):
        raise TermsChanged
    request = case.request
    request.terms_version, request.terms_sha256, request.terms_accepted_at = version, sha256, case.now
    case.record(Event.TERMS_ACCEPTED, detail={"version": version, "sha256": sha256})


def profile_downloaded(case: Case, profile_id: str) -> None:
    """The profile's file was fetched (browsers may fetch it twice)."""
    profile = case.store.profile(profile_id)
    if profile is not None and profile.downloaded_at is None:
        profile.downloaded_at = case.now
        case.record(Event.PROFILE_DOWNLOADED)
