"""What of a profile applies in user enrollment is said before anybody gets it."""

import json
import plistlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from portal.enrollment import allowed
from portal.enrollment.errors import CommandForbidden
from portal.policies import catalogue, checking
from portal.policies.checking import Problem

ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=6) | some.binary(max_size=4),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)
KNOWN = catalogue.load()


def profile(*payloads, **values):
    return {"PayloadType": "Configuration", "PayloadIdentifier": "x", "PayloadContent": list(payloads), **values}


def problems(*payloads):
    return [(each.key, each.problem) for each in checking.check(profile(*payloads))]


@given(
    ANYTHING, some.sampled_from(sorted(KNOWN.payloads)), some.dictionaries(some.text(max_size=6), ANYTHING, max_size=3)
)
def test_whatever_a_profile_holds_it_is_judged(content, kind, values):
    checking.check({"PayloadType": "Configuration", "PayloadContent": content})
    checking.check(profile({**values, "PayloadType": kind}, content))


@given(some.data())
def test_whatever_the_values_of_known_keys_are_they_are_judged(data):
    kind = data.draw(some.sampled_from(sorted(KNOWN.usable())))
    names = sorted(KNOWN.payloads[kind].keys)
    values = data.draw(some.dictionaries(some.sampled_from(names), ANYTHING, max_size=4))
    for each in checking.check(profile({**values, "PayloadType": kind})):
        assert each.problem in checking.FORBIDDEN | checking.BROKEN | checking.NOTED


@pytest.mark.parametrize("key", ["EncryptedPayloadContent", "IsEncrypted"])
def test_what_stands_encrypted_beside_the_checked_payloads_is_refused(key):
    harmless = {"PayloadType": "com.apple.webClip.managed", "PayloadIdentifier": "a.b", "PayloadUUID": "A",
                "PayloadVersion": 1, "Label": "x", "URL": "https://example.com"}  # fmt: skip
    whole = profile(harmless, PayloadUUID="B", PayloadVersion=1)
    allowed.command("InstallProfile", {"Payload": plistlib.dumps(whole)})
    with pytest.raises(CommandForbidden):
        allowed.command("InstallProfile", {"Payload": plistlib.dumps({**whole, key: b"sealed"})})


def test_a_policy_for_wifi_can_be_used():
    wifi = {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "Example", "EncryptionType": "WPA2", "Password": "x"}
    assert problems(wifi) == []


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [({"PayloadType": "com.apple.wifi.managed", "ProxyType": "Auto"}, ("ProxyType", "forbidden")),
     ({"PayloadType": "com.apple.wifi.managed", "EncryptionType": "WPA9"}, ("EncryptionType", "not_a_choice")),
     ({"PayloadType": "com.apple.wifi.managed", "AutoJoin": "yes"}, ("AutoJoin", "wrong_type")),
     ({"PayloadType": "com.apple.wifi.managed", "Made Up": 1}, ("Made Up", "unknown_key")),
     ({"PayloadType": "com.apple.wifi.managed", "PayloadCertificateUUID": "A"},
      ("PayloadCertificateUUID", "certificate_elsewhere")),
     ({"PayloadType": "com.apple.wifi.managed",
       "EAPClientConfiguration": {"AcceptEAPTypes": [13], "TLSMinimumVersion": "1.3"}},
      ("EAPClientConfiguration.OuterIdentity", "outer_identity")),
     ({"PayloadType": "com.apple.applicationaccess", "allowCamera": False}, ("allowCamera", "forbidden")),
     ({"PayloadType": "com.apple.applicationaccess", "allowMadeUp": False}, ("allowMadeUp", "forbidden")),
     ({"PayloadType": "com.apple.applicationaccess", "requireManagedPasteboard": True},
      ("requireManagedPasteboard", "newer_ios")),
     ({"PayloadType": "com.apple.applicationaccess", "allowAssistant": False}, ("allowAssistant", "deprecated")),
     ({"PayloadType": "com.apple.mobiledevice.passwordpolicy", "minLength": 8}, ("minLength", "ignored")),
     ({"PayloadType": "com.apple.webClip.managed", "Label": "Intranet"}, ("URL", "missing")),
     ({"PayloadType": "com.apple.relay.managed"}, ("RelayUUID", "needs_uuid")),
     ({"PayloadType": "com.apple.vpn.managed"}, ("", "forbidden_payload")),
     ({"PayloadType": "com.apple.mdm"}, ("", "forbidden_payload")),
     ({"PayloadType": "com.example.made.up"}, ("", "unknown_payload"))],
)  # fmt: skip
def test_each_problem_is_named_at_its_key(payload, wanted):
    assert wanted in problems(payload)


def test_an_identity_in_the_same_profile_is_found():
    wifi = {"PayloadType": "com.apple.wifi.managed", "PayloadCertificateUUID": "AB-1"}
    identity = {"PayloadType": "com.apple.security.scep", "PayloadUUID": "ab-1", "PayloadContent": {"URL": "https://x"}}
    assert "certificate_elsewhere" not in {problem for _, problem in problems(wifi, identity)}


def test_restrictions_must_not_meet_themselves():
    one = {"PayloadType": "com.apple.applicationaccess", "allowScreenShot": False}
    assert Problem("com.apple.applicationaccess", "", "twice") in checking.check(profile(one, one))


def test_nothing_is_hidden_behind_many_harmless_problems():
    font = {"PayloadType": "com.apple.font", **{f"k{number}": 1 for number in range(5000)}}
    for kind in ("com.apple.mdm", "com.apple.vpn.managed"):
        with pytest.raises(CommandForbidden):
            allowed.read_profile(plistlib.dumps(profile(font, {"PayloadType": kind, "AccessRights": 8191})))


@pytest.mark.parametrize("kind", [[], {}, ["com.apple.font"], 7, True, b"x", None])
def test_a_type_that_is_no_text_is_refused(kind):
    assert ("PayloadContent", "unreadable") in problems({"PayloadType": kind} if kind is not None else {})


def test_an_ordinary_single_sign_on_extension_can_be_used():
    redirect = {"PayloadType": "com.apple.extensiblesso", "Type": "Redirect", "URLs": ["https://id.example.com"],
                "ExtensionIdentifier": "com.example.sso", "ExtensionData": {"made": {"up": 1}}}  # fmt: skip
    assert checking.usable(checking.check(profile(redirect)))


def test_what_ios_knows_no_more_is_only_noted():
    wifi = {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "Work",
            "EAPClientConfiguration": {"AcceptEAPTypes": [13], "TLSAllowTrustExceptions": True}}  # fmt: skip
    assert ("EAPClientConfiguration.TLSAllowTrustExceptions", "removed") in problems(wifi)
    assert checking.usable(checking.check(profile(wifi)))


def test_what_is_only_noted_does_not_make_it_unusable():
    passcode = {"PayloadType": "com.apple.mobiledevice.passwordpolicy", "minLength": 8, "maxInactivity": 5}
    found = checking.check(profile(passcode))
    assert {each.problem for each in found} >= {"ignored", "deprecated"}
    assert checking.usable(found)


def test_a_profile_that_cannot_be_removed_is_refused():
    found = checking.check(profile({"PayloadType": "com.apple.font"}, PayloadRemovalDisallowed=True))
    assert not checking.usable(found)


# --- the command -----------------------------------------------------------------------------------------------------


def run(app, tmp_path, content, *options):
    path = tmp_path / "a.mobileconfig"
    path.write_bytes(content if isinstance(content, bytes) else plistlib.dumps(content))
    return app.test_cli_runner().invoke(args=["policy", "check", str(path), *options])


def test_the_command_says_what_applies(app, tmp_path):
    good = run(app, tmp_path, profile({"PayloadType": "com.apple.wifi.managed", "SSID_STR": "Example"}), "--json")
    assert (good.exit_code, json.loads(good.stdout)) == (0, {"usable": True, "problems": []})
    bad = run(app, tmp_path, profile({"PayloadType": "com.apple.applicationaccess", "allowCamera": False}), "--json")
    assert bad.exit_code == 1
    assert json.loads(bad.stdout) == {"usable": False, "problems": [
        {"payload": "com.apple.applicationaccess", "key": "allowCamera", "problem": "forbidden"}]}  # fmt: skip


def test_the_command_speaks_to_people_too(app, tmp_path):
    told = run(app, tmp_path, profile({"PayloadType": "com.apple.applicationaccess", "requireManagedPasteboard": True}))
    assert "requireManagedPasteboard: newer ios (15.0)" in told.stdout
    assert "It can be used." in told.stdout


@pytest.mark.parametrize("content", [b"", b"nothing", b"<plist/>", b"x" * 600_000, [1], {"PayloadIdentifier": "x"}])
def test_what_is_no_profile_ends_with_one(app, tmp_path, content):
    told = run(app, tmp_path, content, "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["usable"] is False


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_catalogue_knows_what_user_enrollment_allows():
    assert len(KNOWN.usable()) == 30
    assert "com.apple.wifi.managed" in KNOWN.usable()
    assert not {"com.apple.vpn.managed", "com.apple.mdm", "com.apple.domains"} & KNOWN.usable()


def test_the_per_app_vpn_has_the_keys_of_the_vpn():
    assert {"VPNUUID", "IKEv2", "SafariDomains"} <= KNOWN.payloads["com.apple.vpn.managed.applayer"].keys.keys()


def test_a_search_finds_payloads_and_keys():
    (found,) = KNOWN.search("wifi AutoJoin", usable_only=True) or KNOWN.search("AutoJoin", usable_only=True)
    assert found[0].type == "com.apple.wifi.managed"
    assert [path for path, _ in found[1]] == ["AutoJoin"]
    assert KNOWN.search("no such thing at all", usable_only=False) == []
    assert not any(key.ue == "forbidden" for _, keys in KNOWN.search("", usable_only=True) for _, key in keys)
