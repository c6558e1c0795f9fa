"""Passkeys (WebAuthn level 2) as the second factor of staff, instead of an authenticator app's code.

py_webauthn checks what a browser sends; challenges are kept in the database and work once.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from portal.database import Recorded
from portal.models import Passkey, PasskeyChallenge, Person, WebSession

CHALLENGE_LIFETIME = timedelta(minutes=5)
MOST_PASSKEYS = 10
LONGEST_NAME = 60


class PasskeyRefused(Recorded):
    """What the browser sent is no passkey of this person for this portal, now; the text is a code."""


class RelyingParty:
    """Who the passkeys are for: the portal's own host and address."""

    def __init__(self, host: str, origin: str, name: str) -> None:
        self.host = host
        self.origin = origin
        self.name = name


def of(session: Session, person: Person) -> list[Passkey]:
    """The person's passkeys, oldest first."""
    return list(session.scalars(select(Passkey).where(Passkey.person_id == person.id).order_by(Passkey.created_at)))


def begin_adding(session: Session, party: RelyingParty, holder: WebSession, now: datetime) -> dict[str, Any]:
    """What the browser of a session needs to make a passkey, as JSON."""
    person = holder.person
    options = generate_registration_options(
        rp_id=party.host,
        rp_name=party.name,
        user_id=person.id.encode(),
        user_name=person.username,
        user_display_name=person.name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=_descriptors(session, person),
    )
    _keep(session, holder, options.challenge, now)
    return dict(json.loads(options_to_json(options)))


def add(
    session: Session, party: RelyingParty, holder: WebSession, answer: dict[str, Any], name: str, now: datetime
) -> Passkey:
    """Keep the passkey that the browser made. Raises PasskeyRefused."""
    person = holder.person
    if len(of(session, person)) >= MOST_PASSKEYS:
        raise PasskeyRefused("too_many")
    challenge = _use(session, holder, now)
    try:
        checked = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise PasskeyRefused("malformed") from error
    credential_id = bytes_to_base64url(checked.credential_id)
    if session.get(Passkey, credential_id) is not None:
        raise PasskeyRefused("known")
    passkey = Passkey(
        credential_id=credential_id,
        person_id=person.id,
        public_key=checked.credential_public_key,
        sign_count=checked.sign_count,
        name="".join(filter(str.isprintable, name)).strip()[:LONGEST_NAME] or "Passkey",
        created_at=now,
    )
    session.add(passkey)
    return passkey


def begin_using(session: Session, party: RelyingParty, holder: WebSession, now: datetime) -> dict[str, Any]:
    """What the browser of a session needs to prove a passkey, as JSON."""
    options = generate_authentication_options(
        rp_id=party.host,
        allow_credentials=_descriptors(session, holder.person),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    _keep(session, holder, options.challenge, now)
    return dict(json.loads(options_to_json(options)))


def use(session: Session, party: RelyingParty, holder: WebSession, answer: dict[str, Any], now: datetime) -> None:
    """The person of a session proved one of their passkeys. Raises PasskeyRefused."""
    challenge = _use(session, holder, now)
    passkey = session.get(Passkey, str(answer.get("id", ""))[:1024])
    if passkey is None or passkey.person_id != holder.person_id:
        raise PasskeyRefused("unknown")
    try:
        checked = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise PasskeyRefused("malformed") from error
    passkey.sign_count, passkey.last_used_at = checked.new_sign_count, now


def remove(session: Session, person: Person, credential_id: str) -> bool:
    """Forget one of the person's passkeys; False if it is not theirs."""
    passkey = session.get(Passkey, credential_id)
    if passkey is None or passkey.person_id != person.id:
        return False
    session.delete(passkey)
    return True


def _descriptors(session: Session, person: Person) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.credential_id)) for each in of(session, person)]


def _keep(session: Session, holder: WebSession, challenge: bytes, now: datetime) -> None:
    kept = {"challenge": bytes_to_base64url(challenge), "created_at": now}
    session.merge(PasskeyChallenge(session_id=holder.id, person_id=holder.person_id, **kept))


def _use(session: Session, holder: WebSession, now: datetime) -> bytes:
    """The challenge that this session has to answer; it is used up by that, right or wrong. Raises PasskeyRefused."""
    kept = session.get(PasskeyChallenge, holder.id, with_for_update=True)
    if kept is None:
        raise PasskeyRefused("no_challenge")
    session.execute(delete(PasskeyChallenge).where(PasskeyChallenge.session_id == holder.id))
    if now - kept.created_at >= CHALLENGE_LIFETIME:
        raise PasskeyRefused("too_late")
    return base64url_to_bytes(kept.challenge)
