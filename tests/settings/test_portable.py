"""Configuration as code: out, compared, in again; secrets only by reference."""

import pytest

from portal.settings import held_secrets, overlay, portable, saving
from portal.settings.overlay import NotValid
from tests.factories import editing_settings

PROVIDER = {
    "name": "example", "title": "Example", "issuer": "https://id.example.com", "client_id": "portal",
    "client_secret": "very secret",
}  # fmt: skip


@pytest.fixture
def changed(portal):
    values = {"mail.password": "hush", "company.name": "Musterwerk", "oidc.providers": [PROVIDER]}
    with portal.database.transaction() as session:
        saving.save(editing_settings(portal, session), "x", values)
    portal.refresh(0)
    return portal


def test_every_setting_survives_export_and_import_and_no_secret_is_in_the_file(changed):
    text = portable.export(changed.settings)
    assert "hush" not in text
    assert "very secret" not in text
    values = portable.read(text, changed.settings)
    assert set(values) == set(overlay.names())
    assert portable.differences(values, changed.settings) == {}
    settled = held_secrets.settle(values, lambda name: overlay.value_of(changed.settings, name))
    assert overlay.lay_over(changed.live.base, settled) == changed.settings


def test_a_file_of_another_portal_names_its_secrets_by_reference(portal, changed, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("from a file\n")
    text = f'[mail]\npassword = {{ file = "{secret}" }}\n[ldap]\nservice_password = {{ env = "BIND" }}\n'
    values = portable.read(text, portal.live.base, {"BIND": "from the environment"})
    assert values == {"mail.password": "from a file", "ldap.service_password": "from the environment"}
    assert portable.differences(values, portal.settings)["mail.password"] == (overlay.MASK, overlay.MASK)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[mail]\npassword = "in the clear"', "mail.password"),
        ("[mail]\npassword = { stored = true }", "mail.password"),
        ('[mail]\npassword = { env = "NOT_SET" }', "mail.password"),
        ('[ldap]\nservice_password = { file = "/nonexistent" }', "ldap.service_password"),
        ('[[oidc.providers]]\nname = "x"\nclient_secret = "clear"', "oidc.providers.client_secret"),
        ('public_url = "https://x.example"', "public_url"),
        ('[sms]\nauthorization_secret = { env = "PORTAL_LDAP_SERVICE_PASSWORD" }', "sms.authorization_secret"),
        ('[sms]\nauthorization_secret = { env = "portal_secret_keys" }', "sms.authorization_secret"),
        ('[sms]\nauthorization_secret = { file = "DATA/secret.keys" }', "sms.authorization_secret"),
        ('[sms]\nauthorization_secret = { file = "DATA/../DATA/secret.keys" }', "sms.authorization_secret"),
        ("[company]\nnmae = 1", "company.nmae"),
        ("not toml at all", "file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(portal, text, name):
    data = portal.settings.data
    (data / "secret.keys").write_text("hush")
    text = text.replace("DATA/../DATA", f"{data}/../{data.name}").replace("DATA", str(data))
    ours = {"PORTAL_LDAP_SERVICE_PASSWORD": "hush", "PORTAL_SECRET_KEYS": "hush", "portal_secret_keys": "hush"}
    with pytest.raises(NotValid) as refused:
        portable.read(text, portal.live.base, ours)
    assert [each.name for each in refused.value.problems] == [name]


def test_the_variable_of_a_setting_may_be_named_for_that_setting(portal):
    text = '[mail]\npassword = { env = "PORTAL_MAIL_PASSWORD" }'
    assert portable.read(text, portal.live.base, {"PORTAL_MAIL_PASSWORD": "own"}) == {"mail.password": "own"}


def test_resetting_a_secret_takes_it_to_no_other_server(make_app, clock):
    app = make_app(
        mail={"host": "mx.example.com", "username": "portal", "security": "tls", "password": "from the file"}
    )
    portal = app.extensions["portal"]
    with portal.database.transaction() as session:
        changes = {"mail.host": "other.example", "mail.password": "x"}
        saving.save(editing_settings(portal, session, clock()), "mail", changes)
    said = app.test_cli_runner().invoke(args=["config", "reset", "mail.password"]).output
    portal.refresh(0)
    assert (portal.settings.mail.host, portal.settings.mail.password) == ("mx.example.com", "from the file")
    assert said == "mail.host\nmail.password\n"


def test_the_commands(app, portal, company, tmp_path):
    company.person("adam", role="admin")
    run = app.test_cli_runner().invoke
    exported = run(args=["config", "export"]).output
    file = tmp_path / "portal.toml"
    file.write_text(exported.replace("Example Company", "Musterwerk"))
    different = run(args=["config", "diff", str(file)])
    assert (different.exit_code, different.output) == (1, 'company.name: "Example Company" -> "Musterwerk"\n')
    assert "1 settings would change" in run(args=["config", "import", str(file), "--dry-run"]).output
    assert run(args=["config", "diff", str(file)]).exit_code == 1
    assert run(args=["config", "import", str(file)]).output == "1 settings changed.\n"
    assert run(args=["config", "diff", str(file)]).exit_code == 0
    assert portal.settings.company.name == "Musterwerk"
    assert run(args=["config", "reset", "company"]).output == "company.name\n"
    portal.refresh(0)
    assert portal.settings.company.name == "Example Company"
    file.write_text("[passcode]\ntries = 0\n")
    refused = run(args=["config", "import", str(file)])
    assert refused.exit_code == 1
    assert "passcode.tries" in refused.output
