"""Webhooks of NanoMDM: forged, broken, twice, late, in any order, some of them lost, of devices that nobody knows."""

import base64
import json
import plistlib
from itertools import count, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from portal.backends.nanomdm import events
from portal.enrollment import ending
from portal.enrollment.commands import Order
from portal.models import BackendEvent, Device
from portal.storage.cases import Cases
from tests.backends.delegated import Delegated, authenticate, check_out, connect, token_update, webhook
from tests.factories import queue_command
from tests.pages import Browser


@pytest.fixture
def delegated(make_app, clock):
    made = Delegated(make_app, clock)
    yield made
    made.worker.database.engine.dispose()


# --- what is let in ------------------------------------------------------------------------------------------------


def test_only_what_is_signed_with_the_secret_is_stored(delegated):
    body = authenticate("E-1", "x")
    for signature in ("", "nonsense", "ü", base64.b64encode(b"0" * 32).decode()):
        assert delegated.post(body, signature).status_code == 403
    right = delegated.post(body)
    assert (right.status_code, right.text) == (200, "stored\n")
    changed = body.replace(b"E-1", b"E-2")
    signature = right.request.headers["X-Hmac-Signature"]
    assert delegated.post(changed, signature).status_code == 403
    assert len(delegated.events()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"topic": "mdm.Connect"}).encode(),
        json.dumps({"topic": "mdm.CheckOut", "checkin_event": []}).encode(),
        json.dumps({"topic": "mdm.CheckOut", "checkin_event": {"raw_payload": "%%%"}}).encode(),
        json.dumps({"topic": "mdm.CheckOut", "checkin_event": {"raw_payload": "bm90IHhtbA=="}}).encode(),
        webhook("CheckOut", "E", "x", {"EnrollmentID": 5}),
        webhook("CheckOut", "E", "x", {"EnrollmentID": "E"}, url_params=["ref"]),
    ],
)
def test_what_is_no_webhook_is_refused_without_a_trace(delegated, body):
    answer = delegated.post(body)
    assert (answer.status_code, answer.text) == (400, "not a webhook of NanoMDM\n")
    assert delegated.events() == []


def test_entities_and_depth_exhaust_nothing(delegated):
    bombs = (
        b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><plist><dict><key>a</key>'
        b"<string>&b;</string></dict></plist>",
        b"<plist><dict><key>a</key>" + b"<array>" * 5000 + b"</array>" * 5000 + b"</dict></plist>",
    )
    for bomb in bombs:
        event = json.loads(check_out("E-1", "x"))
        event["checkin_event"]["raw_payload"] = base64.b64encode(bomb).decode()
        assert delegated.post(json.dumps(event).encode()).status_code == 400


def test_a_body_over_a_mebibyte_is_refused(delegated):
    assert delegated.post(b"x" * (1024 * 1024 + 1)).status_code == 413


def test_it_is_not_answered_with_yes_before_it_is_stored(delegated, monkeypatch):
    def broken(*_args):
        raise OperationalError("x", {}, Exception("disk full"))

    monkeypatch.setattr(events, "store", broken)
    assert delegated.post(check_out("E-1", "x")).status_code == 503


def test_while_the_database_cannot_be_read_every_event_waits_as_it_is(delegated, monkeypatch):
    delegated.post(check_out("E-1", "x"))

    def broken(*_args):
        raise OperationalError("x", {}, Exception("server closed the connection"))

    monkeypatch.setattr(events, "_next", broken)
    with pytest.raises(OperationalError):
        delegated.worker.manage()
    (event,) = delegated.events()
    assert (event.done_at, event.attempts) == (None, 0)


def test_messages_that_user_enrollment_has_no_use_for_are_taken_and_dropped(delegated):
    for kind in ("GetToken", "DeclarativeManagement", "SetBootstrapToken"):
        assert delegated.post(webhook(kind, "E-1", "x", {"EnrollmentID": "E-1"})).status_code == 200
    assert delegated.events() == []


def test_without_nanomdm_there_is_no_such_address(app):
    assert app.test_client().post("/hooks/nanomdm", data=b"{}").status_code == 404


# --- what it means ---------------------------------------------------------------------------------------------------


def test_an_event_counts_once_however_often_it_comes(delegated):
    delegated.prepared()
    reference = delegated.reference()
    first = authenticate("E-1", reference, "event-1")
    assert [delegated.post(first).text for _ in range(3)] == ["stored\n", "known\n", "known\n"]
    again = token_update("E-1", reference)
    delegated.tell(again, again, token_update("E-1", reference)).work()
    kinds = [kind for kind, _ in delegated.company.events(delegated.invitation)]
    assert (kinds.count("device.authenticated"), kinds.count("device.enrolled")) == (1, 1)
    assert len(delegated.api.queued) == 2
    assert delegated.post(first).text == "known\n"


STORY = ("authenticate", "token", "idle")


@pytest.mark.parametrize("order", sorted(set(permutations(STORY))))
def test_in_any_order_the_device_is_enrolled_once(delegated, order):
    play(delegated, order)
    assert delegated.company.status(delegated.invitation) == "enrolled"
    kinds = [kind for kind, _ in delegated.company.events(delegated.invitation)]
    assert (kinds.count("device.authenticated"), kinds.count("device.enrolled")) == (1, 1)
    device = delegated.company.device(delegated.invitation)
    assert (device.os_version, device.product_name) == ("17.6.1", "iPhone14,5")


def test_late_lost_doubled_or_reordered_the_end_is_the_same(delegated):
    steps = st.tuples(st.sampled_from(sorted(MAKE)), st.sampled_from([0, 1, 30]))
    people = count()

    @settings(max_examples=25, deadline=None)
    @given(story=st.lists(steps, min_size=1, max_size=8))
    def tell(story):
        delegated.invitation = delegated.company.invite(delegated.company.person(f"p{next(people)}"))
        told = {step for step, _ in story}
        play(delegated, *zip(*story, strict=True))
        wanted = "removed" if "leave" in told else "enrolling" if told == {"authenticate"} else "enrolled"
        assert delegated.company.status(delegated.invitation) == wanted
        kinds = [kind for kind, _ in delegated.company.events(delegated.invitation)]
        assert kinds.count("device.left") == (wanted == "removed")
        assert kinds.count("device.enrolled") <= 1

    tell()


MAKE = {"authenticate": authenticate, "token": token_update, "idle": connect, "leave": check_out}


def play(delegated, order, pauses=None):
    """Tell one phone's story in ``order``; in the end all patience is over."""
    delegated.prepared()
    reference = delegated.reference()
    for step, pause in zip(order, pauses or [0] * len(order), strict=True):
        delegated.tell(MAKE[step](f"E-{reference}", reference))
        delegated.work(pause)
    delegated.work(21)


def test_answers_are_applied_and_settle_their_command(delegated):
    reference = delegated.enroll()
    question, listing = delegated.api.queued
    delegated.tell(
        connect("E-1", reference, "Acknowledged", question, QueryResponses={"OSVersion": "17.7", "UDID": "secret"}),
        connect("E-1", reference, "Error", listing, ErrorChain=[{"ErrorCode": 1, "USEnglishDescription": "why"}]),
    ).work()
    assert delegated.company.device(delegated.invitation).attributes == {"OSVersion": "17.7"}
    events_seen = delegated.company.events(delegated.invitation)
    assert ("command.acknowledged", "DeviceInformation") in events_seen
    assert ("command.error", "ProfileList") in events_seen


def test_a_whole_device_is_refused_and_its_identifiers_are_kept_nowhere(delegated):
    delegated.prepared()
    reference = delegated.reference()
    secret = "00008101-SECRET"
    delegated.tell(
        authenticate("E-1", reference, part={"udid": secret, "ids": {"id": secret, "type": "Device"}}, UDID=secret,
                     SerialNumber="C39SECRET")
    )  # fmt: skip
    (stored,) = delegated.events()
    told = delegated.portal.vault.open(stored.content_sealed) + repr(stored.__dict__).encode()
    assert b"SECRET" not in told
    delegated.work()
    assert delegated.company.status(delegated.invitation) == "refused"
    assert ("device.refused", "hardware_identifier") in delegated.company.events(delegated.invitation)


def test_messages_of_devices_that_nobody_knows_are_kept_for_admins(delegated, app, clock):
    delegated.tell(
        authenticate("STRANGE-1", "nothing"), token_update("STRANGE-2", None), connect("STRANGE-3", "../../x"),
        check_out("STRANGE-4", None),
    ).work(21)  # fmt: skip
    assert [each.outcome for each in delegated.events()] == ["unknown"] * 4
    assert all(each.content_sealed is None for each in delegated.events())
    delegated.company.person("ada", "admin")
    page = Browser(delegated.app).staff_sign_in("ada", clock()).get("/admin/device-management")
    assert all(f"STRANGE-{number}" in page.text for number in (1, 2, 3, 4))
    assert "nobody's device" in page.text


def test_a_device_cannot_speak_under_the_reference_of_another(delegated):
    reference = delegated.enroll()
    delegated.invitation = delegated.company.invite(delegated.company.person("max"))
    delegated.prepared(1)
    other = delegated.reference()
    delegated.tell(check_out("E-1", other), authenticate("E-1", other)).work(21)
    assert all(each.outcome.startswith("refused") for each in delegated.events()[-2:])
    assert delegated.company.status(delegated.invitation) == "enrolling"
    delegated.tell(connect("E-1", reference)).work()
    assert delegated.events()[-1].outcome == "done"


def test_commands_of_others_are_none_of_ours(delegated):
    reference = delegated.enroll()
    delegated.tell(connect("E-1", reference, "Acknowledged", "0000-FOREIGN")).work()
    assert delegated.events()[-1].outcome == "of_others"


def test_an_event_that_breaks_is_tried_again_and_then_kept(delegated, clock, monkeypatch):
    reference = delegated.enroll()

    def broken(*_args, **_kwargs):
        raise RuntimeError("bug")

    with monkeypatch.context() as patched:
        patched.setattr(ending, "end", broken)
        delegated.tell(check_out("E-1", reference)).work()
        assert delegated.company.status(delegated.invitation) == "enrolled"
        delegated.tell(connect("E-1", reference)).work()  # the others go on
        assert delegated.events()[-1].outcome == "done"
    delegated.work(10)
    assert delegated.company.status(delegated.invitation) == "removed"


def test_an_event_that_always_breaks_is_kept_in_the_end(delegated, clock, monkeypatch):
    reference = delegated.enroll()

    def broken(*_args, **_kwargs):
        raise RuntimeError("bug")

    monkeypatch.setattr(ending, "end", broken)
    delegated.tell(check_out("E-1", reference))
    for _ in range(8):
        delegated.work(1800)
    last = delegated.events()[-1]
    assert (last.outcome, last.content_sealed is not None) == ("failed: RuntimeError", True)


def test_what_was_settled_is_forgotten_sooner_than_what_belongs_to_nobody(delegated, clock):
    reference = delegated.enroll()
    delegated.tell(connect("E-1", reference), connect("STRANGE", None)).work()
    clock.forward(days=3)
    delegated.worker.every_minute()
    assert [each.enrollment_id for each in delegated.events()] == ["STRANGE"]
    clock.forward(days=30)
    delegated.worker.every_minute()
    assert delegated.events() == []


def test_a_late_answer_to_the_removal_changes_nothing_any_more(delegated):
    reference = delegated.enroll()
    with delegated.portal.database.transaction() as session:
        device = session.get_one(Device, delegated.company.device(delegated.invitation).id)
        ending.ask(Cases(session, delegated.portal).of_device(device.id), "selective_wipe", "helpdesk:x")
    delegated.work()
    removal = list(delegated.api.queued)[-1]
    delegated.tell(check_out("E-1", reference), connect("E-1", reference, "Acknowledged", removal)).work()
    kinds = delegated.company.events(delegated.invitation)
    assert [reason for kind, reason in kinds if kind == "device.left"] == ["selective_wipe"]
    assert [each.outcome for each in delegated.events()[-2:]] == ["done", "done"]


def test_an_answer_without_its_result_counts_as_failed(delegated):
    reference = delegated.enroll()
    question = next(iter(delegated.api.queued))
    delegated.tell(connect("E-1", reference, "Acknowledged", question)).work()  # without QueryResponses
    assert delegated.events()[-1].outcome == "done"
    assert [each.uuid for each in delegated.commands("failed")] == [question]
    assert plistlib.loads(delegated.api.queued[question])["Command"]["RequestType"] == "DeviceInformation"


def test_many_events_at_once_are_settled(delegated):
    reference = delegated.enroll()
    for number in range(60):
        delegated.tell(connect("E-1", reference, event_id=f"many-{number}"))
    delegated.work()
    with delegated.portal.database.session() as session:
        assert session.query(BackendEvent).filter(BackendEvent.done_at.is_(None)).count() == 0


def test_a_command_waits_for_the_device_that_has_not_introduced_itself_long_enough(delegated):
    reference = delegated.enroll()
    with delegated.portal.database.transaction() as session:
        device = session.get_one(Device, delegated.company.device(delegated.invitation).id)
        command = queue_command(session, delegated.portal, device.id, Order("DeviceLock"))
    delegated.tell(connect("E-1", reference, "Acknowledged", command.uuid))  # faster than its handing over
    delegated.work()
    assert delegated.company.device(delegated.invitation).ended_at is None
    assert ("command.acknowledged", "DeviceLock") in delegated.company.events(delegated.invitation)
