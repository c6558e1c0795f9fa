"""What may be asked of a user-enrolled device is what Apple's schema allows; the rest is refused, with a reason."""

import json
import plistlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.enrollment import allowed
from portal.enrollment.commands import READ
from portal.enrollment.errors import CommandForbidden
from portal.pki import cms
from portal.policies import catalogue
from portal.settings import ROOT
from portal.simulator.scep_client import self_signed
from portal.versions import version_key
from tests.factories import phone_key

FACTS = json.loads((ROOT / "tests" / "data" / "user-enrollment.json").read_text())
BY_MODE = {entry["request_type"]: entry["user_enrollment"] for entry in FACTS["ios_commands"]}
PAYLOADS = {entry["payload_type"]: entry for entry in FACTS["ios_payloads"]}
FORBIDDEN_LATER = "com.apple.cellularprivatenetwork.managed"
"""Allowed in iOS 18, forbidden in the schema of iOS 27: nobody should begin with it."""


def profile(*payloads, **values):
    return plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "com.example.wifi", "PayloadVersion": 1,
                           "PayloadContent": list(payloads), **values})  # fmt: skip


def reason_of(content):
    with pytest.raises(CommandForbidden) as refused:
        allowed.command("InstallProfile", {"Payload": content})
    return refused.value.reason, refused.value.parts


def test_what_can_be_queued_is_what_apples_schema_allows():
    assert {name for name, mode in BY_MODE.items() if mode == "allowed"} == allowed.COMMANDS | allowed.NOT_SERVED


def test_the_25_forbidden_commands_are_refused_with_what_they_would_reach():
    forbidden = {name for name, mode in BY_MODE.items() if mode == "forbidden"}
    assert len(forbidden) == 25
    assert forbidden == set(allowed.FORBIDDEN)
    for name in forbidden:
        with pytest.raises(CommandForbidden) as refused:
            allowed.command(name, {})
        assert refused.value.reason == allowed.FORBIDDEN[name]
    assert (allowed.FORBIDDEN["EraseDevice"], allowed.FORBIDDEN["ClearPasscode"]) == ("whole_device", "passcode")


def test_a_command_that_nobody_knows_is_refused():
    with pytest.raises(CommandForbidden, match="unknown_command"):
        allowed.command("MakeCoffee", {})


def test_what_can_be_asked_is_what_apples_schema_allows():
    by_mode = {entry["query"]: entry["user_enrollment"] for entry in FACTS["ios_device_information"]}
    assert {name for name, mode in by_mode.items() if mode == "allowed"} == allowed.QUERIES
    assert set(allowed.ASKED_QUERIES) <= allowed.QUERIES
    assert set(FACTS["ios_settings_items"]["allowed"]) == allowed.SETTINGS_ITEMS
    for order in READ:
        allowed.command(order.request_type, order.keys)


@pytest.mark.parametrize(
    ("command", "keys", "reason"),
    [
        ("DeviceInformation", {"Queries": ["OSVersion", "UDID"]}, "query"),
        ("DeviceInformation", {}, "query"),
        ("DeviceInformation", {"Queries": [{"UDID": "UDID"}]}, "unreadable"),
        ("DeviceInformation", {"Queries": "UDID"}, "unreadable"),
        ("Settings", {"Settings": ["Bluetooth"]}, "unreadable"),
        ("Settings", {"Settings": {"Item": "Bluetooth"}}, "unreadable"),
        ("Settings", {"Settings": [{}]}, "setting"),
        ("SecurityInfo", {"Anything": None}, "unreadable"),
        ("SecurityInfo", {"Anything": 2**64}, "unreadable"),
        ("InstallProfile", {"Payload": "<plist/>"}, "unreadable"),
        ("DeclarativeManagement", {}, "unknown_command"),
        ("Settings", {"Settings": [{"Item": "Bluetooth", "Enabled": False}]}, "setting"),
        ("InstallApplication", {"ChangeManagementState": "Managed"}, "personal_app"),
        ("DeviceLock", {"PIN": "123456"}, "passcode"),
    ],
)
def test_forbidden_parts_of_allowed_commands_are_refused(command, keys, reason):
    with pytest.raises(CommandForbidden) as refused:
        allowed.command(command, keys)
    assert refused.value.reason == reason


def test_what_a_profile_may_carry_is_what_apples_schema_allows():
    mode = {name for name, entry in PAYLOADS.items() if entry["user_enrollment"] == "allowed"}
    known = catalogue.load()
    assert mode - {"com.apple.mdm", FORBIDDEN_LATER} == known.usable()
    keys = PAYLOADS["com.apple.applicationaccess"]["keys"]
    restrictions = known.payloads["com.apple.applicationaccess"].keys.values()
    usable = {key.name for key in restrictions if key.usable and version_key(key.since) < (18, 2)}
    assert {key for key, entry in keys.items() if entry["user_enrollment"] == "allowed"} == usable


@pytest.mark.parametrize(
    "name",
    [name for name, entry in PAYLOADS.items() if entry["user_enrollment"] != "allowed"]
    + ["com.apple.mdm", FORBIDDEN_LATER],
)
def test_a_profile_with_a_payload_that_is_not_allowed_is_refused(name):
    assert reason_of(profile({"PayloadType": name})) == ("payload", (name,))


def test_every_forbidden_key_of_an_allowed_payload_is_refused():
    for name, entry in PAYLOADS.items():
        if entry["user_enrollment"] != "allowed" or name in ("com.apple.mdm", FORBIDDEN_LATER):
            continue
        for key, fact in entry["keys"].items():
            content = profile({"PayloadType": name, "PayloadUUID": "X", key: True})
            if fact["user_enrollment"] == "forbidden":
                assert reason_of(content) == ("restriction", (key,))
            else:
                allowed.command("InstallProfile", {"Payload": content})


def test_a_signed_profile_is_read_like_a_plain_one():
    from cryptography import x509

    certificate = self_signed(x509.Name([]), phone_key())
    good = cms.sign(profile({"PayloadType": "com.apple.wifi.managed"}), phone_key(), certificate)
    assert allowed.read_profile(good).values["PayloadIdentifier"] == "com.example.wifi"
    bad = cms.sign(profile({"PayloadType": "com.apple.vpn.managed"}), phone_key(), certificate)
    assert reason_of(bad) == ("payload", ("com.apple.vpn.managed",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing",
        b"<plist><array/></plist>",
        plistlib.dumps({"PayloadType": "Configuration", "PayloadContent": []}),
        plistlib.dumps({"PayloadIdentifier": "a", "PayloadContent": [{"PayloadType": "com.apple.font"}]}),
        profile("com.apple.font"),
        profile(),
        profile({"PayloadType": "com.apple.font"}, PayloadIdentifier=""),
    ],
)
def test_what_is_no_profile_is_refused(content):
    assert reason_of(content)[0] == "unreadable"


def test_a_profile_that_its_owner_could_not_remove_is_refused():
    content = profile({"PayloadType": "com.apple.font"}, PayloadRemovalDisallowed=True)
    assert reason_of(content) == ("removal", ())


HIDDEN = ("RequestType", "requesttype", "REQUESTTYPE", "CommandUUID", "commandUuid", "Command")


@pytest.mark.parametrize("name", sorted(allowed.FORBIDDEN))
def test_a_forbidden_command_does_not_pass_hidden_in_the_keys_of_an_allowed_one(name):
    for carrier in ("DeviceLock", "SecurityInfo", "ProfileList"):
        for key in HIDDEN:
            for value in (name, [name], {"RequestType": name}):
                with pytest.raises(CommandForbidden, match=key):
                    allowed.command(carrier, {key: value})
    for spelt in (name.lower(), name.upper(), f" {name}", f"{name} "):
        with pytest.raises(CommandForbidden):
            allowed.command(spelt, {})


@given(
    st.sampled_from(sorted(allowed.COMMANDS | set(allowed.FORBIDDEN))),
    st.dictionaries(
        st.one_of(st.sampled_from([*HIDDEN, "Queries", "Settings", "PIN", "Identifier"]), st.text(max_size=8)),
        st.recursive(
            st.one_of(
                st.booleans(),
                st.integers(-(2**65), 2**65),
                st.text(max_size=8),
                st.sampled_from(sorted(allowed.FORBIDDEN)),
            ),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
)
def test_whatever_keys_come_what_is_sent_is_what_was_checked(name, keys):
    try:
        sent = allowed.command(name, keys)
    except CommandForbidden:
        return
    assert sent["RequestType"] == name
    assert name in allowed.COMMANDS
    again = plistlib.loads(plistlib.dumps(sent))
    assert again == sent
    assert allowed.command(again.pop("RequestType"), again) == sent


def test_a_profile_with_a_key_that_stands_twice_is_refused():
    """Readers differ in which of the two counts: one would be checked, the other might be obeyed."""
    plain = profile({"PayloadType": "com.apple.font"}).decode()
    twice = plain.replace(
        "<key>PayloadVersion", "<key>PayloadType</key><string>Configuration</string><key>PayloadVersion", 1
    )
    assert reason_of(twice.encode()) == ("unreadable", ())


def test_a_plain_profile_is_sent_as_it_was_read():
    plain = profile({"PayloadType": "com.apple.font"}).replace(b"<dict>", b"<!-- a remark --><dict>", 1)
    sent = allowed.command("InstallProfile", {"Payload": plain})["Payload"]
    assert b"remark" not in sent
    assert plistlib.loads(sent) == plistlib.loads(plain)
