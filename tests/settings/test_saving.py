"""Settings that are saved while the portal runs: checked, remembered, brought back, and counted everywhere."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from portal import audit, installation, vault
from portal.models import SettingValue
from portal.services import Portal
from portal.settings import live, overlay, saving
from portal.settings.overlay import MASK, NotValid
from portal.settings.saving import LocksOut, SavedMeanwhile
from tests.factories import editing_settings


@pytest.fixture
def save(portal, company):
    def run(page="company", *, actor="admin:one", **values):
        named = {name.replace("__", "."): value for name, value in values.items()}
        options = {key: named.pop(key) for key in ("seen", "confirmed") if key in named}
        with portal.database.transaction() as session:
            changed = saving.save(editing_settings(portal, session, actor=actor), page, named, **options)
        portal.refresh(0)
        return changed

    return run


def test_a_saved_setting_counts_here_at_once_and_in_another_process(save, portal):
    other = Portal(portal.live.base)
    assert other.settings.company.name == "Example Company"
    save(company__name="Musterwerk")
    assert portal.settings.company.name == "Musterwerk"
    other.refresh(0)
    assert other.settings.company.name == "Musterwerk"
    other.database.engine.dispose()


def test_another_process_looks_at_most_once_a_second(save, portal):
    other = Portal(portal.live.base)
    other.refresh(0)
    save(company__name="Musterwerk")
    other.refresh(60)
    assert other.settings.company.name == "Example Company"
    other.database.engine.dispose()


def test_what_was_opened_with_old_settings_is_opened_anew_and_the_rest_is_kept(save, portal):
    signer, directory = portal.signer, portal.directory
    assert directory is None
    save("directory", ldap__servers=["ldaps://dc1.example.com"], ldap__base_dn="dc=example")
    assert portal.directory is not None
    assert portal.sources.directory is portal.directory
    assert portal.signer is signer


def test_a_variable_of_the_environment_always_wins(save, portal, monkeypatch):
    monkeypatch.setenv("PORTAL_COMPANY_NAME", "From the environment")
    assert save(company__name="Musterwerk", company__support_phone="1") == {"company.support_phone": ["", "1"]}
    assert portal.settings.company.name == "Example Company"  # the test's own base, which the variable would have set


def test_all_or_nothing_and_every_problem_is_named(save, portal):
    with pytest.raises(NotValid) as refused:
        save(passcode__tries=0, enrollment__request_lifetime_days="many", enrollment__devices_per_person=2)
    assert {each.name for each in refused.value.problems} == {"passcode.tries", "enrollment.request_lifetime_days"}
    assert portal.settings.enrollment.devices_per_person == 0


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("company.name", "", "string_too_short"),
        ("company.accent", "#ffff00", "accent_contrast"),
        ("company.accent", "red", "string_pattern_mismatch"),
        ("company.support_email", "nobody", "string_pattern_mismatch"),
        ("languages", [], "too_short"),
        ("enrollment.minimum_ios", "12.4", "minimum_ios_early"),
        ("profile.lifetime_minutes", 61, "less_than_equal"),
        ("session.idle_minutes", 0, "greater_than_equal"),
        ("mail.transport", "pigeon", "literal_error"),
        ("mail.port", 1.5, "int_from_float"),
        ("ldap.servers", ["http://dc1"], "ldap_server"),
        ("account_driven.oauth2_provider", "nobody", "unknown_provider"),
        ("public_url", "https://elsewhere.example", "unknown"),
        ("secret_keys", ["x"], "unknown"),
        ("company.nonsense", "x", "unknown"),
    ],
)
def test_a_wrong_value_is_refused_at_its_setting(save, name, value, code):
    with pytest.raises(NotValid) as refused:
        save(**{name: value})
    assert [(each.name, each.code) for each in refused.value.problems] == [(name, code)]


def test_the_trail_and_the_history_say_who_changed_what_and_hide_secrets(save, portal, session):
    save("mail", mail__password="first secret", mail__host="mx.example.com")
    save("mail", mail__password="second secret")
    newest = saving.history(session, "mail", {"mail.password"})
    assert [each.changes["mail.password"] for each in newest] == [[MASK, MASK], ["", MASK]]
    event = audit.newest(session, audit.SETTINGS)
    assert (event.kind, event.reason, event.actor) == ("settings.changed", "mail", "admin:one")
    assert event.detail["changes"] == {"mail.password": [MASK, MASK]}
    everything = str([row.value_sealed for row in session.query(SettingValue)]) + json.dumps(
        [each.changes for each in newest]
    )
    assert "secret" not in everything


def test_what_was_saved_of_a_page_is_found_behind_any_number_of_imports(save, session):
    save("mail", mail__host="mx.example.com")
    for number in range(25):
        save(saving.IMPORT, company__name=f"Company {number}")
    assert [each.page for each in saving.history(session, "mail", {"mail.host"})] == ["mail"]
    assert len(saving.history(session, "company", {"company.name"})) == 20


@pytest.mark.parametrize("length", [1, overlay.LONGEST_SHOWN, overlay.LONGEST_SHOWN + 100])
def test_no_secret_is_shown_however_long_it_is(length):
    secret = "K" * length
    for name in ("mail.password", "mdm.push_identity", "sms.authorization_secret"):
        assert overlay.masked(name, secret) == MASK
    shown = overlay.masked("oidc.providers", [{"name": "corp", "client_secret": secret, "issuer": "i" * 600}])
    assert shown == [{"name": "corp", "client_secret": MASK, "issuer": "i" * overlay.LONGEST_SHOWN + "…"}]


def test_bringing_back_also_brings_back_a_secret(save, portal, session):
    save("mail", mail__password="first")
    save("mail", mail__password="second", mail__host="mx2.example.com")
    newest = saving.history(session, "mail", {"mail.password"})[0].id
    with portal.database.transaction() as writing:
        saving.restore(editing_settings(portal, writing, actor="admin:one"), newest)
    portal.refresh(0)
    assert (portal.settings.mail.password, portal.settings.mail.host) == ("first", "localhost")


def test_a_value_like_the_files_is_forgotten_so_that_the_files_count_again(save, session):
    save(company__name="Musterwerk")
    save(company__name="Example Company")
    assert session.query(SettingValue).count() == 0


def test_the_second_of_two_admins_is_told_what_the_first_one_saved(save, portal):
    save(company__name="First", seen=0)
    with pytest.raises(SavedMeanwhile) as refused:
        save(company__name="Second", seen=0, actor="admin:two")
    assert refused.value.by == "admin:one"
    assert [(each.name, each.theirs, each.mine) for each in refused.value.differences] == [
        ("company.name", "First", "Second")
    ]
    assert portal.settings.company.name == "First"
    save(company__name="Second", seen=refused.value.version)
    assert portal.settings.company.name == "Second"


def test_a_page_that_nobody_else_changed_does_not_get_in_the_way_of_another(save):
    save(company__name="First", seen=0)
    save("mail", mail__host="mx.example.com", seen=0)


def test_what_would_lock_every_admin_out_has_to_be_said_twice(save, portal, company):
    company.person("boss", role="admin", source="directory")
    values = {"ldap__servers": ["ldaps://dc1.example.com"], "ldap__base_dn": "dc=example"}
    with pytest.raises(LocksOut):
        save("directory", **values)
    save("directory", **values, ldap__admin_group="cn=admins")
    with pytest.raises(LocksOut):
        save("directory", ldap__servers=[])
    save("directory", ldap__servers=[], confirmed=True)
    assert portal.settings.ldap.servers == ()


def test_a_saved_value_that_no_longer_fits_is_left_out_and_the_rest_counts(save, portal, session, caplog):
    save(company__name="Musterwerk", company__support_phone="12")
    with portal.database.transaction() as writing:
        writing.get(SettingValue, "company.support_phone").value_sealed = portal.vault.seal(b'"\\u0000 not a phone"')
    other = Portal(portal.live.base)
    other.refresh(0)
    assert other.settings.company.name in ("Musterwerk", "Example Company")
    assert other.settings.company.support_phone == ""
    assert "settings.saved_value_left_out" in caplog.text
    other.database.engine.dispose()


def test_settings_outlive_a_rotation_of_the_keys(portal, save):
    save("mail", mail__password="kept")
    keys = [vault.new_key(), *portal.live.base.secret_keys]
    fresh = Portal(portal.live.base.model_copy(update={"secret_keys": tuple(keys)}))
    installation.rotate_keys(fresh)
    only_new = Portal(portal.live.base.model_copy(update={"secret_keys": (keys[0],)}))
    assert only_new.settings.mail.password == "kept"
    for each in (fresh, only_new):
        each.database.engine.dispose()


def test_pinned_names_are_those_of_the_environment():
    assert overlay.pinned({"PORTAL_MAIL_HOST": "x", "PORTAL_LDAP": "{}", "HOME": "/"}) >= {"mail.host", "ldap.servers"}
    assert "mail.port" not in overlay.pinned({"PORTAL_MAIL_HOST": "x"})


def test_no_first_request_sees_the_files_settings_while_another_reads_the_saved_ones(save, portal, monkeypatch):
    save(company__name="Musterwerk")
    other = Portal(portal.live.base)
    real = live.newest_version

    def slowly(session):
        time.sleep(0.2)
        return real(session)

    monkeypatch.setattr(live, "newest_version", slowly)
    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda _number: other.settings.company.name, range(8)))
    assert names == ["Musterwerk"] * 8
    other.database.engine.dispose()
