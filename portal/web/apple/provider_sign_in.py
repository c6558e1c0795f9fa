"""apple-oauth2: the device signs in at the identity provider by itself and shows that provider's access token.

There is no web view then: what the journey asks is answered in Safari before, within the hour. The provider is only
asked about tokens that are new here; when it is out of reach the answer is 503, never 401.
"""

import logging
from typing import TYPE_CHECKING

from flask import Response, request

from portal import clock, people
from portal.credentials import sign_in as corporate
from portal.credentials import throttle
from portal.credentials.base import AccountProblem, ProviderRefused, SourceUnavailable
from portal.enrollment import access, steps
from portal.enrollment.errors import ProfileUnavailable, RequestEnded, WrongPerson
from portal.enrollment.journey import CARRIED_OVER, SignedInBrowser
from portal.extensions import cases, current_portal, db_session, transaction
from portal.models import Certificate, Person
from portal.web import profile_issuer

if TYPE_CHECKING:
    from portal.credentials.oidc import Provider

METHOD = "apple-oauth2"
FIRST_IOS = 16
REDIRECT = "apple-remotemanagement-user-login:/oauth2/redirection"

log = logging.getLogger("portal.provider_sign_in")


class NotAnswered(Exception):
    """The person signed in, but has not answered in Safari what has to be answered before a profile."""


def provider() -> "Provider | None":
    """The provider that devices sign in at, if that is configured and the portal gives them their profiles."""
    if current_portal.backend.elsewhere is not None:
        return None
    return current_portal.providers.get(current_portal.settings.account_driven.oauth2_provider)


def challenge(chosen: "Provider") -> Response:
    """401 with everything the device needs for the code grant. Raises SourceUnavailable."""
    authorization, token = chosen.device_challenge()
    values = {
        "authorization-url": authorization,
        "token-url": token,
        "redirect-url": REDIRECT,
        "client-id": current_portal.settings.account_driven.oauth2_client_id,
        "scope": chosen.settings.scopes,
    }
    response = Response(status=401)
    parameters = ", ".join(f'{name}="{value}"' for name, value in values.items())
    response.headers["WWW-Authenticate"] = f'Bearer method="{METHOD}", {parameters}'
    del response.headers["Content-Type"]
    return response


def first_profile(chosen: "Provider", token: str) -> None:
    """A new token of the provider: make the profile it will fetch. Raises NotAnswered, SourceUnavailable, Throttled.

    A token that is not good changes nothing; it is refused like any other that is unknown. Anybody may send one, so the
    provider is only asked about so many from one network.
    """
    with transaction():
        rules, address = current_portal.settings.sign_in, request.remote_addr or ""
        attempt = throttle.reserve_network(db_session, address, rules, clock.now())
    try:
        person = _owner(chosen, token)
    except SourceUnavailable:
        with transaction():
            throttle.release(db_session, attempt)
        raise
    if person is None:
        return
    with transaction():
        throttle.release(db_session, attempt)
    now = clock.now()
    browser = SignedInBrowser("", now - CARRIED_OVER)
    profile_issuer.check_backend()
    made = profile_issuer.open_issuer()
    try:
        with transaction():
            people.still_proved(db_session, person)
            case = cases().open_of(db_session.get_one(Person, person.id), browser)
            if case is not None and steps.signed_in_by_device(case):
                access.grant(case, made, token)
                return
    except people.ProofOver:
        log.warning("token.refused reason=proof_over")
        return
    raise NotAnswered


def welcome(fingerprint: str, token: str) -> None:
    """A managed device shows a token that it refreshed at the provider: take it for the same enrollment.

    Raises SourceUnavailable. What is not good stays unknown.
    """
    chosen = provider()
    if chosen is None or cases().knows_token(token):
        return
    certificate = db_session.get(Certificate, fingerprint)
    if certificate is None or certificate.revoked_at is not None:
        return
    person = _owner(chosen, token)
    if person is None:
        return
    try:
        with transaction():
            people.still_proved(db_session, person)
            case = cases().of_profile(certificate.profile_id)
            if case is not None:
                access.grant_again(case, db_session.get_one(Person, person.id), token)
    except (WrongPerson, RequestEnded, ProfileUnavailable, people.ProofOver) as refusal:
        log.warning("token.refused reason=%s", type(refusal).__name__)


def _owner(chosen: "Provider", token: str) -> Person | None:
    now = clock.now()
    db_session.rollback()  # hold nothing while waiting for the network
    try:
        client = current_portal.settings.account_driven.oauth2_client_id
        signed_in = chosen.check_access_token(token, client, now.timestamp())
        person = corporate.store_person(current_portal.database, current_portal.settings, signed_in.found, now)
    except (ProviderRefused, AccountProblem) as refusal:
        log.warning("token.refused reason=%s", refusal.reason)
        return None
    return person if person.disabled_at is None else None
