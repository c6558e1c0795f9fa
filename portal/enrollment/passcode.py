"""The second proof, after the password: six digits from the e-mail, used once.

HOTP (RFC 4226) from a secret of the request.
"""

import math
import unicodedata
from datetime import datetime, timedelta

import pyotp

from portal.enrollment.errors import (
    PasscodeExpired,
    PasscodeLocked,
    PasscodeSendsUsedUp,
    PasscodeTooSoon,
    PasscodeWrong,
)
from portal.models import EnrollmentRequest
from portal.settings.schema import Passcode
from portal.vault import Vault

DIGITS = 6


def new_secret(vault: Vault) -> bytes:
    """A fresh sealed HOTP secret."""
    return vault.seal(pyotp.random_base32().encode())


def normalize(entered: str) -> str:
    """What a person typed or pasted, as plain digits: full-width digits, spaces and dashes are fine."""
    folded = unicodedata.normalize("NFKC", entered)
    kept = (c for c in folded if not c.isspace() and unicodedata.category(c) not in {"Pd", "Cf"})
    return "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in kept)


def is_one(entered: str) -> bool:
    """Whether that can be a passcode at all: six digits."""
    code = normalize(entered)
    return code.isascii() and code.isdigit() and len(code) == DIGITS


def renew(request: EnrollmentRequest, vault: Vault, now: datetime) -> str:
    """The next passcode, six digits; the one before is dead and the tries begin anew."""
    request.passcode_counter += 1
    request.passcode_tries = 0
    request.passcode_used_at = None
    request.passcode_sent_at = now
    return _hotp(request, vault).at(request.passcode_counter)


def check_resend(request: EnrollmentRequest, rules: Passcode, now: datetime) -> None:
    """Whether the employee may have another one sent. Raises PasscodeTooSoon or PasscodeSendsUsedUp."""
    if request.passcode_sends >= rules.sends:
        raise PasscodeSendsUsedUp
    wait = resend_wait(request, rules, now)
    if wait > 0:
        raise PasscodeTooSoon(wait)


def resend_wait(request: EnrollmentRequest, rules: Passcode, now: datetime) -> int:
    """Seconds until another passcode may be sent; 0 when it may be now."""
    if request.passcode_sent_at is None:
        return 0
    left = request.passcode_sent_at + timedelta(seconds=rules.resend_seconds) - now
    return max(0, math.ceil(left.total_seconds()))


def usable(request: EnrollmentRequest, rules: Passcode, now: datetime) -> bool:
    """Whether the passcode sent last can still be entered."""
    return (
        request.passcode_used_at is None and request.passcode_tries < rules.tries and not expired(request, rules, now)
    )


def expired(request: EnrollmentRequest, rules: Passcode, now: datetime) -> bool:
    """Whether the passcode sent last is too old; a new one comes with one tap."""
    if not rules.lifetime_minutes or request.passcode_sent_at is None:
        return False
    return now >= request.passcode_sent_at + timedelta(minutes=rules.lifetime_minutes)


def verify(request: EnrollmentRequest, entered: str, rules: Passcode, vault: Vault, now: datetime) -> None:
    """Use up the passcode. The try is counted first; the caller holds the request's lock and commits in any case.

    Raises PasscodeLocked when no try is left or it was used already, PasscodeExpired when it is too old, PasscodeWrong
    with the tries left.
    """
    if expired(request, rules, now):
        raise PasscodeExpired
    if not usable(request, rules, now):
        raise PasscodeLocked
    request.passcode_tries += 1
    fits = is_one(entered) and _hotp(request, vault).verify(normalize(entered), request.passcode_counter)
    if not fits:
        left = rules.tries - request.passcode_tries
        if left <= 0:
            raise PasscodeLocked
        raise PasscodeWrong(left)
    request.passcode_used_at = now


def _hotp(request: EnrollmentRequest, vault: Vault) -> pyotp.HOTP:
    return pyotp.HOTP(vault.open(request.passcode_secret_sealed).decode(), digits=DIGITS)
