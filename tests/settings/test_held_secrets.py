"""A held secret goes only to the server that it was typed for, whoever changes the address and however."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from portal.models import SettingsVersion
from portal.settings import held_secrets, overlay, portable, saving
from portal.settings.schema import OidcProvider
from portal.web.admin.settings_form import PAGES, fields_of
from tests.factories import editing_settings
from tests.pages import Browser

PAGE_OF = {field.name: page for page in PAGES for field in fields_of(page)}
PROVIDER = {"name": "example", "title": "Example", "issuer": "https://id.example.com", "client_id": "portal",
            "client_secret": "hush"}  # fmt: skip
BEFORE = {
    "ldap.servers": ["ldaps://dc.example.com"],
    "ldap.base_dn": "dc=example,dc=com",
    "ldap.service_dn": "cn=portal,dc=example,dc=com",
    "ldap.user_dn": "uid={username},dc=example,dc=com",
    "ldap.service_password": "hush",
    "mail.host": "mx.example.com",
    "mail.username": "portal",
    "mail.security": "tls",
    "mail.password": "hush",
    "sms.transport": "http",
    "sms.url": "https://sms.example.com/send",
    "sms.authorization_secret": "hush",
    "oidc.providers": [PROVIDER],
    "maas360.host": "https://maas360.example.com",
    "maas360.billing_id": "30012345",
    "maas360.username": "portal",
    "maas360.password": "hush",
    "maas360.app_access_key": "hush",
}
ELSEWHERE = {
    "ldap.servers": ["ldaps://evil.example"],
    "ldap.ca_file": __file__,
    "ldap.bind": "direct",
    "ldap.service_dn": "cn=other,dc=example,dc=com",
    "mail.host": "evil.example",
    "mail.port": 2525,
    "mail.security": "none",
    "mail.username": "other",
    "sms.url": "https://evil.example/collect",
    "maas360.host": "https://evil.example",
    "maas360.billing_id": "40000001",
    "maas360.username": "other",
}
MOVES = [(secret, address) for secret, addresses in held_secrets.TYPED_FOR.items() for address in addresses]


@pytest.fixture
def admin(app, company, clock, portal):
    company.person("ada", "admin")
    with portal.database.transaction() as session:
        saving.save(editing_settings(portal, session, clock()), "x", BEFORE, confirmed=True)
    portal.refresh(0)
    return Browser(app).staff_sign_in("ada", clock())


def value(portal, name):
    portal.refresh(0)
    return overlay.value_of(portal.settings, name)


def test_every_setting_that_is_an_address_is_known():
    """A new secret needs to say to whom it goes; a new address beside a secret needs to be one of those."""
    secrets = {name for name in overlay.names() if overlay.is_secret(name)}
    uploaded = {"mdm.push_identity", "profile.signing_identity"}  # keys that never leave the portal
    assert secrets - uploaded == set(held_secrets.TYPED_FOR)
    assert {key for key in OidcProvider.model_fields if overlay.is_secret(key)} == {"client_secret"}
    assert set(ELSEWHERE) == {address for _, address in MOVES}


@pytest.mark.parametrize(("secret", "address"), MOVES)
def test_changing_an_address_on_its_page_empties_the_secret(admin, portal, secret, address):
    admin.get(f"/admin/settings/{PAGE_OF[address]}")
    moved = ELSEWHERE[address]
    admin.send(**{address: "\n".join(moved) if isinstance(moved, list) else str(moved)})
    assert admin.status == 200, admin.text
    assert "Saved, without the stored secret" in admin.text
    assert (value(portal, address), value(portal, secret)) == (moved, "")


@pytest.mark.parametrize(("secret", "address"), MOVES)
def test_typed_again_it_goes_along(admin, portal, secret, address):
    admin.get(f"/admin/settings/{PAGE_OF[address]}")
    moved = ELSEWHERE[address]
    admin.send(**{address: "\n".join(moved) if isinstance(moved, list) else str(moved), secret: "hush"})
    assert (value(portal, address), value(portal, secret)) == (moved, "hush")


def test_what_is_no_address_keeps_it(admin, portal):
    admin.get("/admin/settings/directory").send(**{"ldap.timeout_seconds": "9"})
    assert value(portal, "ldap.service_password") == "hush"
    admin.get("/admin/settings/providers").send(**{"oidc.providers.0.title": "Renamed"})
    assert value(portal, "oidc.providers")[0]["client_secret"] == "hush"


def test_a_provider_at_another_issuer_or_of_another_name_has_no_secret(admin, portal):
    admin.get("/admin/settings/providers").send(**{"oidc.providers.0.issuer": "https://evil.example"})
    assert value(portal, "oidc.providers")[0]["client_secret"] == ""
    assert "Saved, without the stored secret" in admin.text


def test_a_second_provider_with_the_name_of_the_first_gets_no_secret(admin, portal):
    admin.get("/admin/settings/providers")
    second = {"name": "example", "title": "x", "issuer": "https://evil.example", "client_id": "p"}
    typed = {f"oidc.providers.1.{key}": each for key, each in second.items()}
    admin.send(**{"oidc.providers.0.name": "renamed"}, **typed)
    assert [each["client_secret"] for each in value(portal, "oidc.providers")] == ["", ""]


@pytest.mark.parametrize(("secret", "address"), MOVES)
def test_a_file_that_names_the_stored_secret_takes_it_nowhere_else(admin, portal, clock, secret, address):
    section, key = address.split(".")
    moved = ELSEWHERE[address]
    written = (
        str(moved)
        if isinstance(moved, int)
        else str(moved).replace("'", '"')
        if isinstance(moved, list)
        else f'"{moved}"'
    )
    text = f"[{section}]\n{key} = {written}\n{secret.split('.')[1]} = {{ stored = true }}\n"
    values = portable.read(text, portal.settings)
    with portal.database.transaction() as session:
        saving.save(editing_settings(portal, session, clock()), saving.IMPORT, values, confirmed=True)
    assert value(portal, secret) == ""


@pytest.mark.parametrize(("secret", "address"), MOVES)
def test_saving_an_address_alone_empties_it_too(admin, portal, clock, secret, address):
    """The rule is where settings are saved, not on a page."""
    with portal.database.transaction() as session:
        wanted = {address: ELSEWHERE[address]}
        saving.save(editing_settings(portal, session, clock()), "x", wanted, confirmed=True)
    assert value(portal, secret) == ""


def test_restoring_brings_an_address_back_with_the_secret_it_had(admin, portal, clock):
    admin.get("/admin/settings/mail").send(**{"mail.host": "evil.example"})
    assert value(portal, "mail.password") == ""
    action = next(form["action"] for form in admin.soup.find_all("form") if "restore" in (form.get("action") or ""))
    admin.submit(action)
    assert (value(portal, "mail.host"), value(portal, "mail.password")) == ("mx.example.com", "hush")


@pytest.mark.parametrize(("secret", "address"), MOVES)
def test_where_a_variable_pins_the_secret_the_address_is_pinned_with_it(admin, monkeypatch, secret, address):
    monkeypatch.setenv("PORTAL_" + secret.upper().replace(".", "_"), "pinned")
    assert address in overlay.pinned()
    admin.get(f"/admin/settings/{PAGE_OF[address]}")
    assert admin.soup.find(id=address).has_attr("disabled")


def test_a_secret_that_was_forgotten_is_not_restored_to_another_server(admin, portal):
    """What was found: forget it, move the address, restore the version in which it was forgotten."""
    admin.get("/admin/settings/sms").send(**{"sms.authorization_secret.forget": "yes"})
    action = next(form["action"] for form in admin.soup.find_all("form") if "restore" in (form.get("action") or ""))
    admin.send(**{"sms.url": "https://evil.example/collect"})
    admin.submit(action)
    assert (value(portal, "sms.url"), value(portal, "sms.authorization_secret")) == (BEFORE["sms.url"], "hush")


@pytest.mark.each_database
def test_an_old_entry_that_does_not_say_for_which_server_brings_no_secret_back(admin, portal, clock):
    admin.get("/admin/settings/sms").send(**{"sms.authorization_secret.forget": "yes"})
    with portal.database.transaction() as session:
        version = session.query(SettingsVersion).order_by(SettingsVersion.id.desc()).first()
        kept = json.loads(portal.vault.open(version.before_sealed))
        only = {"sms.authorization_secret": kept["sms.authorization_secret"]}
        version.before_sealed = portal.vault.seal(json.dumps(only).encode())
        number = version.id
    with portal.database.transaction() as session:
        saving.restore(editing_settings(portal, session, clock()), number)
    assert value(portal, "sms.authorization_secret") == ""


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.heard.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def collector():
    """Somebody else's server."""
    server = HTTPServer(("127.0.0.1", 0), Collector)
    server.heard = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_trying_an_address_that_is_not_saved_sends_the_secret_nowhere(admin, portal, collector):
    url = f"http://127.0.0.1:{collector.server_port}/collect"
    admin.get("/admin/settings/sms").send("/admin/settings/sms/try", **{"sms.url": url, "who": "+49 170 1234567"})
    assert "It works" in admin.text
    assert collector.heard == [None]
    admin.send("/admin/settings/sms/try", **{"sms.url": url, "sms.authorization_secret": "typed", "who": "+49 170 1"})
    assert collector.heard == [None, "typed"]
    assert value(portal, "sms.url") == BEFORE["sms.url"]
