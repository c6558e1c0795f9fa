"""What a policy is made of survives being kept, whatever an upload holds; variables are values, never text."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.policies import catalogue, content, merging, native
from portal.policies.content import Part, is_secret, new_part
from portal.policies.paths import below
from portal.policies.variables import Recipient, fill, unknown_in, used_in

ERIKA = Recipient("erika@example.com", "", "erika", 'Erika "<b>" & {username}')
WIFI = "com.apple.wifi.managed"
values = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("$data"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["$data", "$date", "$keys"]), values, max_size=4))
def test_what_is_kept_is_read_as_it_was(kept):
    part = Part("A", WIFI, kept)
    assert content.read(content.write([part])) == (part,)


def test_a_date_is_kept_with_its_zone():
    (read,) = content.read(content.write([Part("A", WIFI, {"at": datetime(2026, 1, 2, 3, 4, 5)})]))
    assert read.values["at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_variables_are_put_in_once_as_values_and_never_in_secrets():
    told = {
        "SSID_STR": "{name}",
        "Password": "{name}",
        "deep": {"list": ["{username}@x", "{unknown}"]},
        "URL": "https://x/{name}",
    }
    filled = fill(WIFI, told, ERIKA, is_secret)
    assert filled["SSID_STR"] == ERIKA.name
    assert filled["Password"] == "{name}"
    assert filled["deep"]["list"] == ["erika@x", "{unknown}"]
    assert filled["URL"] == "https://x/Erika%20%22%3Cb%3E%22%20%26%20%7Busername%7D"
    assert used_in(WIFI, told, is_secret) == {"name", "username"}
    assert unknown_in(WIFI, told, is_secret) == {"unknown"}


@pytest.mark.parametrize("odd", ["5", True, {}, [], -1, 0, None])
def test_minutes_that_are_none_ask_for_nothing(odd):
    assert merging.passcode([{"maxInactivity": odd}]) is None
    assert merging.passcode([{"maxInactivity": odd}, {"maxInactivity": 90}]) == merging.MOST_MINUTES


def test_an_account_that_a_declaration_cannot_say_stays_a_payload():
    told = {"Host": "mail.example.com", "UserName": "{username}"}
    assert native.can_be(Part("A", "com.apple.eas.account", told))
    assert not native.can_be(Part("A", "com.apple.eas.account", {**told, "VPNUUID": "1"}))
    assert not native.can_be(Part("A", "com.apple.eas.account", {**told, "SSL": False}))
    assert not native.can_be(Part("A", WIFI, {}))


@pytest.mark.parametrize(
    ("kind", "values", "says", "credentials"),
    [
        (
            "com.apple.ldap.account",
            {"LDAPAccountHostName": "ldap.example.com", "LDAPAccountUserName": "u", "LDAPAccountPassword": "p",
             "LDAPAccountUseSSL": True,
             "LDAPSearchSettings": [{"LDAPSearchSettingSearchBase": "dc=example",
                                     "LDAPSearchSettingScope": "LDAPSearchSettingScopeSubtree"}]},
            {"HostName": "ldap.example.com", "SearchSettings": [{"SearchBase": "dc=example", "Scope": "Subtree"}]},
            {"in": {"UserName": "u", "Password": "p"}},
        ),
        (
            "com.apple.subscribedcalendar.account",
            {"SubCalAccountHostName": "https://calendar.example.com/holidays.ics", "SubCalAccountDescription": "Days"},
            {"CalendarURL": "https://calendar.example.com/holidays.ics", "VisibleName": "Days"},
            {},
        ),
        ("com.apple.google-oauth", {"EmailAddress": "e@example.com", "AccountName": "E"}, {}, {}),
    ],
)  # fmt: skip
def test_an_account_as_a_declaration_of_its_own(kind, values, says, credentials):
    part = new_part(kind, values)
    assert native.can_be(part)
    made = native.account(kind, values)
    assert made.payload == says
    assert {name: each.document() for name, each in made.credentials.items()} == credentials
    assert made.identity == (("E", "e@example.com") if kind.endswith("oauth") else ("", ""))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("com.apple.ldap.account", {"LDAPAccountHostName": "ldap.example.com", "LDAPAccountUseSSL": False}),
        ("com.apple.ldap.account", {"LDAPAccountHostName": "ldap.example.com", "VPNUUID": "X"}),
        ("com.apple.subscribedcalendar.account", {"SubCalAccountHostName": "calendar.example.com"}),
        ("com.apple.subscribedcalendar.account", {"SubCalAccountHostName": "http://calendar.example.com"}),
        ("com.apple.google-oauth", {"EmailAddress": "e@example.com", "CommunicationServiceRules": {}}),
    ],
)
def test_what_a_declaration_could_not_say_stays_a_profile(kind, values):
    assert not native.can_be(new_part(kind, values))


PUBLIC_DATA = {
    *(
        "Font",
        "Icon",
        "Relays.Relay.RawPublicKeys.RawPublicKeysElement",
        "PayloadContent",
        "PayloadContent.CAFingerprint",
    ),
    *("EnabledForCerts.SubjectPublicKeyInfoHashDict.Hash", "DisabledForCerts.SubjectPublicKeyInfoHashDict.Hash"),
}


def test_whatever_apple_calls_data_is_secret_unless_it_is_public():
    """A new catalogue of Apple's may bring keys whose names say nothing of it."""

    def data(keys, path=""):
        for name, key in keys.items():
            here = below(path, name)
            if key.usable and key.type == "data":
                yield here
            yield from data(key.keys, here)

    payloads = catalogue.load().payloads
    told = {path for kind, each in payloads.items() for path in data(each.keys) if not is_secret(kind, path)}
    assert told == PUBLIC_DATA


@given(st.recursive(st.text(max_size=4), lambda inner: st.dictionaries(st.text(max_size=4), inner, min_size=1)))
def test_each_path_leads_to_one_value(values):
    paths = [path for path, _ in content.walk(values)]
    assert len(set(paths)) == len(paths)
