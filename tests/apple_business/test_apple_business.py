"""Apple Business: from the key pair to a sign-in that is vouched for. Apple is one that looks as closely as it says."""

import base64
import hashlib
import hmac
import io
import json
import subprocess
import time
from datetime import UTC, timedelta
from urllib.parse import quote, unquote

import httpx
import pytest
from cryptography import x509
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import select

from portal import installation, jobs
from portal.apple_business import server_token, service
from portal.apple_business.server_token import ServerToken, TokenRefused
from portal.models import PortalState
from portal.simulator.scep_client import InstallationFailed
from portal.storage import apple_business
from tests.factories import BASE, phone
from tests.pages import Browser

SECRETS = {
    "consumer_key": "CK_example",
    "consumer_secret": "CS_secret",
    "access_token": "AT_example",
    "access_secret": "AS_secret",
}


class Apple:
    """Device Assignment Services: checks the signature of who asks for a session, and the session afterwards."""

    def __init__(self):
        self.status, self.asked = 200, []
        self.account = {"server_uuid": "0A1B2C3D", "server_name": "Portal", "org_name": "Example Company"}

    def __call__(self, request):
        self.asked.append(request.url.path)
        if self.status != 200:
            return httpx.Response(self.status, text="T_C_NOT_SIGNED")
        if request.url.path == "/session":
            return self._session(request)
        assert request.headers["x-adm-auth-session"] == "one session"
        return httpx.Response(200, json=self.account)

    def _session(self, request):
        kind, _, told = request.headers["authorization"].partition(" ")
        assert kind == "OAuth"
        values = {
            name.strip(): unquote(value.strip('"'))
            for name, _, value in (each.partition("=") for each in told.split(","))
        }
        assert values.pop("realm") == "ADM"
        signature = values.pop("oauth_signature")
        assert (values["oauth_consumer_key"], values["oauth_token"]) == ("CK_example", "AT_example")
        said = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(values.items()))
        base = "&".join(quote(each, safe="") for each in ("GET", "https://apple.example/session", said))
        expected = hmac.new(b"CS_secret&AS_secret", base.encode(), hashlib.sha1).digest()  # RFC 5849, section 3.4.2
        assert signature == base64.b64encode(expected).decode()
        assert abs(int(values["oauth_timestamp"]) - time.time()) < 300
        return httpx.Response(200, json={"auth_session_token": "one session"})


def downloaded(certificate_pem, tmp_path, cipher="-aes-256-cbc", **told):
    """A server token as Apple Business gives it for a certificate: S/MIME, made by OpenSSL."""
    expires = told.pop("expires", "2027-02-01T10:00:00Z")
    values = json.dumps({**SECRETS, "access_token_expiry": expires, **told})
    inside = tmp_path / "inside"
    inside.write_text(
        f"Content-Type: text/plain;charset=UTF-8\r\n\r\n-----BEGIN MESSAGE-----\n{values}\n-----END MESSAGE-----\n"
    )
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(certificate_pem)
    command = ["openssl", "cms", "-encrypt", "-in", inside, "-outform", "SMIME", cipher, certificate]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture
def apple(monkeypatch, configure):
    """Apple, at another address."""
    held = Apple()
    ask = service.ask
    monkeypatch.setattr(service, "ask", lambda address, token: ask(address, token, httpx.MockTransport(held)))
    configure(mdm__apple_business="https://apple.example")
    return held


@pytest.fixture
def admin(app, company, clock):
    company.person("ada", "admin")
    return Browser(app).staff_sign_in("ada", clock())


@pytest.fixture
def certificate(admin):
    """The key is made, and its certificate downloaded."""
    admin.get("/admin/apple-business")
    admin.submit("/admin/apple-business/key")
    assert "The key is made." in admin.text
    return admin.client.get("/admin/apple-business/key.pem", base_url=BASE).data


def upload(admin, content):
    admin.get("/admin/apple-business")
    action = "/admin/apple-business/token"
    return admin.post(action, {**admin.hidden(action), "token": (io.BytesIO(content), "token.p7m")})


def walked(app, company, number=0):
    """A phone that is enrolled."""
    held = phone(app, number)
    held.install(company.profile(company.invite(company.person(f"person{number}"))))
    return held


def test_a_sign_in_is_vouched_for_once_apple_knows_the_server(app, admin, apple, certificate, company, tmp_path, clock):
    before = walked(app, company)
    upload(admin, downloaded(certificate, tmp_path))
    assert "Apple knows the token." in admin.text
    assert "Example Company" in admin.text
    assert apple.asked == ["/session", "/account"]
    held = walked(app, company, 1)
    token = held.ask_for_token()
    key = RSAKey.import_key(x509.load_pem_x509_certificate(certificate).public_key())
    claims = jwt.decode(token, key, algorithms=["RS256"]).claims
    assert {name: claims[name] for name in ("iss", "iat", "service_type")} == {
        "iss": "0A1B2C3D",
        "iat": int(clock().timestamp()),
        "service_type": "com.apple.maid",
    }
    assert jwt.decode(held.ask_for_token(), key, algorithms=["RS256"]).claims["jti"] != claims["jti"]
    with pytest.raises(InstallationFailed, match="does not say"):
        before.ask_for_token()


def test_without_a_token_nobody_is_vouched_for_and_the_page_says_what_apple_business_has_to_say(app, admin, company):
    admin.get("/admin/apple-business")
    assert "has to say “any device”" in admin.text
    held = walked(app, company)
    assert "ServerCapabilities" not in held.mdm
    held.mdm["ServerCapabilities"] = ["com.apple.mdm.token"]
    with pytest.raises(InstallationFailed, match="400"):
        held.ask_for_token()


def test_other_services_and_who_left_get_none(app, admin, apple, certificate, company, tmp_path):
    upload(admin, downloaded(certificate, tmp_path))
    held = walked(app, company)
    watch = {"MessageType": "GetToken", "TokenServiceType": "com.apple.watch.pairing"}
    with pytest.raises(InstallationFailed, match="400"):
        held._checkin(watch)
    held.remove()
    with pytest.raises(Exception, match="enrollment_ended"):
        held.ask_for_token()


def test_what_is_kept_is_sealed_and_survives_other_keys(portal, admin, apple, certificate, tmp_path):
    upload(admin, downloaded(certificate, tmp_path))
    with portal.database.session() as session:
        rows = session.scalars(select(PortalState).where(PortalState.name.like("apple_%"))).all()
        kept = b"".join((each.sealed or b"") + (each.value or "").encode() for each in rows)
    assert len(rows) == 2
    assert not any(each.encode() in kept for each in SECRETS.values())
    installation.rotate_keys(portal, drop_old=False)
    with portal.database.session() as session:
        assert (
            apple_business.token(session, portal.vault, portal.settings.mdm.apple_business).consumer_secret
            == "CS_secret"
        )
        assert apple_business.voucher(session, portal.vault).server_uuid == "0A1B2C3D"


def test_a_token_is_shown_to_no_server_that_the_settings_name_since(
    app, portal, admin, apple, certificate, tmp_path, configure
):
    upload(admin, downloaded(certificate, tmp_path))
    known = list(apple.asked)
    configure(mdm__apple_business="https://elsewhere.example")
    admin.get("/admin/apple-business").submit("/admin/apple-business/look")
    assert "its address in the settings changed" in admin.text
    assert apple.asked == known
    with portal.database.session() as session:
        assert apple_business.known(session).uuid == "0A1B2C3D"


@pytest.mark.parametrize("cipher", ["-aes-256-cbc", "-aes-128-cbc", "-des3"])
def test_whatever_cipher_apple_uses_is_read(tmp_path, clock, cipher):
    pem = server_token.make_key("Example", clock())
    held = server_token.identity(pem)
    token = server_token.read(downloaded(pem, tmp_path, cipher), held, clock())
    assert (token.access_secret, token.expires.astimezone(UTC).year) == ("AS_secret", 2027)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unreadable"),
        (b"\x00" * 100, "unreadable"),
        (b"x" * (server_token.LARGEST + 1), "large"),
        (b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"0" * 400), "unreadable"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x--", "unreadable"),
    ],
)
def test_what_is_no_token_is_refused(clock, content, code):
    held = server_token.identity(server_token.make_key("Example", clock()))
    with pytest.raises(TokenRefused) as refused:
        server_token.read(content, held, clock())
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"expires": "2020-01-01T00:00:00Z"}, "has expired"),
        ({"expires": "soon"}, "lacks something"),
        ({"consumer_key": ""}, "lacks something"),
        ({"access_secret": 5}, "lacks something"),
    ],
)
def test_a_token_that_is_no_good_is_said(admin, apple, certificate, tmp_path, told, says):
    upload(admin, downloaded(certificate, tmp_path, **told))
    assert says in admin.text
    assert admin.status == 422


def test_a_token_for_another_key_is_said(admin, apple, certificate, tmp_path, clock):
    upload(admin, downloaded(server_token.make_key("Other", clock()), tmp_path))
    assert "made for another key" in admin.text


@pytest.mark.parametrize(
    ("status", "says"), [(401, "does not take the token"), (403, "newest terms"), (500, "something unexpected")]
)
def test_apple_that_refuses_is_asked_again_every_day(
    app, admin, apple, certificate, portal, tmp_path, clock, status, says
):
    apple.status = status
    upload(admin, downloaded(certificate, tmp_path))
    assert "did not say what it belongs to" in admin.text
    assert says in admin.text
    apple.status = 200
    worker = jobs.Worker(portal.live.base)
    worker.ask_apple()
    assert len(apple.asked) == 1
    clock.forward(days=1)
    worker.portal.refresh(0)
    worker.ask_apple()
    with portal.database.session() as session:
        assert apple_business.known(session).uuid == "0A1B2C3D"
    apple.status = 500
    clock.forward(days=1)
    worker.ask_apple()
    with portal.database.session() as session:
        known = apple_business.known(session)
    assert (known.uuid, known.problem) == ("0A1B2C3D", "unexpected")


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"auth_session_token": 5}', b'{"auth_session_token": "a\\nb"}']
)
def test_answers_of_another_shape(answer):
    token = ServerToken(*SECRETS.values(), "2027-01-01T00:00:00+00:00")
    with pytest.raises(service.Unavailable, match="unexpected"):
        service.ask("https://apple.example", token, httpx.MockTransport(lambda _: httpx.Response(200, content=answer)))


def test_apple_out_of_reach():
    def down(request):
        raise httpx.ConnectError("no", request=request)

    token = ServerToken(*SECRETS.values(), "2027-01-01T00:00:00+00:00")
    with pytest.raises(service.Unavailable, match="unreachable"):
        service.ask("https://apple.example", token, httpx.MockTransport(down))


def test_an_end_that_comes_near_is_warned_of(app, admin, apple, certificate, tmp_path, clock, company):
    expires = (clock() + timedelta(days=70)).isoformat()
    upload(admin, downloaded(certificate, tmp_path, expires=expires))
    admin.get("/admin")
    assert "server token of Apple Business" not in admin.text
    clock.forward(days=45)
    later = Browser(app).staff_sign_in("ada", clock())
    later.get("/admin")
    assert "The server token of Apple Business expires in 25 days." in later.text
    ready = app.test_client().get("/readyz", base_url=BASE)
    assert ready.json["status"] == "degraded"


def test_forgetting_takes_a_fresh_proof_and_leaves_nothing(admin, apple, certificate, portal, tmp_path, clock):
    upload(admin, downloaded(certificate, tmp_path))
    admin.get("/admin/apple-business")
    clock.forward(minutes=11)
    admin.submit("/admin/apple-business/forget")
    assert admin.status == 403
    with portal.database.session() as session:
        assert apple_business.known(session) is not None


def test_an_admin_forgets_it(admin, apple, certificate, portal, tmp_path):
    upload(admin, downloaded(certificate, tmp_path))
    admin.get("/admin/apple-business")
    admin.submit("/admin/apple-business/forget")
    with portal.database.session() as session:
        assert (apple_business.known(session), apple_business.key(session, portal.vault)) == (None, None)
    assert admin.client.get("/admin/apple-business/key.pem", base_url=BASE).status_code == 404
