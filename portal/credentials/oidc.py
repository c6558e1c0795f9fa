"""Single sign-on with OpenID Connect: authorization code with PKCE, checked ID tokens, several providers.

Authlib speaks OAuth 2.0 (authorization address, PKCE, client authentication at the token endpoint); joserfc, by the
same author, checks signatures. What is accepted is decided here. Sources: OpenID Connect Core 1.0 sections 3.1.2 and
3.1.3.7, RFC 7636 (PKCE), RFC 9207 (issuer in the answer), RFC 9700 (best current practice), RP-Initiated Logout 1.0.
"""

import re
import secrets
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from portal import bounded
from portal.credentials.base import (
    AccountProblem,
    Found,
    Pending,
    ProviderRefused,
    SignedIn,
    SourceUnavailable,
    role_by_groups,
)
from portal.settings.schema import OidcProvider
from portal.vault import token_hash

with warnings.catch_warnings():
    # The pinned release announces its move from httpx at every start; people who run a command need not read it.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import OAuth2Client

TIMEOUT_SECONDS = 8.0
LARGEST_ANSWER, LONGEST_ANSWER_SECONDS = 1024 * 1024, 15.0
"""Bytes, unpacked; and from its first byte to its last."""
UNUSABLE = (httpx.HTTPError, httpx.InvalidURL, ValueError)
"""What asking a provider may end with."""
METADATA_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 30.0
"""How soon the provider's keys are fetched again for a token signed with an unknown one."""
LEEWAY_SECONDS = 120
"""How far the clocks of portal and provider may differ."""
ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
"""Signatures by the provider's own key only: nothing unsigned, nothing that our client secret could sign."""
TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,8000}=*")
"""What an access token may look like (RFC 6750 section 2.1)."""
REFUSED_SECONDS = 60.0
"""How long a token that the provider does not know is remembered."""
MOST_REFUSED = 10_000
MOST_ASKING = 3
"""Tokens that the provider is asked about at once, a process: less than it has threads."""


class Provider:
    """One OpenID provider. Safe to share between threads; ``transport`` replaces the network in tests."""

    def __init__(self, settings: OidcProvider, transport: httpx.BaseTransport | None = None) -> None:
        self.settings = settings
        self._transport = transport
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._lock = threading.Lock()
        self._refused = _Refused()
        self.tells_time = False
        """Whether it ever told, to this process, when somebody signed in there (``auth_time``)."""
        self._asking = threading.Semaphore(MOST_ASKING)

    # --- there -----------------------------------------------------------------------------------------------------

    def begin(self, redirect_uri: str, login_hint: str = "", anew: bool = False) -> tuple[str, Pending]:
        """The provider's address for a browser, and what to remember for its return. Raises SourceUnavailable.

        ``anew``: whoever is signed in there has to prove it once more, and the ID token has to say when.
        """
        pending = Pending(*(secrets.token_urlsafe(TOKEN_BYTES) for _ in range(3)))
        more = {"login_hint": login_hint} if login_hint else {}
        more |= {"prompt": "login", "max_age": "0"} if anew else {}
        with self._client(redirect_uri) as client:
            address, _ = client.create_authorization_url(
                self.metadata()["authorization_endpoint"],
                state=pending.state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
                **more,
            )
        return str(address), pending

    # --- and back --------------------------------------------------------------------------------------------------

    def finish(self, pending: Pending, answer: Mapping[str, str], redirect_uri: str, now: float) -> SignedIn:
        """Who signed in. ``answer`` is the query that the browser came back with, ``now`` in seconds.

        Raises ProviderRefused, SourceUnavailable, AccountProblem.
        """
        if not compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            raise ProviderRefused("state")
        metadata = self.metadata()
        expected = metadata.get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", self.settings.issuer if not expected else None) != self.settings.issuer:
            raise ProviderRefused("mixed_up")  # RFC 9207: the answer is another provider's
        if "error" in answer:
            raise ProviderRefused("cancelled" if answer["error"] == "access_denied" else "provider", answer["error"])
        if not answer.get("code"):
            raise ProviderRefused("no_code")
        token = self._exchange(answer["code"], pending, redirect_uri)
        claims = self.check_id_token(str(token.get("id_token", "")), pending.nonce, now)
        return self._signed_in(self._with_userinfo(claims, str(token.get("access_token", ""))))

    def check_id_token(self, id_token: str, nonce: str, now: float) -> dict[str, Any]:
        """The claims of an ID token that is for us, now, and for this sign-in. Raises ProviderRefused."""
        try:
            claims = dict(self._decode(id_token).claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderRefused("signature", type(error).__name__) from error
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self.settings.issuer:
            raise ProviderRefused("issuer")
        if self.settings.client_id not in audiences:
            raise ProviderRefused("audience")
        if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != self.settings.client_id:
            raise ProviderRefused("audience")
        if not _is_time(claims.get("exp")) or not _is_time(claims.get("iat")):
            raise ProviderRefused("clock", "no exp or iat")
        if now > claims["exp"] + LEEWAY_SECONDS or now < claims["iat"] - LEEWAY_SECONDS:
            raise ProviderRefused("clock")
        if not compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise ProviderRefused("nonce")
        if not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255:
            raise ProviderRefused("subject")
        return claims

    def device_challenge(self) -> tuple[str, str]:
        """(authorization address, token address) for a device that signs in by itself. Raises SourceUnavailable."""
        metadata = self.metadata()
        return str(metadata["authorization_endpoint"]), str(metadata["token_endpoint"])

    def check_access_token(self, token: str, client_id: str, now: float) -> SignedIn:
        """Whose access token a device shows, issued to ``client_id`` and good now.

        The provider is asked (RFC 7662) where it can be; else the token has to be a signed JWT (RFC 9068). A token that
        was issued to another client of the same provider is refused. Raises ProviderRefused, SourceUnavailable,
        AccountProblem.
        """
        if not _TOKEN.fullmatch(token) or self._refused.knows(token):
            raise ProviderRefused("token")
        try:
            return self._ask_about(token, client_id, now)
        except ProviderRefused:
            self._refused.add(token)
            raise

    def _ask_about(self, token: str, client_id: str, now: float) -> SignedIn:
        endpoint = self.metadata().get("introspection_endpoint")
        if isinstance(endpoint, str) and self.settings.client_secret:
            told = self._introspect(endpoint, token)
        else:
            told = self._read_access_token(token)
        clients = {told.get("client_id"), told.get("azp"), told.get("cid")}
        if told.get("active") is not True or client_id not in clients:
            raise ProviderRefused("token")
        if not _is_time(told.get("exp")) or now > told["exp"] + LEEWAY_SECONDS:
            raise ProviderRefused("token")
        userinfo = self.metadata().get("userinfo_endpoint")
        if not isinstance(userinfo, str):
            raise SourceUnavailable("metadata", "without userinfo_endpoint")
        claims = self._fetch(userinfo, {"Authorization": f"Bearer {token}"})
        if not isinstance(claims.get("sub"), str) or told.get("sub") not in (None, claims["sub"]):
            raise ProviderRefused("subject")
        return self._signed_in(claims)

    def _introspect(self, endpoint: str, token: str) -> dict[str, Any]:
        known = self.settings
        if not self._asking.acquire(blocking=False):
            raise SourceUnavailable("busy", "too many tokens are being asked about")
        try:
            return self._ask("POST", endpoint, data={"token": token}, auth=(known.client_id, known.client_secret))
        except UNUSABLE as error:
            raise SourceUnavailable("introspection", str(error)[:200]) from error
        finally:
            self._asking.release()

    def _read_access_token(self, token: str) -> dict[str, Any]:
        try:
            claims = dict(self._decode(token).claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise ProviderRefused("token", type(error).__name__) from error
        return {**claims, "active": claims.get("iss") == self.settings.issuer}

    def logout_address(self, back_to: str) -> str | None:
        """Where a browser signs out of the provider, too; None if it offers no such thing or is out of reach."""
        try:
            endpoint = self.metadata().get("end_session_endpoint")
        except SourceUnavailable:
            return None
        if not isinstance(endpoint, str):
            return None
        query = urlencode({"client_id": self.settings.client_id, "post_logout_redirect_uri": back_to})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def metadata(self) -> dict[str, Any]:
        """The provider's own description (OpenID Connect Discovery 1.0), kept for an hour. Raises SourceUnavailable."""
        with self._lock:
            if self._metadata and time.monotonic() - self._metadata[0] < METADATA_SECONDS:
                return self._metadata[1]
        found = self._fetch(self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self.settings.issuer:
            raise SourceUnavailable("issuer", f"it calls itself {str(found.get('issuer'))[:100]}")
        missing = {"authorization_endpoint", "token_endpoint", "jwks_uri"} - set(found)
        if missing:
            raise SourceUnavailable("metadata", f"without {', '.join(sorted(missing))}")
        with self._lock:
            self._metadata = (time.monotonic(), found)
        return found

    # --- inside ----------------------------------------------------------------------------------------------------

    def _client(self, redirect_uri: str) -> OAuth2Client:
        secret = self.settings.client_secret
        return OAuth2Client(
            self.settings.client_id,
            secret or None,
            scope=self.settings.scopes,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=self.settings.client_authentication if secret else "none",
            timeout=TIMEOUT_SECONDS,
            transport=self._transport,
            event_hooks=bounded.within(LARGEST_ANSWER, LONGEST_ANSWER_SECONDS),
        )

    def _exchange(self, code: str, pending: Pending, redirect_uri: str) -> dict[str, Any]:
        try:
            with self._client(redirect_uri) as client:
                return dict(
                    client.fetch_token(
                        self.metadata()["token_endpoint"],
                        grant_type="authorization_code",
                        code=code,
                        code_verifier=pending.verifier,
                    )
                )
        except AuthlibBaseError as error:
            raise ProviderRefused("code", str(error.error)[:80]) from error
        except (httpx.HTTPError, ValueError, RecursionError, OverflowError) as error:  # Authlib reads the answer
            raise SourceUnavailable("token", str(error)[:200]) from error

    def _decode(self, id_token: str) -> jwt.Token:
        offered = self.metadata().get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = sorted(ALGORITHMS & set(offered))
        try:
            return jwt.decode(id_token, self._key_set(fresh=False), algorithms=algorithms)
        except (JoseError, ValueError):
            # Perhaps the provider has a new key: once more with what it publishes now.
            return jwt.decode(id_token, self._key_set(fresh=True), algorithms=algorithms)

    def _key_set(self, fresh: bool) -> KeySet:
        with self._lock:
            kept = self._keys
        age = time.monotonic() - kept[0] if kept else METADATA_SECONDS
        if kept and age < (KEYS_AGAIN_SECONDS if fresh else METADATA_SECONDS):
            return kept[1]
        published = self._fetch(str(self.metadata()["jwks_uri"]))
        try:
            keys = KeySet.import_key_set(published)  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise SourceUnavailable("keys", type(error).__name__) from error
        with self._lock:
            self._keys = (time.monotonic(), keys)
        return keys

    def _with_userinfo(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """The claims, completed by the userinfo endpoint where the ID token lacks what is mapped."""
        endpoint = self.metadata().get("userinfo_endpoint")
        wanted = {self.settings.username_claim, self.settings.email_claim, self.settings.groups_claim,
                  self.settings.managed_apple_account_claim} - {""}  # fmt: skip
        if not isinstance(endpoint, str) or not access_token or wanted <= set(claims):
            return claims
        told = self._fetch(endpoint, {"Authorization": f"Bearer {access_token}"})
        if told.get("sub") != claims["sub"]:
            raise ProviderRefused("subject")  # OpenID Connect Core section 5.3.2
        # How somebody signed in is what the signed token says; the provider's directory knows nothing of it.
        return {**{key: value for key, value in told.items() if key not in ("amr", "acr", "auth_time")}, **claims}

    def _signed_in(self, claims: dict[str, Any]) -> SignedIn:
        chosen = self.settings
        told = claims.get(chosen.groups_claim) if chosen.groups_claim else None
        groups = {str(group) for group in told} if isinstance(told, list) else {str(told)} if told else set()
        if chosen.required_group and chosen.required_group not in groups:
            raise AccountProblem("not_allowed")
        username = _text(claims, chosen.username_claim)
        if username is None:
            raise ProviderRefused("mapping", f"no {chosen.username_claim}")
        methods = claims.get("amr")
        known = {str(method) for method in methods} if isinstance(methods, list) else set()
        role = role_by_groups(chosen, lambda group: group in groups)
        found = Found(
            source=f"oidc:{chosen.name}",
            subject=claims["sub"],
            username=username,
            name=_text(claims, chosen.name_claim) or username,
            email=_text(claims, chosen.email_claim) or "",
            phone=_text(claims, chosen.phone_claim),
            locale=_text(claims, chosen.locale_claim),
            managed_apple_account=_text(claims, chosen.managed_apple_account_claim),
            role=role,
            groups=frozenset(groups) if chosen.groups_claim and not _left_out(claims, chosen.groups_claim) else None,
        )
        known |= {str(claims["acr"])} if claims.get("acr") else set()
        self.tells_time = self.tells_time or "auth_time" in claims
        return SignedIn(found, frozenset(known), claims["auth_time"] if _is_time(claims.get("auth_time")) else None)

    def _fetch(self, address: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            return self._ask("GET", address, headers=headers or {})
        except UNUSABLE as error:
            raise SourceUnavailable("unreachable", str(error)[:200]) from error

    def _ask(self, method: str, address: str, **request: Any) -> dict[str, Any]:
        """The JSON object that the provider answers with. Raises one of UNUSABLE."""
        hooks = bounded.within(LARGEST_ANSWER, LONGEST_ANSWER_SECONDS)
        with httpx.Client(timeout=TIMEOUT_SECONDS, transport=self._transport, event_hooks=hooks) as http:
            answer = http.request(method, address, **request)
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}")
        return bounded.document(answer.content)


class _Refused:
    """Tokens that the provider did not know a moment ago: it is not asked about them again and again."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, token: str) -> bool:
        """Whether it was refused within the last minute."""
        with self._lock:
            return self._until.get(token_hash(token), 0.0) > time.monotonic()

    def add(self, token: str) -> None:
        """It was refused just now."""
        with self._lock:
            self._until[token_hash(token)] = time.monotonic() + REFUSED_SECONDS
            while len(self._until) > MOST_REFUSED:
                self._until.popitem(last=False)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name) if name else None
    return value if isinstance(value, str) and value.strip() and value.isprintable() else None


def _is_time(value: object) -> bool:
    """Seconds since 1970 that are a moment; neither NaN nor infinity is."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**40


def _left_out(claims: Mapping[str, Any], name: str) -> bool:
    """Whether a claim has to be fetched elsewhere (OpenID Connect Core, section 5.6.2; Entra ID for many groups)."""
    elsewhere = claims.get("_claim_names")
    return name not in claims and ((isinstance(elsewhere, dict) and name in elsewhere) or bool(claims.get("hasgroups")))
