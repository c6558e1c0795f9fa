"""Settings: every one has a default, a comment and a type; mistakes are named."""

import re
import tomllib

import pytest

from portal import create_app, settings
from portal.settings import document
from portal.settings.schema import Section


@pytest.fixture(autouse=True)
def away_from_the_demo(monkeypatch, tmp_path):
    """No ``make run`` of this checkout has a say here."""
    monkeypatch.setenv("PORTAL_DATA_DIR", str(tmp_path))


def flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def fields(model, prefix=""):
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_the_defaults_and_the_types_name_the_same_settings():
    defaults = tomllib.loads(settings.DEFAULTS.read_text("utf-8"))
    assert set(flat(defaults)) == set(fields(settings.Settings))


def test_every_setting_has_a_comment_and_stands_in_the_table():
    shown = document.PAGE.read_text("utf-8")
    for line in settings.DEFAULTS.read_text("utf-8").splitlines():
        found = re.match(r"(\w+) = ", line)
        if found:
            assert " # " in line, line
            assert f"| `{found[1]}` |" in shown, line


def test_the_table_of_settings_is_as_the_defaults_make_it():
    """``make settings`` brings it up to date."""
    shown = document.PAGE.read_text("utf-8")
    assert document.page(shown) == shown


def test_the_environment_wins_over_a_file_and_a_file_over_the_defaults(tmp_path, monkeypatch):
    file = tmp_path / "portal.toml"
    file.write_text('[company]\nname = "From the file"\nsupport_phone = "1"\n')
    monkeypatch.setenv("PORTAL_CONFIG", str(file))
    monkeypatch.setenv("PORTAL_COMPANY_NAME", "From the environment")
    monkeypatch.setenv("PORTAL_SIGN_IN_ACCOUNT_TRIES", "3")
    loaded = settings.load()
    assert (loaded.company.name, loaded.company.support_phone) == ("From the environment", "1")
    assert loaded.company.identifier == "com.example"
    assert loaded.sign_in.account_tries == 3


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORTAL_PUBLIC_URL", "http://portal.example.com", "must begin with https://"),
        ("PORTAL_PUBLIC_URL", "https://portal.example.com/path", "without a path"),
        ("PORTAL_PUBLIC_URL", "nonsense", "must be like https://"),
        ("PORTAL_MAIL_PORT", "many", "mail.port"),
        ("PORTAL_PASSCODE_TRIES", "0", "passcode.tries"),
        ("PORTAL_MAIL_TRANSPORT", "pigeon", "mail.transport"),
        ("PORTAL_PROXY_TRUSTED", '["everyone"]', "proxy.trusted"),
    ],
)
def test_a_mistake_is_named_in_words(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(settings.SettingsError, match=says):
        settings.load()


def test_a_setting_nobody_knows_is_an_error(tmp_path, monkeypatch):
    file = tmp_path / "portal.toml"
    file.write_text('[company]\nnmae = "Typo"\n')
    monkeypatch.setenv("PORTAL_CONFIG", str(file))
    with pytest.raises(settings.SettingsError, match=r"company\.nmae"):
        settings.load()


def test_the_folder_of_a_demo_speaks_for_itself_unless_a_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "demo.toml").write_text('demo = true\npublic_url = "http://127.0.0.1:1"\n')
    assert settings.load().public_url == "http://127.0.0.1:1"
    (tmp_path / "portal.toml").write_text('public_url = "https://real.example.com"\n')
    monkeypatch.setenv("PORTAL_CONFIG", str(tmp_path / "portal.toml"))
    assert (settings.load().public_url, settings.load().demo) == ("https://real.example.com", False)
    monkeypatch.setenv("PORTAL_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(settings.SettingsError, match="does not exist"):
        settings.load()


def test_plain_http_is_only_for_a_demo_on_loopback(monkeypatch):
    monkeypatch.setenv("PORTAL_PUBLIC_URL", "http://127.0.0.1:8000")
    with pytest.raises(settings.SettingsError):
        settings.load()
    assert not settings.load(demo=True).secure


def test_passwords_and_keys_do_not_show_in_a_print():
    loaded = settings.load(secret_keys=("very-secret",), mail={**settings.load().mail.model_dump(), "password": "hush"})
    assert "very-secret" not in repr(loaded)
    assert "hush" not in repr(loaded)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORTAL_LANGUAGES", "en,de"),
        ("PORTAL_LDAP_SERVERS", "ldaps://dc.example.com"),
        ("PORTAL_PROXY_TRUSTED", "10.0.0.0/8"),
        ("PORTAL_SECRET_KEYS", "very-secret"),
        ("PORTAL_LDAP", "x"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named_with_what_it_should_look_like(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(settings.SettingsError) as refused:
        settings.load()
    assert f"{variable} has to be written as JSON, like {variable}='" in str(refused.value)
    assert value not in str(refused.value)  # it may be a secret
    with pytest.raises(SystemExit, match=variable):
        create_app()


def test_a_variable_that_sets_nothing_is_named_its_value_is_not(monkeypatch, caplog):
    for name in ("PORTAL_SIGNIN_ACCOUNT_TRIES", "PORTAL_SIGN_IN_ACCOUNT_TRIES", "PORTAL_LANGUAGES", "PORTAL_SIGN_IN"):
        monkeypatch.setenv(name, {"PORTAL_LANGUAGES": '["en"]', "PORTAL_SIGN_IN": "{}"}.get(name, "7"))
    create_app()
    told = [each.getMessage() for each in caplog.records if "sets_nothing" in each.getMessage()]
    assert told == ["settings.variable_sets_nothing name=PORTAL_SIGNIN_ACCOUNT_TRIES"]
