"""Check-in and connect of the embedded backend, and the check-ins of devices that a delegated backend manages.

401 has two meanings. A profile-driven device takes it as "unenroll" and removes its profile: it gets one only for an
Authenticate that is refused (nothing is managed yet) and when its enrollment was ended on purpose. An account-driven
device takes it, with a challenge, as "your owner has to sign in again": it gets one only for a token that is not good,
and 403 with Apple's code to end the enrollment. Everything else that is wrong is 400, 403 or 503, for both.
"""

import logging
from collections.abc import Callable

from flask import Response, abort, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from portal import clock
from portal.backends.base import BackendDown
from portal.backends.embedded import checkin as checkins
from portal.backends.embedded import connect as connects
from portal.backends.embedded import identity
from portal.declarations.speaking import NothingThere
from portal.enrollment import access
from portal.enrollment.case import Case
from portal.enrollment.errors import DeviceRefused, TokenRefused
from portal.enrollment.journey import Way
from portal.extensions import cases, current_portal, transaction
from portal.models import AccessToken
from portal.plists import BadPlist, read_message, text
from portal.web.apple import blueprint, machine_info, provider_sign_in
from portal.web.apple.challenges import Handle, challenge
from portal.web.rules import bearer

XML, JSON = "application/xml", "application/json"
CHECKIN_TYPE, CONNECT_TYPE = "application/x-apple-aspen-mdm-checkin", "application/x-apple-aspen-mdm"
UNENROLL = 401
NOT_MANAGED = 410
"""Apple's answer to UserAuthenticate where users are not managed."""
UNENROLL_CODE = "com.apple.unrecognized.device"
"""In a 403: an account-driven device gives up its enrollment (iOS 17 and later; before it just stays refused)."""

log = logging.getLogger("portal.mdm")


@blueprint.put("/mdm/checkin")
def checkin() -> ResponseReturnValue:
    """Authenticate, TokenUpdate, CheckOut, DeclarativeManagement, GetToken."""
    if current_portal.backend.keeps_queue:
        return relay() if current_portal.backend.elsewhere is None else _elsewhere()

    def take(case: Case, message: dict[str, object] | None) -> bytes:
        if message is None:
            raise BadPlist("not a property list that a device would send")
        return checkins.handle(case, current_portal.backend.topic, message)

    return signed(take, may_leave=True)


@blueprint.put("/mdm/relay")
def relay() -> ResponseReturnValue:
    """A check-in for a delegated backend, which comes here first, through the proxy in front of both or directly.

    Such a backend believes what a device calls itself. So who speaks is settled here, and the name is taken before the
    backend hears it: nobody takes over another's queue or push token by calling himself by its EnrollmentID, and what
    user enrollment forbids never gets there.
    """
    if not current_portal.backend.keeps_queue or current_portal.backend.elsewhere is not None:
        abort(404)
    passed: list[str] = []

    def take(case: Case, message: dict[str, object] | None) -> bytes:
        if message is None:
            raise BadPlist("not a property list that a device would send")
        if message.get("MessageType") in checkins.ANSWERED_HERE:
            return checkins.handle(case, current_portal.backend.topic, message)
        passed.append(checkins.speaker(case, current_portal.backend.topic, message).profile_id)
        return b""

    answer = signed(take, may_leave=True)
    return _pass_on(passed[0], CHECKIN_TYPE) if passed else answer


def _pass_on(profile_id: str, kind: str) -> ResponseReturnValue:
    """What the delegated backend answers to this message, whose sender was made sure of."""
    try:
        content = current_portal.backend.pass_on(
            request.get_data(), request.headers.get("Mdm-Signature", ""), profile_id, kind
        )
    except BackendDown as down:
        return _refuse(f"device management does not answer: {down.reason}", 503)
    return Response(content, content_type=XML if content else "text/plain")


@blueprint.put("/mdm/connect")
def connect() -> ResponseReturnValue:
    """One report, the next command."""
    if current_portal.backend.keeps_queue:
        return _connect_through()
    try:
        return signed(connects.handle)
    except RequestEntityTooLarge:
        _give_up_the_answer()
        raise


def _connect_through() -> ResponseReturnValue:
    """The same for a delegated backend, where no proxy sends its devices there directly.

    The portal stands in the way of each message then; with the proxy it is only asked about it.
    """
    if current_portal.backend.elsewhere is not None:
        return _elsewhere()
    passed: list[str] = []

    def take(case: Case, message: dict[str, object] | None) -> bytes:
        if message is None:
            raise BadPlist("not a property list that a device would send")
        identity.names_no_other(message)
        device = identity.device_of(case, text(message, "EnrollmentID"))
        identity.must_go_on(case)
        passed.append(device.profile_id)
        return b""

    answer = signed(take)
    return _pass_on(passed[0], CONNECT_TYPE) if passed else answer


def _give_up_the_answer() -> None:
    """An answer over the bound cannot be taken, so its signature cannot be checked whole; its command failed.

    That much is believed of whoever shows a signature with the device's certificate; where it has no signed attributes
    (real devices have none), it is not checked at all, so whoever knows the certificate could make a command fail.
    """
    try:
        fingerprint = identity.claimed_fingerprint(
            current_portal.authority, request.headers.get("Mdm-Signature"), clock.now()
        )
        with transaction():
            connects.handle(speaking(fingerprint), None)
    except (identity.NotIdentified, DeviceRefused, BadPlist) as refusal:
        log.warning("mdm.refused reason=%r status=413", str(refusal))


def speaking(fingerprint: str) -> Case:
    """The case for which a device speaks with this certificate, revoked or not. Raises NotIdentified."""
    case = cases().of_certificate(fingerprint)
    if case is None:
        raise identity.NotIdentified("unknown_certificate")
    return case


def _elsewhere() -> ResponseReturnValue:
    return _refuse("devices are managed elsewhere", 503)  # the proxy should have sent the device to that backend


def signed(take: Callable[[Case, dict[str, object] | None], bytes], *, may_leave: bool = False) -> ResponseReturnValue:
    """Let ``take`` answer a message (None: unreadable) on its signer's case, once it is known who speaks.

    ``may_leave``: a CheckOut is taken here, which needs no access token.
    """
    body = request.get_data()
    message: dict[str, object] | None = None
    case: Case | None = None
    try:
        # The signature first: nothing of an unsigned body is looked at.
        fingerprint = identity.signer_fingerprint(
            current_portal.authority, body, request.headers.get("Mdm-Signature"), clock.now()
        )
        message = _read(body)
        if (presented := bearer()) is not None:
            provider_sign_in.welcome(fingerprint, presented)
        with transaction():
            case = speaking(fingerprint)
            token = token_shown(case, leaving=may_leave and (message or {}).get("MessageType") == "CheckOut")
            answer = take(case, message)
            if token is not None:
                access.confirm(case, token)
    except identity.NotIdentified as refusal:
        return _refuse(refusal.reason, 403)
    except BadPlist as problem:
        return _refuse(str(problem), 400)
    except NothingThere:
        return _refuse("nothing is declared there", 404)
    except checkins.NotOffered as problem:
        return _refuse(f"not offered: {problem}", NOT_MANAGED if str(problem) == "UserAuthenticate" else 400)
    except TokenRefused as refusal:
        assert case is not None
        return sign_in_again(case, refusal.reason)
    except DeviceRefused as refusal:
        assert case is not None
        return _unenroll(refusal.reason, case) if refusal.for_good else _refuse(refusal.reason, 403)
    kind = JSON if (message or {}).get("MessageType") == checkins.DECLARES else XML
    return Response(answer, content_type=kind if answer else "text/plain")


def _read(body: bytes) -> dict[str, object] | None:
    try:
        return read_message(body)
    except BadPlist as problem:
        log.warning("mdm.unreadable problem=%r", str(problem))
        return None


def token_shown(case: Case, leaving: bool = False) -> AccessToken | None:
    """The access token of an account-driven device. Raises TokenRefused (recorded).

    Leaving needs none, be it by itself or asked by IT, and an ended enrollment is told so instead.
    """
    assert case.profile is not None and case.certificate is not None  # noqa: PT018
    asked_to_leave = case.device is not None and case.device.leaving_at is not None
    over = leaving or asked_to_leave or case.certificate.revoked_at is not None
    return None if over or case.profile.way != Way.ACCOUNT.value else access.check(case, bearer())


def sign_in_again(case: Case, reason: str) -> Response:
    """The challenge for a device whose token is not good."""
    assert case.profile is not None
    log.warning("token.refused reason=%s", reason)
    told = case.device.os_version if case.device is not None else None
    return challenge(Handle(profile_id=case.profile.id), machine_info.numbers(told)[0] if told else None)


def _unenroll(reason: str, case: Case) -> ResponseReturnValue:
    if unenrolls_by(case) == UNENROLL:
        return _refuse(reason, UNENROLL)
    log.warning("mdm.refused reason=%r status=403", reason)
    return jsonify(code=UNENROLL_CODE, description=reason), 403


def unenrolls_by(case: Case) -> int:
    """The status at which a device gives its enrollment up; with 403 comes ``UNENROLL_CODE``."""
    assert case.profile is not None
    return 403 if case.profile.way == Way.ACCOUNT.value else UNENROLL


def _refuse(reason: str, status: int) -> ResponseReturnValue:
    log.warning("mdm.refused reason=%r status=%s", reason[:80], status)
    return reason + "\n", status, {"Content-Type": "text/plain; charset=utf-8"}
