"""What helpdesk says on the phone: where a request stands, since when, why. Codes; templates put them into words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.enrollment import journey
from portal.enrollment import passcode as passcodes
from portal.enrollment.case import Case
from portal.enrollment.journey import Attention, Status, Step, Waiting, Way
from portal.events import Actor, Event
from portal.models import AuditEvent, DevicePolicy, EnrollmentRequest, OutboxMessage
from portal.policies.outcome import State
from portal.settings.schema import Passcode

BY_THE_EMPLOYEE = (Actor.EMPLOYEE, Actor.DEVICE)
"""Actors whose events say when something last moved."""


@dataclass(frozen=True)
class Advice:
    """``code`` names the sentence; ``since`` is when it came to that; the rest fills it in."""

    code: str
    since: datetime
    reason: str | None = None
    tries: int = 0
    tries_left: int = 0
    minutes_left: int = 0
    step: Step | None = None


def give(
    case: Case,
    events: list[AuditEvent],
    mails: list[OutboxMessage],
    attention: tuple[Attention, ...],
    policies: Sequence[tuple[str, DevicePolicy]] = (),
    *,
    served: bool = True,
) -> Advice:
    """The one sentence on top of a request's page. ``policies``: by name what became of each on the device.

    ``served``: the device management answers, so that devices can be enrolled.
    """
    request, rules, now, facts = case.request, case.settings.passcode, case.now, case.facts
    status, step = journey.status(facts, now), journey.current_step(facts, now)
    moved = next((each.at for each in reversed(events) if each.actor in BY_THE_EMPLOYEE), request.created_at)
    if status in (Status.CANCELLED, Status.REMOVED, Status.ENROLLED, Status.EXPIRED, Status.CORPORATE):
        said = _settled(request, events, attention, status, moved)
        return _with_policies(said, policies) if said.code == Status.ENROLLED.value else said
    if request.person.disabled_at is not None:
        return Advice("disabled", request.person.disabled_at)
    if step is Step.PROFILE and not served:
        return Advice("server_away", moved)
    if status is Status.REFUSED:
        return Advice(
            "refused", facts.refused_at or moved, reason=request.profile.refused_reason if request.profile else None
        )
    if step is Step.FINISH or status in (Status.PROFILE_ISSUED, Status.PROFILE_EXPIRED, Status.ENROLLING):
        return _with_a_profile(facts, moved, now)
    if step is Step.SIGN_IN:
        return _before_sign_in(request, events, mails, attention)
    if step is Step.PASSCODE:
        return _at_the_passcode(request, attention, rules, moved, now)
    return Advice("at_the_iphone" if step is Step.PROFILE else "stopped", moved, step=step)


def _settled(
    request: EnrollmentRequest,
    events: list[AuditEvent],
    attention: tuple[Attention, ...],
    status: Status,
    moved: datetime,
) -> Advice:
    asked = next((each for each in reversed(events) if each.kind == Event.DEVICE_ASKED_TO_LEAVE), None)
    if Attention.LEAVING in attention and asked is not None:
        return Advice("leaving", asked.at, reason=asked.reason)
    if Attention.HELD in attention:
        held = next((each.at for each in reversed(events) if each.kind == Event.DEVICE_REMOVAL_HELD), moved)
        return Advice("held", held)
    if Attention.SILENT in attention:
        return Advice("silent", moved)
    since = {
        Status.ENROLLED: request.enrolled_at,
        Status.EXPIRED: request.expires_at,
        Status.CORPORATE: request.ownership_at,
    }.get(status, request.ended_at)
    reason = None
    if status is Status.REMOVED:
        reason = next((each.reason for each in reversed(events) if each.kind == Event.DEVICE_LEFT), None)
    return Advice(status.value, since or moved, reason=reason)


def _with_policies(said: Advice, policies: Sequence[tuple[str, DevicePolicy]]) -> Advice:
    """Enrolled, and of its policies one failed, or one did not come yet."""
    for code, states in (("policy_failed", (State.FAILED,)), ("policy_waiting", (State.WAITING, State.SENT))):
        found = [(name, each) for name, each in policies if each.state in states]
        if found:
            name, oldest = min(found, key=lambda one: one[1].at)
            return Advice(code, oldest.at, reason=name)
    return said


def _with_a_profile(facts: journey.Facts, moved: datetime, now: datetime) -> Advice:
    waiting = journey.waiting(facts, now)
    if facts.server is not None and waiting in (Waiting.INSTALL, Waiting.EXPIRED):
        code = "handed_over" if waiting is Waiting.INSTALL else "handover_expired"
        return Advice(code, facts.profile_issued_at or moved, minutes_left=facts.minutes_left(now))
    in_settings = facts.way == Way.ACCOUNT.value
    if waiting is Waiting.EXPIRED:
        code = "settings_expired" if in_settings else "profile_expired"
        return Advice(code, facts.profile_expires_at or moved)
    if in_settings and waiting in (Waiting.DOWNLOAD, Waiting.INSTALL):
        return Advice("in_settings", moved)
    return Advice(f"waiting_{waiting.value}", moved, minutes_left=facts.minutes_left(now))


def _before_sign_in(
    request: EnrollmentRequest,
    events: list[AuditEvent],
    mails: list[OutboxMessage],
    attention: tuple[Attention, ...],
) -> Advice:
    last = events[-1] if events else None
    refused = next((each for each in reversed(events) if each.kind == Event.SIGN_IN_REFUSED), None)
    if Attention.UNDELIVERED in attention:
        stuck = next((mail for mail in reversed(mails) if mail.sent_at is None and mail.last_error), None)
        gone = stuck is not None and stuck.failed_at is not None
        return Advice("mail_failed" if gone else "mail_delayed", request.created_at)
    if Attention.BROWSER in attention:
        told = next((each.at for each in reversed(events) if each.kind == Event.BROWSER_UNFIT), request.created_at)
        return Advice("browser", told, reason=request.unfit_browser)
    if refused is not None and last is not None:
        return Advice("sign_in_refused", refused.at, reason=refused.reason)
    return Advice("not_opened", request.created_at)


def _at_the_passcode(
    request: EnrollmentRequest, attention: tuple[Attention, ...], rules: Passcode, moved: datetime, now: datetime
) -> Advice:
    if Attention.UNDELIVERED in attention:
        return Advice("passcode_undelivered", moved)
    if passcodes.expired(request, rules, now) and request.passcode_used_at is None:
        return Advice("passcode_expired", moved)
    if not passcodes.usable(request, rules, now):
        code = "passcode_sends" if request.passcode_sends >= rules.sends else "passcode_locked"
        return Advice(code, moved)
    if request.passcode_tries:
        left = rules.tries - request.passcode_tries
        return Advice("passcode_wrong", moved, tries=request.passcode_tries, tries_left=left)
    return Advice("passcode_waiting", request.passcode_sent_at or moved)
