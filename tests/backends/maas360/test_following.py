"""What IT asks of a device that MaaS360 manages, what becomes of it, and how its enrollment ends."""

import pytest
from sqlalchemy import select

from portal.backends.maas360 import actions, following
from portal.enrollment import ending, management
from portal.enrollment.commands import Order
from portal.enrollment.errors import CommandForbidden, ConfirmationWrong, DeviceGone, RemovalsHeld
from portal.lifecycle import closing
from portal.models import Command, Device, OutboxMessage
from portal.simulator.maas360 import ALLOWS
from portal.storage.cases import Cases
from tests.backends import test_conformance

BY = "helpdesk:test"


def act(tenancy, invitation, what, *arguments):
    return tenancy.company.act_on(tenancy.company.device(invitation).id, what, *arguments)


def states(tenancy):
    with tenancy.portal.database.session() as session:
        return [(each.request_type, each.status) for each in session.scalars(select(Command).order_by(Command.id))]


def ended(tenancy, invitation):
    """How the enrollment ended, how often that was told, and how many mails went out."""
    kinds = [kind for kind, _ in tenancy.company.events(invitation)].count("device.left")
    with tenancy.portal.database.session() as session:
        mails = len(session.scalars(select(OutboxMessage).where(OutboxMessage.kind == "left")).all())
    return tenancy.company.status(invitation), tenancy.company.device(invitation).end_reason, kinds, mails


# --- what IT asks --------------------------------------------------------------------------------------------------


@pytest.mark.each_database
def test_a_lock_is_accepted_and_then_done(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.lock_screen, BY)
    act(tenancy, invitation, management.lock_screen, BY)  # asked twice, locked once
    tenancy.work()
    assert states(tenancy) == [("DeviceLock", "sent")]
    assert tenancy.tenant.connect(device) == ["lockDevice"]
    tenancy.work(seconds=10)
    assert states(tenancy) == [("DeviceLock", "acknowledged")]
    assert tenancy.company.events(invitation)[-1] == ("command.acknowledged", "DeviceLock")


def test_what_the_device_refuses_is_told(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.work()
    device.pending[0]["actionStatus"] = "Failed"
    tenancy.work(seconds=10)
    assert states(tenancy) == [("DeviceLock", "error")]


def test_a_state_that_nobody_knows_is_never_taken_for_done(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.work()
    device.pending[0]["actionStatus"] = "Gesperrt"
    tenancy.work(seconds=10)
    assert states(tenancy) == [("DeviceLock", "sent")]
    tenancy.work(seconds=86_400)
    assert states(tenancy) == [("DeviceLock", "answer_lost")]
    act(tenancy, invitation, management.lock_screen, BY)  # and it can be asked again
    assert states(tenancy)[-1] == ("DeviceLock", "queued")


def test_work_data_is_removed_and_given_back_and_the_enrollment_goes_on(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.remove_work_data, "iPhone 14", BY)
    tenancy.work()
    assert device.row["selectiveWipeStatus"] == "Pending"
    tenancy.tenant.connect(device)
    tenancy.sweep()
    assert ("SelectiveWipe", "acknowledged") in states(tenancy)
    assert tenancy.company.device(invitation).attributes["SelectiveWipe"] == "Completed"
    act(tenancy, invitation, management.give_back, BY)
    tenancy.work()
    tenancy.tenant.connect(device)
    tenancy.sweep()
    assert "SelectiveWipe" not in tenancy.company.device(invitation).attributes
    assert tenancy.company.status(invitation) == "enrolled"


def test_removing_control_ends_the_enrollment_once(tenancy):
    invitation, device = tenancy.enrolled()
    with pytest.raises(ConfirmationWrong):
        act(tenancy, invitation, management.remove_control, "iPhone", BY)
    act(tenancy, invitation, management.remove_control, "iphone 14", BY)
    tenancy.work()
    assert tenancy.company.status(invitation) == "enrolled"  # accepted is not done
    tenancy.tenant.connect(device)
    tenancy.sweep()
    tenancy.sweep()
    assert ended(tenancy, invitation) == ("removed", "selective_wipe", 1, 1)
    assert states(tenancy) == [("RemoveControl", "acknowledged")]


def test_a_message_reaches_its_owner(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.send_message, "Hello", "Please update & restart", BY)
    tenancy.work()
    assert tenancy.tenant.messages == [(device.server_id, "Hello", "Please update & restart")]


@pytest.mark.parametrize("wanted", [Order("EraseDevice"), Order("ClearPasscode"), Order("DeviceLocation"),
                                    Order("wipeDevice"), Order("InstallProfile", {"Payload": b"<plist/>"}),
                                    Order("DeviceLock", {"PIN": "1234"}),
                                    Order("SendMessage", {"Title": "x", "deviceId": "other"}),
                                    Order("SendMessage", {"Title": "x" * 3000})])  # fmt: skip
def test_what_reaches_further_is_never_asked(tenancy, wanted):
    invitation, _ = tenancy.enrolled()
    tenancy.tenant.calls.clear()
    with pytest.raises(CommandForbidden):
        act(tenancy, invitation, management.order, wanted, BY)
    tenancy.work()
    assert states(tenancy) == []
    assert not set(tenancy.tenant.calls) - {"search"}


def test_a_refusal_of_maas360_is_kept_without_its_words(tenancy):
    invitation, _ = tenancy.enrolled()
    tenancy.tenant.mood["lockDevice"] = lambda: (
        200,
        {"actionResponse": {"actionStatus": 1, "description": "Not licensed."}},
    )
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.work()
    with tenancy.portal.database.session() as session:
        command = session.scalar(select(Command))
    assert (command.status, command.last_error) == ("failed", "maas360_refused")


def test_the_brake_holds_selective_wipes_too(tenancy):
    enrolled = [tenancy.enrolled(tenancy.invite(f"person{number}"))[0] for number in range(6)]
    for each in enrolled[:5]:
        act(tenancy, each, management.remove_work_data, "iPhone 14", "token:program")
    with pytest.raises(RemovalsHeld):
        act(tenancy, enrolled[5], management.remove_work_data, "iPhone 14", "token:program")
    tenancy.work()
    assert sum(device.row["selectiveWipeStatus"] == "Pending" for device in tenancy.tenant.devices) == 5


def test_what_a_device_allows_is_asked(tenancy):
    invitation, _ = tenancy.enrolled()
    server, sealed = tenancy.portal.backend.elsewhere, tenancy.company.device(invitation).server_id_sealed
    assert server.allowed(sealed) == set(actions.ASKED_FIRST)
    tenancy.tenant.allows = ["MDM_LOCATE"]
    assert server.allowed(sealed) == frozenset()
    tenancy.tenant.allows = ["Lock"]
    assert server.allowed(sealed) == {"DeviceLock"}
    assert "MDM_LOCATE" in ALLOWS


# --- the command is given once -------------------------------------------------------------------------------------


def test_a_command_whose_answer_was_kept_is_not_given_again(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.work()
    with tenancy.portal.database.transaction() as session:  # as if the worker had died before it wrote that it was sent
        command = session.scalar(select(Command))
        command.status, command.handed_at, command.next_attempt_at = "queued", None, tenancy.clock()
    tenancy.work()
    assert len(device.pending) == 1
    assert states(tenancy) == [("DeviceLock", "sent")]


def test_an_outage_loses_no_command_and_ends_nothing(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.tenant.mood["lockDevice"] = tenancy.tenant.mood["search"] = lambda: (503, {})
    tenancy.work()
    tenancy.sweep()
    assert states(tenancy) == [("DeviceLock", "queued")]
    assert tenancy.company.status(invitation) == "enrolled"
    tenancy.tenant.mood.clear()
    tenancy.rested().work(seconds=300)
    assert tenancy.tenant.connect(device) == ["lockDevice"]


# --- how it ends ---------------------------------------------------------------------------------------------------


def test_an_owner_who_leaves_is_noticed_though_the_row_still_says_active(tenancy):
    invitation, device = tenancy.enrolled()
    tenancy.tenant.leave(device)
    assert device.row["deviceStatus"] == "Active"
    tenancy.sweep()
    tenancy.sweep()
    assert ended(tenancy, invitation) == ("removed", "removed_on_device", 1, 1)


def test_control_removed_by_an_admin_of_maas360_ends_it_with_that_reason(tenancy):
    invitation, device = tenancy.enrolled()
    device.row |= {"maas360ManagedStatus": "Control Removed", "deviceStatus": "InActive"}
    tenancy.sweep()
    assert ended(tenancy, invitation) == ("removed", "removed_there", 1, 1)


@pytest.mark.parametrize(
    "row",
    [{"deviceStatus": "InActive"}, {"maas360ManagedStatus": "Inactive"}, {"maas360ManagedStatus": ""},
     {"maas360ManagedStatus": "Pending Control Removed"}],
)  # fmt: skip
def test_nothing_ends_on_a_guess(tenancy, row):
    invitation, device = tenancy.enrolled()
    device.row |= row
    tenancy.sweep()
    assert tenancy.company.status(invitation) == "enrolled"


def test_a_device_that_is_not_listed_any_more_has_gone_silent_and_can_be_given_up(tenancy):
    invitation, device = tenancy.enrolled()
    tenancy.tenant.devices.remove(device)
    tenancy.sweep()
    assert tenancy.company.status(invitation) == "enrolled"
    tenancy.clock.forward(days=400)
    known = tenancy.company.device(invitation)
    assert ending.silent(known, tenancy.portal.settings, tenancy.clock())
    act(tenancy, invitation, management.give_up, "iPhone 14", BY)
    assert ended(tenancy, invitation) == ("removed", "given_up", 1, 1)


def test_who_is_given_up_here_is_let_go_there(tenancy):
    invitation, device = tenancy.enrolled()
    act(tenancy, invitation, management.give_up, "iPhone 14", BY)
    tenancy.work()
    assert [each["name"] for each in device.pending] == ["removeDevice"]
    with pytest.raises(DeviceGone):
        act(tenancy, invitation, management.lock_screen, BY)


def test_who_is_disabled_loses_the_work_side(tenancy):
    invitation, device = tenancy.enrolled()
    with tenancy.portal.database.transaction() as session:
        closing.disable(Cases(session, tenancy.portal), session.merge(invitation.request.person), "admin:test")
    tenancy.worker.every_minute()
    tenancy.work()
    assert [each["name"] for each in device.pending] == ["removeDevice"]
    tenancy.tenant.connect(device)
    tenancy.sweep()
    assert ended(tenancy, invitation)[:2] == ("removed", "person_disabled")


def test_a_cancelled_request_lets_the_device_go(tenancy):
    invitation, device = tenancy.enrolled()
    tenancy.company.act(invitation, ending.cancel, BY)
    tenancy.work()
    tenancy.tenant.connect(device)
    tenancy.sweep()
    assert ended(tenancy, invitation)[:3] == ("removed", "cancelled", 1)


def test_an_iphone_enrolls_again_after_it_left(tenancy):
    person = tenancy.company.person()
    tenancy.tenant.add_user("erika@work.example.com")
    first = tenancy.company.invite(person)
    _, device = tenancy.enrolled(first)
    tenancy.tenant.leave(device)
    tenancy.sweep()
    second = tenancy.company.invite(person)
    tenancy.handed_over(second)
    device.row |= {"maas360ManagedStatus": "Enrolled", "lastMdmRegisteredInEpochms": 1_900_000_000_000}
    tenancy.work(seconds=10)
    assert (tenancy.company.status(first), tenancy.company.status(second)) == ("removed", "enrolled")


def test_what_changes_is_seen_and_when_it_was_heard_of(tenancy):
    invitation, device = tenancy.enrolled()
    tenancy.clock.forward(days=1)
    device.row |= {"osVersion": "18.2", "policyComplianceState": "Out of Compliance"}
    tenancy.sweep()
    known = tenancy.company.device(invitation)
    assert (known.os_version, known.attributes["Compliance"]) == ("18.2", "Out of Compliance")
    assert known.last_seen_at == tenancy.clock()  # never later than now, whatever its clock says
    assert tenancy.company.status(invitation) == "enrolled"


def test_a_sweep_of_many_devices_writes_only_what_is_new(tenancy, monkeypatch):
    invitation, _ = tenancy.enrolled()
    for number in range(300):
        tenancy.tenant.enroll(f"person{number}@example.com")  # none of the portal's
    told = []
    monkeypatch.setattr(following.handover, "told", lambda case, seen: told.append(seen))
    tenancy.sweep()
    assert told == []
    assert tenancy.company.status(invitation) == "enrolled"


def test_another_backends_devices_are_left_alone(tenancy):
    """A device stays with the server that it enrolled with."""
    invitation, _ = tenancy.enrolled()
    with tenancy.portal.database.transaction() as session:
        session.scalar(select(Device)).server = None
    tenancy.tenant.calls.clear()
    with tenancy.portal.database.transaction() as session:
        device_id, now = tenancy.company.device(invitation).id, tenancy.clock()
        waiting = {"request_type": "DeviceLock", "payload": b"", "created_at": now, "next_attempt_at": now}
        session.add(Command(uuid="U", device_id=device_id, **waiting))
    tenancy.work()
    tenancy.sweep()
    assert "lockDevice" not in tenancy.tenant.calls
    assert states(tenancy) == [("DeviceLock", "queued")]


# --- the conformance suite's questions -----------------------------------------------------------------------------

ASKED_HERE = {
    "test_an_iphone_enrolls_with_a_profile": "test_an_older_iphone_is_led_to_maas360s_own_page",
    "test_an_iphone_enrolls_from_settings": "test_an_iphone_arrives_from_settings",
    "test_an_iphone_enrolls_again_after_it_left": "test_an_iphone_enrolls_again_after_it_left",
    "test_check_out_ends_the_enrollment_once": "test_an_owner_who_leaves_is_noticed_though_the_row_still_says_active",
    "test_what_a_device_answers_is_kept_with_its_reason": "test_what_the_device_refuses_is_told",
    "test_work_data_is_removed_and_the_enrollment_is_over": "test_removing_control_ends_the_enrollment_once",
    "test_a_cancelled_request_keeps_the_device_out": "test_a_cancelled_request_leads_nowhere_else",
    "test_a_device_that_nobody_knows_gets_nothing_and_is_not_told_to_unenroll": (
        "test_another_persons_device_never_arrives"
    ),
    "test_another_device_never_speaks_for_this_one": "test_two_requests_of_one_person_get_a_device_each",
    "test_messages_that_come_twice_count_once": "test_removing_control_ends_the_enrollment_once",
    "test_the_same_command_is_taken_once": "test_a_command_whose_answer_was_kept_is_not_given_again",
    "test_an_outage_loses_no_command_and_unenrolls_nobody": "test_an_outage_loses_no_command_and_ends_nothing",
    "test_an_outage_at_the_profile_says_so_and_goes_on_afterwards": "test_an_outage_is_said_and_nothing_is_lost",
}
"""The conformance suite's questions, and who asks them of MaaS360: its devices are not there to be driven."""
NOT_ASKED = {
    "test_the_owner_of_an_iphone_signs_in_again": "MaaS360 gave the token, and asks for it anew by itself",
    "test_not_now_means_later": "MaaS360 tells nothing of it",
    "test_who_claims_anothers_name_gets_neither_its_commands_nor_its_place": "no device speaks to the portal",
    "test_profiles_are_installed_listed_and_removed": "policies are MaaS360's",
    "test_apps_and_certificates_are_read": "apps are MaaS360's, and it tells of none",
}


def test_every_question_of_the_conformance_suite_is_asked_or_makes_no_sense_here():
    from tests.backends.maas360 import test_handing_over

    questions = {name for name in vars(test_conformance) if name.startswith("test_")}
    here = {name for name in {**globals(), **vars(test_handing_over)} if name.startswith("test_")}
    assert questions == ASKED_HERE.keys() | NOT_ASKED.keys()
    assert set(ASKED_HERE.values()) <= here
