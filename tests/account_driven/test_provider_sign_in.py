"""apple-oauth2: the device signs in at the identity provider by itself; the provider follows the published protocol."""

import contextlib

import httpx
import pytest
from sqlalchemy import select

from portal.credentials.oidc import Provider
from portal.lifecycle import closing
from portal.models import AccessToken, Person
from portal.settings import SettingsError, load
from portal.simulator.iphone import InstallationFailed, SignInAgain
from portal.simulator.model import MODELS
from portal.simulator.settings_app import SettingsApp
from portal.storage.cases import Cases
from tests.account_driven.steps import ACCOUNT, post, signed
from tests.factories import BASE, Company, phone
from tests.pages import Browser

pytestmark = pytest.mark.each_database

ISSUER, CLIENT = "https://sso.example.com", "devices"


class FakeProvider:
    """Hands out codes, access tokens and refresh tokens; ``issued`` are its living access tokens."""

    def __init__(self, clock):
        self.clock, self.issued, self.client, self.down, self.person = clock, set(), CLIENT, False, "olga"

    def __call__(self, request):
        if self.down:
            raise httpx.ConnectError("down")
        path, now = request.url.path, self.clock().timestamp()
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys",
                     "userinfo_endpoint": "me", "introspection_endpoint": "introspect"}  # fmt: skip
            return httpx.Response(200, json={"issuer": ISSUER, **{k: f"{ISSUER}/{v}" for k, v in names.items()}})
        form = dict(httpx.QueryParams(request.content.decode()))
        if path == "/token":
            assert form["client_id"] == CLIENT
            token = f"token-{len(self.issued)}-" + "x" * 1500  # as long as a signed one
            self.issued.add(token)
            return httpx.Response(200, json={"access_token": token, "token_type": "Bearer", "refresh_token": "r"})
        if path == "/introspect":
            told = {"active": form["token"] in self.issued, "client_id": self.client, "exp": now + 60, "sub": "s-olga"}
            return httpx.Response(200, json=told)
        return httpx.Response(
            200,
            json={"sub": "s-olga", "preferred_username": self.person, "name": "Olga", "email": "olga@example.com",
                  "account": ACCOUNT},
        )  # fmt: skip


@pytest.fixture
def sso(clock):
    return FakeProvider(clock)


@pytest.fixture
def app(make_app, sso):
    provider = {"name": "sso", "title": "SSO", "issuer": ISSUER, "client_id": "portal", "client_secret": "x",
                "managed_apple_account_claim": "account"}  # fmt: skip
    app = make_app(
        oidc={"providers": [provider]}, account_driven={"oauth2_provider": "sso", "oauth2_client_id": CLIENT}
    )
    held = app.extensions["portal"]
    held.__dict__["providers"] = {"sso": Provider(held.settings.oidc.providers[0], httpx.MockTransport(sso))}
    return app


@pytest.fixture
def company(app):
    return Company(app.extensions["portal"])


@pytest.fixture
def invitation(company):
    return company.invite(company.person("olga", managed_apple_account=ACCOUNT, source="oidc:sso"))


@pytest.fixture
def settings_app(app, sso):
    """A phone whose network leads to the portal and to the provider."""
    made = SettingsApp(phone(app, ios=18))
    inside = made.phone.http._transport

    def route(request):
        if request.url.host == "sso.example.com":
            return sso(request)
        answer = inside.handle_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=b"".join(answer.stream))

    made.phone.http = httpx.Client(transport=httpx.MockTransport(route))
    return made


def owner(address):
    """Signs in at the provider's pages; they lead back to the device."""
    query = httpx.URL(address).params
    assert (query["login_hint"], query["client_id"]) == (ACCOUNT, CLIENT)
    return f"{query['redirect_uri']}?code=c&state={query['state']}"


def answer_in_safari(app, invitation):
    """Everything up to the page that leads to Settings."""
    Browser(app, MODELS[18].user_agent()).walk_to("profile", invitation)


def test_the_challenge_names_the_provider_from_ios_16_on(app, invitation):
    challenge = post(app, signed()).headers["WWW-Authenticate"]
    assert challenge == (
        f'Bearer method="apple-oauth2", authorization-url="{ISSUER}/auth", token-url="{ISSUER}/token", '
        'redirect-url="apple-remotemanagement-user-login:/oauth2/redirection", client-id="devices", '
        'scope="openid profile email"'
    )
    older = post(app, signed(OS_VERSION=None, VERSION="19H386"))
    assert 'method="apple-as-web"' in older.headers["WWW-Authenticate"]


def test_a_device_enrolls_with_the_provider_s_token(app, company, invitation, settings_app):
    answer_in_safari(app, invitation)
    settings_app.sign_in(ACCOUNT, owner, BASE)
    assert company.status(invitation) == "enrolled"
    assert settings_app.phone.connect() == []


def test_without_the_answers_in_safari_there_is_no_profile(app, company, invitation, settings_app):
    with pytest.raises(InstallationFailed, match="open the link"):
        settings_app.sign_in(ACCOUNT, owner, BASE)
    assert company.events(invitation)[-1] == ("profile.refused", "not_answered")


def test_answers_older_than_an_hour_do_not_count(app, company, invitation, settings_app, clock):
    answer_in_safari(app, invitation)
    clock.forward(minutes=61)
    with pytest.raises(InstallationFailed, match="open the link"):
        settings_app.sign_in(ACCOUNT, owner, BASE)


def test_a_refreshed_token_is_welcome_without_asking_anybody(app, company, invitation, settings_app, sso):
    answer_in_safari(app, invitation)
    settings_app.sign_in(ACCOUNT, owner, BASE)
    held = settings_app.phone
    settings_app.sign_in_again(SignInAgain(settings_app.begin(f"{BASE}/apple/enroll")), owner)
    assert held.connect() == []
    assert ("token.granted", "again") in company.events(invitation)


def test_a_token_that_the_provider_does_not_know_gets_a_challenge(app, invitation, settings_app, sso):
    answer_in_safari(app, invitation)
    settings_app.sign_in(ACCOUNT, owner, BASE)
    settings_app.phone.token = "made up"
    with pytest.raises(SignInAgain) as asked:
        settings_app.phone.connect()
    assert asked.value.challenge["method"] == "apple-oauth2"
    settings_app.sign_in_again(asked.value, owner)
    assert settings_app.phone.connect() == []


def test_a_token_of_another_client_of_the_same_provider_is_refused(app, invitation, settings_app, sso):
    answer_in_safari(app, invitation)
    sso.client = "another application"
    with pytest.raises(SignInAgain):
        settings_app.sign_in(ACCOUNT, owner, BASE)


def test_a_provider_that_is_down_is_never_a_401_to_a_managed_device(app, invitation, settings_app, sso):
    answer_in_safari(app, invitation)
    settings_app.sign_in(ACCOUNT, owner, BASE)
    known = settings_app.phone.token
    sso.down = True
    assert settings_app.phone.connect() == []  # a known token needs no provider
    settings_app.phone.token = "refreshed-meanwhile"
    with pytest.raises(InstallationFailed, match="503"):
        settings_app.phone.connect()
    settings_app.phone.token = known
    assert post(app, signed(), Authorization="Bearer new").status_code == 503


@pytest.mark.each_database
def test_somebody_else_s_token_does_not_speak_for_a_device(app, company, invitation, settings_app, sso):
    answer_in_safari(app, invitation)
    settings_app.sign_in(ACCOUNT, owner, BASE)
    with company.portal.database.transaction() as session:
        session.merge(invitation.request.person).subject = "s-other"
    sso.person = "somebody-else"
    settings_app.sign_in_again(SignInAgain(settings_app.begin(f"{BASE}/apple/enroll")), owner)
    with pytest.raises(SignInAgain):
        settings_app.phone.connect()


def test_a_provider_that_is_not_configured_is_named_at_start():
    with pytest.raises(SettingsError, match="none of the"):
        load(public_url="https://portal.example.com", account_driven={"oauth2_provider": "sso"})


@pytest.mark.parametrize("number", range(1, 7))
def test_nobody_enrolls_who_is_disabled_while_the_provider_is_asked(
    app, portal, company, invitation, settings_app, meanwhile, number
):
    answer_in_safari(app, invitation)

    def disable():
        with portal.database.transaction() as session:
            person = session.scalar(select(Person).where(Person.username == "olga"))
            closing.disable(Cases(session, portal), person, "admin:test")

    count = meanwhile(number, disable)
    with contextlib.suppress(Exception):  # however the simulated phone says that it was refused
        settings_app.sign_in(ACCOUNT, owner, BASE)
    assert count() >= number
    assert company.status(invitation) != "enrolled"
    with portal.database.session() as session:
        assert session.scalars(select(AccessToken).where(AccessToken.revoked_at.is_(None))).all() == []


def test_made_up_tokens_use_up_their_network_s_tries(app, sso, settings, monkeypatch):
    """Anybody may send one, and each would be asked about at the provider."""
    asked, whole = [], FakeProvider.__call__

    def ask(self, request):
        asked.append(request.url.path)
        return whole(self, request)

    monkeypatch.setattr(FakeProvider, "__call__", ask)
    for number in range(settings.sign_in.address_tries + 5):
        last = post(app, signed(), Authorization=f"Bearer made-up-{number}")
    assert (last.status_code, asked.count("/introspect")) == (429, settings.sign_in.address_tries)
