"""What a device reports: taken by an allow-list, changes laid over what was known."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from portal.declarations import status
from portal.declarations.status import BadReport, Known

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def report(items, **more):
    nested = {}
    for name, value in items.items():
        place = nested
        *parts, last = name.split(".")
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return json.dumps({"StatusItems": nested, "Errors": [], "FullReport": False, **more}).encode()


@given(JSON)
def test_whatever_is_reported_nothing_but_what_is_allowed_is_kept(told):
    secret = "#personal#"
    items = {"device": {"identifier": {"udid": secret, "serial-number": secret}, "power": secret, "told": told},
             "account": {"list": {"mail": {"incoming": [{"identifier": "1", "username": secret}]}}},
             "mdm": {"app": [{"identifier": "com.example.app", "name": secret, "personal": secret}]}}  # fmt: skip
    known = status.learn(Known(), json.dumps({"StatusItems": items}).encode())
    assert secret not in json.dumps(known.as_json())
    assert known.lists["mdm.app"] == {"com.example.app": {"identifier": "com.example.app"}}
    assert set(known.values) <= set(status.ITEMS)


@given(some.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_report_is_anything_but_learned_or_refused(body):
    with contextlib.suppress(BadReport):
        status.learn(Known(), body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"StatusItems": []}', b"[" * 100_000, b"{" * 1000,
                                  b'{"StatusItems": {"a": ' + b'{"a":' * 50 + b"1" + b"}" * 50 + b"}}",
                                  b" " * (status.LARGEST_REPORT + 1)])  # fmt: skip
def test_what_no_device_would_send_is_refused(body):
    with pytest.raises(BadReport):
        status.learn(Known(), body)


def test_changes_are_laid_over_what_was_known():
    known = status.learn(Known(), report({"passcode.is-present": True, "device.operating-system.version": "17.6"}))
    known = status.learn(known, report({"passcode.is-present": False}))
    assert known.values == {"passcode.is-present": False, "device.operating-system.version": "17.6"}


def test_entries_are_added_changed_and_removed():
    known = status.learn(
        Known(), report({"mdm.app": [{"identifier": "a", "state": "installing"}, {"identifier": "b"}]})
    )
    told = [{"identifier": "a", "state": "managed"}, {"identifier": "b", "_removed": True}]
    known = status.learn(known, report({"mdm.app": told}))
    assert known.lists["mdm.app"] == {"a": {"identifier": "a", "state": "managed"}}


def test_a_full_report_replaces_everything_but_what_the_device_can_do():
    capable = {"supported-payloads": {"status-items": ["passcode.is-present", "secret.item", 7]}}
    known = status.learn(Known(), report({status.CAPABILITIES: capable, "passcode.is-present": True}))
    known = status.learn(known, report({"device.model.identifier": "iPhone14,5"}, FullReport=True))
    assert known.values == {"device.model.identifier": "iPhone14,5"}
    assert known.supported == ("passcode.is-present",)


@pytest.mark.parametrize(
    "told", ["17.", ".17", "\u00b2", "17.\u00b2", "\u0661\u0665", "x" * 200, "17.1\n", "<script>", "1.2.3.4.5"]
)
def test_what_is_no_version_of_ios_is_not_kept(told):
    assert status.learn(Known(), report({status.VERSION: told})).values == {}
    assert not status.is_version(told)


@pytest.mark.parametrize("told", ["\ud800 phone", "a\x00b", "line\nline", "\u202ename"])
def test_what_cannot_be_printed_is_left_out(told):
    kept = status.learn(Known(), report({"device.model.marketing-name": told})).values["device.model.marketing-name"]
    assert kept.isprintable()
    kept.encode()


def test_nothing_but_words_is_kept_of_a_declaration():
    entry = {"identifier": "x", "valid": {"SerialNumber": "C02XYZ"}, "server-token": {"UDID": "0000"},
             "reasons": [{"code": {"IMEI": "1"}, "description": "Erika's iPhone"}]}  # fmt: skip
    known = status.learn(Known(), report({status.DECLARATIONS: {"configurations": [entry]}}))
    assert known.declarations == {"x": {"token": "", "active": False, "valid": "unknown", "reasons": []}}


def test_a_wrong_kind_of_value_is_no_value():
    known = status.learn(
        Known(), report({"passcode.is-present": "yes", "device.model.identifier": 7, "mdm.app": "none"})
    )
    assert known == Known()


def test_what_became_of_a_declaration_is_kept_with_its_token():
    entry = {"identifier": "wifi", "server-token": "T1", "active": False, "valid": "invalid",
             "reasons": [{"code": "Error.X", "description": "why", "details": {"personal": "x"}}]}  # fmt: skip
    known = status.learn(Known(), report({status.DECLARATIONS: {"configurations": [entry]}}))
    found = known.declarations["wifi"]
    assert (found["token"], found["active"], found["valid"], found["reasons"]) == ("T1", False, "invalid", ["Error.X"])
    assert Known(**json.loads(json.dumps(known.as_json()))) == known


@pytest.mark.parametrize(
    ("version", "supported", "wanted"),
    [((15, 0), None, {"device.model.identifier", "device.operating-system.version"}),
     ((17, 6), None, {"passcode.is-present", "app.managed.list"}),
     ((17, 6), ("passcode.is-present",), {"passcode.is-present"}), ((17, 6), ["something.new"], set())],
)  # fmt: skip
def test_a_device_is_asked_for_what_its_ios_knows_and_it_can_tell(version, supported, wanted):
    found = set(status.subscribable(version, supported))
    assert wanted <= found
    assert supported is None or found == wanted
    assert version >= (16,) or "passcode.is-present" not in found
