"""What an OpenID provider may answer and what is made of it; every way an answer can be wrong."""

import threading
import time

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from PIL import Image

from portal.credentials import oidc
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.credentials.oidc import Pending, Provider, ProviderRefused
from portal.settings import SettingsError, load
from portal.settings.schema import OidcProvider
from tests.factories import BASE
from tests.pages import Browser

ISSUER, NOW = "https://sso.example.com", 1_800_000_000
PENDING = Pending("state", "nonce", "verifier" * 8)
KEY = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
OTHER_KEY = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
CLAIMS = {"iss": ISSUER, "aud": "portal", "sub": "s1", "nonce": "nonce", "iat": NOW, "exp": NOW + 300,
          "preferred_username": "Olga", "name": "Olga", "email": "olga@example.com", "groups": ["a"]}  # fmt: skip
METADATA = {"issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys", "userinfo_endpoint": f"{ISSUER}/me"}  # fmt: skip
BACK = "https://portal.example.com/sign-in/test/callback"


class FakeProvider:
    """Follows the published protocol, except where a test spoils it."""

    def __init__(self, claims=None, key=KEY, **more):
        self.claims = {name: value for name, value in {**CLAIMS, **(claims or {})}.items() if value is not None}
        self.key, self.more, self.asked = key, more, []

    def __call__(self, request):
        self.asked.append(request)
        path = request.url.path
        if path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={**METADATA, **self.more.get("metadata", {})})
        if path == "/keys":
            return httpx.Response(200, json={"keys": [KEY.as_dict(private=False)]})
        if path == "/me":
            return self.more.get("userinfo", httpx.Response(200, json={"sub": "s1"}))
        header = {"alg": "RS256", "kid": self.key.kid} | self.more.get("header", {})
        token = self.more.get("token") or jwt.encode(header, self.claims, self.key, algorithms=[header["alg"]])
        return self.more.get("answer") or httpx.Response(
            200, json={"access_token": "at", "token_type": "Bearer", "id_token": token}
        )

    def provider(self, **settings):
        values = {"name": "test", "title": "Test", "issuer": ISSUER, "client_id": "portal", "client_secret": "x"}
        known = OidcProvider(**{**values, "groups_claim": "groups", **settings})
        return Provider(known, httpx.MockTransport(self))

    def finish(self, query=None, **settings):
        answer = {"state": "state", "code": "code", **(query or {})}
        return self.provider(**settings).finish(PENDING, answer, BACK, NOW)


def test_a_right_answer_tells_who_it_is():
    signed_in = FakeProvider({"amr": ["pwd", "mfa"], "acr": "2"}).finish()
    assert (signed_in.found.source, signed_in.found.subject, signed_in.found.username) == ("oidc:test", "s1", "Olga")
    assert signed_in.methods == {"pwd", "mfa", "2"}


def test_the_way_there_carries_pkce_state_nonce_and_hint():
    address, pending = FakeProvider().provider().begin(BACK, "olga@example.com")
    query = httpx.URL(address).params
    assert (query["code_challenge_method"], len(query["code_challenge"])) == ("S256", 43)
    assert (query["state"], query["nonce"]) == (pending.state, pending.nonce)
    assert (query["redirect_uri"], query["login_hint"]) == (BACK, "olga@example.com")
    assert pending.verifier not in address
    fake = FakeProvider()
    fake.finish()
    assert b"code_verifier=verifier" in next(each for each in fake.asked if each.url.path == "/token").content


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": None}, "nonce"),
        ({"nonce": "another"}, "nonce"),
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": ["portal", "another"]}, "audience"),
        ({"aud": ["portal", "another"], "azp": "another"}, "audience"),
        ({"azp": "another"}, "audience"),
        ({"exp": NOW - 121}, "clock"),
        ({"iat": NOW + 121}, "clock"),
        ({"exp": None}, "clock"),
        ({"exp": "soon"}, "clock"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"preferred_username": None}, "mapping"),
        ({"preferred_username": "a\x00b"}, "mapping"),
    ],
)
def test_every_wrong_claim_is_refused(claims, reason):
    with pytest.raises(ProviderRefused) as refusal:
        FakeProvider(claims).finish()
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    "claims",
    [{"exp": NOW - 119}, {"iat": NOW + 119}, {"aud": ["portal"]}, {"aud": ["portal", "b"], "azp": "portal"}],
)
def test_what_is_within_the_rules_is_taken(claims):
    assert FakeProvider(claims).finish().found.subject == "s1"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"key": OTHER_KEY},
        {"key": OctKey.import_key("x" * 32, {"kid": "secret"}), "header": {"alg": "HS256"}},
        {"token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzMSJ9."},
        {"token": "garbage"},
        {"token": "a.b.c"},
    ],
    ids=["another key", "signed with a secret", "unsigned", "garbage", "dots"],
)
def test_what_the_provider_did_not_sign_is_refused(spoilt):
    with pytest.raises(ProviderRefused) as refusal:
        FakeProvider(**spoilt).finish()
    assert refusal.value.reason == "signature"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"state": "another"}, "state"),
        ({"state": ""}, "state"),
        ({"state": "ü"}, "state"),
        ({"code": ""}, "no_code"),
        ({"error": "access_denied"}, "cancelled"),
        ({"error": "server_error"}, "provider"),
        ({"iss": "https://other.example.com"}, "mixed_up"),
    ],
)
def test_every_wrong_return_is_refused(query, reason):
    with pytest.raises(ProviderRefused) as refusal:
        FakeProvider().finish(query)
    assert refusal.value.reason == reason


def test_a_provider_that_promises_its_name_in_the_answer_has_to_give_it():
    fake = FakeProvider(metadata={"authorization_response_iss_parameter_supported": True})
    with pytest.raises(ProviderRefused) as refusal:
        fake.finish()
    assert refusal.value.reason == "mixed_up"
    assert fake.finish({"iss": ISSUER}).found.subject == "s1"


def test_what_the_id_token_lacks_is_asked_for_and_must_be_about_the_same_person():
    told = httpx.Response(200, json={"sub": "s1", "groups": ["b"], "email": "other@example.com"})
    found = FakeProvider({"groups": None}, userinfo=told).finish(required_group="b").found
    assert found.email == "olga@example.com"  # what was signed wins
    other = httpx.Response(200, json={"sub": "s2", "groups": ["b"]})
    with pytest.raises(ProviderRefused):
        FakeProvider({"groups": None}, userinfo=other).finish()


def test_groups_decide_who_may_and_what_as():
    assert FakeProvider().finish(helpdesk_group="a").found.role == "helpdesk"
    assert FakeProvider().finish(helpdesk_group="a", admin_group="a").found.role == "admin"
    with pytest.raises(AccountProblem):
        FakeProvider().finish(required_group="b")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), ProviderRefused),
        (httpx.Response(503), SourceUnavailable),
        (httpx.Response(200, text="<html>"), SourceUnavailable),
    ],
)
def test_a_token_endpoint_that_refuses_or_fails_is_told_apart(answer, kind):
    with pytest.raises(kind):
        FakeProvider(answer=answer).finish()


@pytest.mark.parametrize("metadata", [{"issuer": "https://other.example.com"}, {"token_endpoint": None}])
def test_metadata_of_somebody_else_or_in_pieces_is_not_used(metadata):
    whole = {**METADATA, **metadata}
    answer = {name: value for name, value in whole.items() if value is not None}
    provider = Provider(
        FakeProvider().provider().settings, httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    )
    with pytest.raises(SourceUnavailable):
        provider.begin(BACK)


def test_new_keys_are_fetched_at_most_twice_a_minute_whatever_is_sent():
    fake = FakeProvider(key=OTHER_KEY)
    provider = fake.provider()
    for _ in range(5):
        with pytest.raises(ProviderRefused):
            provider.finish(PENDING, {"state": "state", "code": "c"}, BACK, NOW)
    assert sum(request.url.path == "/keys" for request in fake.asked) <= 2


def test_a_provider_s_logo_stands_on_its_button(make_app, tmp_path):
    Image.new("RGB", (64, 64), "#123456").save(tmp_path / "logo.png")
    table = {"name": "one", "title": "One", "issuer": ISSUER, "client_id": "portal"}
    app = make_app(oidc={"providers": [{**table, "logo": str(tmp_path / "logo.png")}, {**table, "name": "two"}]})
    assert Browser(app).get("/enroll").soup.find("a", string=None, class_="sso").img["src"] == "/sign-in/one/logo"
    answer = app.test_client().get("/sign-in/one/logo", base_url=BASE)
    assert (answer.status_code, answer.content_type) == (200, "image/png")
    assert app.test_client().get("/sign-in/two/logo", base_url=BASE).status_code == 404
    assert app.test_client().get("/sign-in/none/logo", base_url=BASE).status_code == 404


def test_no_file_but_a_picture_is_ever_served_as_a_logo(make_app, tmp_path):
    (tmp_path / "secret.keys").write_text("a key of the vault")
    table = {"name": "one", "title": "One", "issuer": "https://id.example.com", "client_id": "portal"}
    app = make_app(oidc={"providers": [{**table, "logo": str(tmp_path / "secret.keys")}]})
    answer = app.test_client().get("/sign-in/one/logo", base_url=BASE)
    assert answer.status_code == 404
    assert b"vault" not in answer.data


def test_two_providers_cannot_be_mixed_up(make_app):
    """An answer of one provider at the address of the other, with a state of the first: nobody is signed in."""
    tables = [{"name": name, "title": name, "issuer": ISSUER, "client_id": "portal", "client_secret": "x"}
              for name in ("one", "two")]  # fmt: skip
    app = make_app(oidc={"providers": tables})
    portal, fakes = app.extensions["portal"], {name: FakeProvider() for name in ("one", "two")}
    portal.__dict__["providers"] = {
        table.name: Provider(table, httpx.MockTransport(fakes[table.name])) for table in portal.settings.oidc.providers
    }
    browser = Browser(app)
    address = browser.client.get("/sign-in/one/employee", base_url=BASE, headers=browser.headers).headers["Location"]
    state = httpx.URL(address).params["state"]
    browser.get(f"/sign-in/two/callback?code=c&state={state}")
    assert browser.heading == "The sign-in did not work"
    assert not [each for each in fakes["two"].asked if each.url.path == "/token"]
    browser.get(f"/sign-in/one/callback?code=c&state={state}")
    assert browser.heading == "The sign-in did not work"  # and the state is used up


@pytest.mark.parametrize(
    ("methods", "heading"), [(["pwd", "mfa"], "Enrollment requests"), (["pwd"], "Set up your second factor")]
)
def test_the_provider_s_second_factor_counts_for_staff_where_it_was_used(make_app, clock, methods, heading):
    table = {"name": "test", "title": "Test", "issuer": ISSUER, "client_id": "portal", "client_secret": "x",
             "groups_claim": "groups", "helpdesk_group": "a", "second_factor": ["mfa"]}  # fmt: skip
    app = make_app(oidc={"providers": [table]})
    portal, now = app.extensions["portal"], int(clock().timestamp())
    fake = FakeProvider({"amr": methods, "iat": now, "exp": now + 300})
    portal.__dict__["providers"] = {"test": Provider(portal.settings.oidc.providers[0], httpx.MockTransport(fake))}
    browser = Browser(app)
    address = browser.client.get("/sign-in/test/staff", base_url=BASE, headers=browser.headers).headers["Location"]
    fake.claims["nonce"] = httpx.URL(address).params["nonce"]
    browser.get(f"/sign-in/test/callback?code=c&state={httpx.URL(address).params['state']}")
    assert browser.heading == heading


@pytest.mark.parametrize(("age", "asked"), [(30, False), (3600, True), (None, True)])
def test_the_provider_s_proof_is_as_old_as_the_sign_in_there(make_app, clock, age, asked):
    """It may know the browser for days: that is no fresh proof. Asked anew, it has to say when."""
    table = {"name": "test", "title": "Test", "issuer": ISSUER, "client_id": "portal", "client_secret": "x",
             "groups_claim": "groups", "admin_group": "a", "second_factor": ["mfa"]}  # fmt: skip
    app = make_app(oidc={"providers": [table]})
    portal, now = app.extensions["portal"], int(clock().timestamp())
    told = {"amr": ["mfa"], "iat": now, "exp": now + 300, "auth_time": None if age is None else now - age}
    fake = FakeProvider(told)
    portal.__dict__["providers"] = {"test": Provider(portal.settings.oidc.providers[0], httpx.MockTransport(fake))}
    browser = Browser(app)
    address = browser.client.get("/sign-in/test/staff", base_url=BASE, headers=browser.headers).headers["Location"]
    fake.claims["nonce"] = httpx.URL(address).params["nonce"]
    browser.get(f"/sign-in/test/callback?code=c&state={httpx.URL(address).params['state']}")
    browser.get("/admin/tokens")
    browser.post("/admin/tokens", browser.filled(holding="name") | {"name": "x", "scope.metrics": "yes"})
    assert (browser.heading == "Confirm that it is you") == asked
    if asked:
        link = next(each["href"] for each in browser.soup.select("main a.button"))
        sent = browser.client.get(link, base_url=BASE, headers=browser.headers).headers["Location"]
        params = httpx.URL(sent).params
        assert (params["prompt"], params["max_age"]) == ("login", "0")
        fake.claims |= {"nonce": params["nonce"]} | ({"auth_time": now} if age else {})
        browser.get(f"/sign-in/test/callback?code=c&state={params['state']}")
        browser.get("/admin/tokens")
        browser.post("/admin/tokens", browser.filled(holding="name") | {"name": "x", "scope.metrics": "yes"})
        assert browser.soup.find(id="token")


@pytest.mark.parametrize(
    "wrong",
    [{"issuer": "http://sso.example.com"}, {"name": "Test SSO"}, {"admin_group": "a"}, {"unknown": 1}],
)
def test_a_provider_that_is_configured_wrongly_is_named_at_start(wrong):
    values = {"name": "test", "title": "Test", "issuer": ISSUER, "client_id": "portal", **wrong}
    with pytest.raises(SettingsError):
        load(public_url="https://portal.example.com", oidc={"providers": [values]})


def test_how_somebody_signed_in_is_what_the_signed_token_says_alone():
    """Userinfo is not signed for this sign-in: a second factor that only it tells of was not proved here."""
    told = httpx.Response(200, json={"sub": "s1", "groups": ["a"], "amr": ["mfa"], "acr": "high", "extra": 1})
    fake = FakeProvider({"groups": None}, userinfo=told)
    signed_in = fake.finish(helpdesk_group="a")
    assert (signed_in.found.role, signed_in.methods) == ("helpdesk", frozenset())


class Introspecting(FakeProvider):
    """Knows no token, and counts how often it is asked."""

    def __init__(self, wait=None):
        super().__init__(metadata={"introspection_endpoint": f"{ISSUER}/introspect"})
        self.introspected, self.wait = 0, wait

    def __call__(self, request):
        if request.url.path == "/introspect":
            self.introspected += 1
            if self.wait is not None:
                self.wait.wait(5)
            return httpx.Response(200, json={"active": False})
        return super().__call__(request)


def test_a_token_that_the_provider_does_not_know_is_asked_about_once():
    fake = Introspecting()
    provider = fake.provider()
    for _ in range(50):
        with pytest.raises(ProviderRefused):
            provider.check_access_token("made-up", "client", NOW)
    assert fake.introspected == 1


@pytest.mark.parametrize("token", ["", "with space", "x" * 9000, "naïve", "a=b", "\n"])
def test_what_is_no_token_is_not_asked_about_at_all(token):
    fake = Introspecting()
    with pytest.raises(ProviderRefused):
        fake.provider().check_access_token(token, "client", NOW)
    assert fake.introspected == 0


def test_no_more_than_a_few_tokens_are_asked_about_at_once():
    """Otherwise whoever sends made-up tokens while the provider is slow holds every thread that serves pages."""
    gate = threading.Event()
    provider = Introspecting(gate).provider()
    provider.metadata()
    outcomes = []

    def ask(number):
        try:
            provider.check_access_token(f"token-{number}", "client", NOW)
        except (ProviderRefused, SourceUnavailable) as refusal:
            outcomes.append(refusal.reason)

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for each in asking:
        each.start()
    deadline = time.monotonic() + 5
    while outcomes.count("busy") < 20 - oidc.MOST_ASKING and time.monotonic() < deadline:
        time.sleep(0.01)
    assert outcomes == ["busy"] * (20 - oidc.MOST_ASKING)
    gate.set()
    for each in asking:
        each.join()


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a": "' + b"x" * oidc.LARGEST_ANSWER + b'"}', b"[]", b"garbage"])
def test_whatever_a_provider_answers_with_is_read_within_bounds(body):
    known = OidcProvider(name="test", title="Test", issuer=ISSUER, client_id="portal", client_secret="x")
    provider = Provider(known, httpx.MockTransport(lambda _request: httpx.Response(200, content=body)))
    with pytest.raises(SourceUnavailable):
        provider.metadata()
