"""What MaaS360 tells is taken by an allow-list, whatever form it has."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from portal.backends.maas360 import document, records
from portal.backends.maas360.names import NAMES, Vocabulary, problem_of

PERSONAL = ("udid", "imeiEsn", "platformSerialNumber", "phoneNumber", "wifiMacAddress", "deviceName", "latitude",
            "installedApps", "carrier", "bluetoothMac")  # fmt: skip
TAKEN = ("maas360DeviceID", "maas360DeviceId", "username", "emailAddress", "platformName", "model", "modelId",
         "osVersion", "maas360ManagedStatus", "ownership", "enrollmentMode", "mdmPolicy", "selectiveWipeStatus",
         "policyComplianceState", "passcodeCompliance", "isSupervisedDevice", "lastMdmRegistered", "installedDate",
         "lastReported",
         "lastMdmRegisteredInEpochms", "installedDateInEpochms", "lastReportedInEpochms")  # fmt: skip
VALUES = some.one_of(some.none(), some.booleans(), some.integers(), some.floats(), some.text(), some.lists(some.text()),
                     some.dictionaries(some.text(), some.text()))  # fmt: skip


@given(some.dictionaries(some.sampled_from(TAKEN) | some.text(), VALUES), some.text("secret", min_size=6))
def test_whatever_a_row_holds_only_what_is_allowed_is_taken(row, secret):
    hidden = f"#{secret}#"
    row |= dict.fromkeys(PERSONAL, hidden)
    assert hidden not in repr(records.device(row))
    taken = {key: value for key, value in row.items() if key in TAKEN}
    assert records.device(row) == records.device(taken)


@given(VALUES)
def test_rows_come_as_none_as_one_or_as_many(value):
    assert all(isinstance(each, dict) for each in records.rows({"device": value}, "device"))
    assert records.rows({"device": {"a": 1}}, "device") == [{"a": 1}]
    assert records.rows({"device": [{"a": 1}, "", {"b": 2}]}, "device") == [{"a": 1}, {"b": 2}]
    assert records.rows({"device": ""}, "device") == records.rows({}, "device") == []


@pytest.mark.parametrize(
    ("row", "wanted"),
    [({"lastReportedInEpochms": 1770000000000}, datetime(2026, 2, 2, 2, 40, tzinfo=UTC)),
     ({"lastReportedInEpochms": "1770000000000"}, datetime(2026, 2, 2, 2, 40, tzinfo=UTC)),
     ({"lastReportedInEpochms": "", "lastReported": "2026-02-02T02:40:00"}, datetime(2026, 2, 2, 2, 40, tzinfo=UTC)),
     ({"lastReportedInEpochms": 10**15, "lastReported": "x"}, None), ({"lastReported": "yesterday"}, None), ({}, None)],
)  # fmt: skip
def test_times_come_as_numbers_or_as_text(row, wanted):
    assert records.moment(row, "lastReported") == wanted


def test_numbers_become_text():
    found = records.device({"osVersion": 18.1, "model": 14, "isSupervisedDevice": "Yes", "maas360DeviceID": 4711})
    assert (found.os_version, found.model, found.supervised, found.server_id) == ("18.1", "14", True, "4711")


# --- names that an operator can correct ------------------------------------------------------------------------------


def test_a_correction_replaces_a_word():
    names = Vocabulary(["add_user.email=emailAddress", "status.managed=Managed|In use"])
    assert names.field("add_user.email") == "emailAddress"
    assert names.means("status.managed", "  in   USE ")
    assert not names.means("status.managed", "Enrolled")
    assert Vocabulary().means("status.managed", "enrolled")


def test_an_empty_word_means_nothing():
    assert not Vocabulary(["status.left="]).means("status.left", "")


@pytest.mark.parametrize(
    "wrong", ["nothing", "add_user.emial=email", "lock.path=wipeDevice", "lock.device=a&b", "lock.device=../x?"]
)
def test_what_is_no_correction_is_said(wrong):
    assert problem_of(wrong) is not None


def test_the_table_of_the_docs_is_current():
    shown = document.PAGE.read_text("utf-8")
    assert document.page(shown) == shown


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_corrected_and_says_what_it_is(name):
    assert problem_of(f"{name}=word") is None
    assert NAMES[name].says
