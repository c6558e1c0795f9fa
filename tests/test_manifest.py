"""What a device is told: tokens are the content's, and the form is what an iPhone takes."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as some

from portal.manifest import ACTIVATION, KINDS, Declaration, Manifest, basic

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
PAYLOADS = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


@given(some.dictionaries(some.text(), PAYLOADS), some.dictionaries(some.text(), PAYLOADS))
def test_two_contents_have_the_same_token_only_if_they_are_the_same(one, other):
    tokens = [Declaration(ACTIVATION, "a", payload).server_token for payload in (one, other)]
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (tokens[0] == tokens[1]) is same
    assert all(0 < len(token) <= 64 for token in tokens)


def test_the_order_of_declarations_and_of_keys_means_nothing():
    one, other = Declaration(ACTIVATION, "a", {"x": 1, "y": 2}), Declaration(ACTIVATION, "b", {})
    turned = Declaration(ACTIVATION, "a", {"y": 2, "x": 1})
    assert Manifest((one, other)).token == Manifest((other, turned)).token
    assert Manifest((one,)).token != Manifest((one, other)).token


def test_the_manifest_has_all_four_lists_and_only_identifiers_and_tokens():
    told = json.loads(basic("Example", "help@example.com", ["passcode.is-present"]).items())
    assert told["Declarations"].keys() == set(KINDS.values())
    assert {key for items in told["Declarations"].values() for item in items for key in item} == {
        "Identifier",
        "ServerToken",
    }


def test_tokens_say_when_in_the_form_that_apple_shows():
    told = json.loads(basic("Example", "help@example.com", []).tokens(NOW))
    assert told["SyncTokens"]["Timestamp"] == "2026-03-02T09:30:00Z"


def test_a_declaration_is_found_by_its_kind_and_identifier_alone():
    manifest = basic("Example", "help@example.com", [])
    found = manifest.find("configuration", "subscriptions")
    assert json.loads(found.answer())["ServerToken"] == found.server_token
    assert manifest.find("activation", "subscriptions") is None
    assert manifest.find("configuration", "other") is None
