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


def test_a_file_of_another_portal_names_its_secrets_by_reference(portal, changed, tmp_path):
    secret = tmp_path / "secret"
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
        ("[company]\nnmae = 1", "company.nmae"),
        ("not toml at all", "file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(portal, text, name):
    with pytest.raises(NotValid) as refused:
        portable.read(text, portal.live.base, {})
    assert [each.name for each in refused.value.problems] == [name]


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
