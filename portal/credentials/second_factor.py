"""The second factor of staff: TOTP (RFC 6238), each code once, and ten recovery codes for a lost phone, each once."""

import secrets
from datetime import datetime

import pyotp
from sqlalchemy import delete
from sqlalchemy.orm import Session

from portal import audit, people
from portal.audit import Editor
from portal.credentials import throttle
from portal.database import Recorded
from portal.enrollment.passcode import normalize
from portal.events import Event
from portal.models import Passkey, Person, SecondFactor
from portal.vault import Vault, token_hash

STEP_SECONDS = 30
DRIFT_STEPS = 1
"""How many steps a phone's clock may be off, in either direction (RFC 6238 section 5.2)."""
RECOVERY_CODES = 10
RECOVERY_BYTES = 14
"""112 bits each: enough to be kept as a plain hash (ASVS 5.0, 6.5.2)."""
MOST_WRONG_CODES = 20
"""In a row. Whoever enters codes knows the password; nobody who owns the factor is wrong so often."""


class FactorLocked(Recorded):
    """Too many wrong codes in a row: no code fits until an admin releases the factor."""


def new_secret() -> str:
    """A fresh base32 secret."""
    return pyotp.random_base32()


def address(secret: str, username: str, issuer: str) -> str:
    """The ``otpauth:`` address of a secret, for a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def has_one(session: Session, person: Person) -> bool:
    """Whether the person has set up a second factor."""
    return session.get(SecondFactor, person.id) is not None


def set_up(session: Session, vault: Vault, person: Person, secret: str) -> list[str]:
    """Give the person this TOTP secret, replacing what was before; returns ten fresh recovery codes, shown once."""
    codes = [secrets.token_hex(RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
    factor = session.get(SecondFactor, person.id) or SecondFactor(person_id=person.id)
    factor.totp_secret_sealed = vault.seal(secret.encode())
    factor.totp_last_step = factor.wrong_codes = 0
    factor.locked_at = None
    factor.recovery_hashes = [token_hash(code) for code in codes]
    session.add(factor)
    return codes


def fits(secret: str, entered: str, now: datetime) -> bool:
    """Whether the code fits a secret that is being set up."""
    return _step_of(secret, normalize(entered), now) is not None


def use(session: Session, vault: Vault, person: Person, entered: str, now: datetime) -> str | None:
    """Use up a code: ``app`` or ``recovery_code``, None if it does not fit or was used before. In a write transaction.

    The wrong code that locks the factor, and each one after, raises FactorLocked; the caller commits in any case.
    """
    factor = session.get(SecondFactor, person.id, with_for_update=True, populate_existing=True)
    if factor is None:
        return None
    if factor.locked_at is not None:
        raise FactorLocked
    hashed = token_hash("".join(entered.split()).replace("-", "").casefold())
    if hashed in factor.recovery_hashes:
        factor.recovery_hashes = [each for each in factor.recovery_hashes if each != hashed]
        factor.wrong_codes = 0
        return "recovery_code"
    step = _step_of(vault.open(factor.totp_secret_sealed).decode(), normalize(entered), now)
    if step is not None and step > factor.totp_last_step:
        factor.totp_last_step, factor.wrong_codes = step, 0
        return "app"
    factor.wrong_codes += 1
    if factor.wrong_codes >= MOST_WRONG_CODES:
        factor.locked_at = now
        detail = {"person": person.id}
        audit.record(session, audit.SETTINGS, Event.SECOND_FACTOR_LOCKED, now, detail=detail)
        raise FactorLocked
    return None


def is_locked(session: Session, person: Person) -> bool:
    """Whether no code of the person's fits until it is released."""
    factor = session.get(SecondFactor, person.id)
    return factor is not None and factor.locked_at is not None


def unlock(editor: Editor, person: Person) -> None:
    """Somebody made sure who entered the wrong codes: codes fit again. Repeating it changes nothing."""
    session = editor.session
    factor = session.get(SecondFactor, person.id, with_for_update=True, populate_existing=True)
    if factor is None or factor.locked_at is None:
        return
    factor.locked_at, factor.wrong_codes = None, 0
    throttle.clear(session, throttle.second_factor_of(person))
    editor.record(Event.SECOND_FACTOR_UNLOCKED, person=person.id)


def forget(editor: Editor, person: Person) -> None:
    """Somebody lost theirs: app, codes and passkeys are dead, every session ends; the next sign-in sets up another."""
    _end(editor.session, person)
    editor.record(Event.SECOND_FACTOR_FORGOTTEN, person=person.id)


def replace(editor: Editor, person: Person) -> tuple[str, list[str]]:
    """The same, with a new app at once: its secret and recovery codes, shown once."""
    _end(editor.session, person)
    secret = new_secret()
    codes = set_up(editor.session, editor.vault, person, secret)
    editor.record(Event.SECOND_FACTOR_REPLACED, person=person.id)
    return secret, codes


def _end(session: Session, person: Person) -> None:
    people.lock(session, person)
    for table in (SecondFactor, Passkey):
        session.execute(delete(table).where(table.person_id == person.id))
    people.end_sign_ins(session, person)


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    totp = pyotp.TOTP(secret)
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current + DRIFT_STEPS, current - DRIFT_STEPS - 1, -1):
        if pyotp.utils.strings_equal(totp.generate_otp(step), code):
            return step
    return None
