"""The second factor of staff: TOTP (RFC 6238), each code once."""

from datetime import datetime

import pyotp

from portal.enrollment.passcode import normalize
from portal.models import LocalAccount
from portal.vault import Vault

STEP_SECONDS = 30
DRIFT_STEPS = 1
"""How many steps a phone's clock may be off, in either direction (RFC 6238 section 5.2)."""


def new_secret() -> str:
    """A fresh base32 secret."""
    return pyotp.random_base32()


def use(account: LocalAccount, vault: Vault, entered: str, now: datetime) -> bool:
    """Whether the code fits and was not used before; using it up. The caller holds a write transaction."""
    if account.totp_secret_sealed is None:
        return False
    code = normalize(entered)
    totp = pyotp.TOTP(vault.open(account.totp_secret_sealed).decode())
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        if step > account.totp_last_step and pyotp.utils.strings_equal(totp.generate_otp(step), code):
            account.totp_last_step = step
            return True
    return False
