"""What an attacker of this backend broke: the wrong device, the wrong person, commands lost or done twice."""

import httpx
import pytest
from sqlalchemy import select

from portal.backends.maas360 import actions
from portal.enrollment import ending, management
from portal.enrollment.commands import Order
from portal.enrollment.errors import RemovalsHeld
from portal.lifecycle import closing
from portal.models import Command, Device, IssuedProfile, WebSession
from portal.storage.cases import Cases
from tests.factories import BASE
from tests.pages import Browser

ACCOUNT = "erika@work.example.com"
OLD = {"lastMdmRegisteredInEpochms": "1577836800000", "ownership": "Corporate Owned"}
BY = "helpdesk:test"


def act(tenancy, invitation, what, *arguments):
    return tenancy.company.act_on(tenancy.company.device(invitation).id, what, *arguments)


def states(tenancy):
    with tenancy.portal.database.session() as session:
        return [(each.request_type, each.status) for each in session.scalars(select(Command).order_by(Command.id))]


def disable(tenancy, invitation):
    with tenancy.portal.database.transaction() as session:
        closing.disable(Cases(session, tenancy.portal), session.merge(invitation.request.person), "admin:test")


# --- which device it is --------------------------------------------------------------------------------------------


def test_an_old_device_is_never_the_new_one_however_long_it_takes(tenancies):
    tenancy = tenancies(handover_minutes=5)
    invitation = tenancy.invite()
    tenancy.tenant.enroll(ACCOUNT, **OLD)
    tenancy.handed_over(invitation)
    tenancy.clock.forward(minutes=66)
    tenancy.worker.every_minute()  # which forgets the profiles that expired
    tenancy.work(seconds=3600)
    assert tenancy.company.device(invitation) is None
    tenancy.tenant.enroll(ACCOUNT)
    tenancy.work(seconds=3600)
    assert tenancy.company.status(invitation) == "enrolled"


def test_a_device_that_came_before_the_second_hand_over_is_the_new_one(tenancies):
    tenancy = tenancies(handover_minutes=5)
    invitation = tenancy.invite()
    tenancy.tenant.enroll(ACCOUNT, **OLD)
    browser = tenancy.handed_over(invitation)
    tenancy.tenant.enroll(ACCOUNT, lastMdmRegisteredInEpochms="1577836800001")  # and the worker is away
    tenancy.clock.forward(minutes=6)
    tenancy.hand_over(browser.get("/enroll/profile"))
    tenancy.work()
    assert tenancy.company.status(invitation) == "enrolled"


def test_a_second_tap_is_no_second_hand_over(tenancy):
    invitation = tenancy.invite()
    browser = Browser(tenancy.app).walk_to("profile", invitation)
    form = browser.hidden("/enroll/hand-over") | {"continue": "yes"}
    for _ in range(5):
        browser.post("/enroll/hand-over", form)
    with tenancy.portal.database.session() as session:
        assert len(session.scalars(select(IssuedProfile)).all()) == 1
    assert tenancy.tenant.calls.count("searchUsers") <= 2


def test_a_hand_over_that_was_replaced_attaches_nothing(tenancies):
    tenancy = tenancies(handover_minutes=5)
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    with tenancy.portal.database.session() as session:
        first = session.scalar(select(IssuedProfile.id))
    tenancy.clock.forward(minutes=6)
    tenancy.hand_over(browser.get("/enroll/profile"))
    with tenancy.portal.database.transaction() as session:
        case = Cases(session, tenancy.portal).of_profile(first)
        from portal.enrollment import handover

        seen = handover.Seen("X", managed=True, registered_at=tenancy.clock())
        assert handover.arrived(case, seen) is None


def test_one_device_is_never_two_peoples(tenancy):
    people = [tenancy.company.person(name, email="team@example.com") for name in ("anna", "carl")]
    tenancy.tenant.add_user("team@example.com")
    invitations = [tenancy.company.invite(each) for each in people]
    for each in invitations:
        tenancy.handed_over(each)
    tenancy.tenant.enroll("team@example.com")
    tenancy.work()
    assert [tenancy.company.device(each) for each in invitations] == [None, None]  # whose it is nobody can tell
    tenancy.tenant.enroll("anna@work.example.com")
    tenancy.work(seconds=10)
    assert [tenancy.company.status(each) for each in invitations] == ["enrolled", "profile_issued"]


def test_a_hand_over_ends_with_its_request(tenancy):
    invitation = tenancy.invite()
    tenancy.clock.forward(days=6, hours=23, minutes=55)
    browser = tenancy.handed_over(invitation)
    assert "5 minutes" in browser.text
    tenancy.clock.forward(minutes=5)
    asked = {"user-identifier": ACCOUNT, "model-family": "iPhone"}
    answer = tenancy.app.test_client().get("/.well-known/com.apple.remotemanagement", query_string=asked, base_url=BASE)
    assert answer.json["Servers"][0]["BaseURL"].startswith(BASE)


# --- while the network is slow -------------------------------------------------------------------------------------


def test_who_is_disabled_meanwhile_is_not_handed_over(tenancy):
    invitation = tenancy.invite()
    prepare = tenancy.portal.backend.prepare
    tenancy.portal.backend.prepare = lambda person: disable(tenancy, invitation) or prepare(person)
    tenancy.handed_over(invitation)
    assert "handover.begun" not in [kind for kind, _ in tenancy.company.events(invitation)]


def test_who_is_signed_out_meanwhile_is_not_handed_over(tenancy):
    invitation = tenancy.invite()
    prepare = tenancy.portal.backend.prepare

    def sign_out(person):
        with tenancy.portal.database.transaction() as session:
            for web_session in session.scalars(select(WebSession)):
                session.delete(web_session)
        return prepare(person)

    tenancy.portal.backend.prepare = sign_out
    tenancy.handed_over(invitation)
    assert "handover.begun" not in [kind for kind, _ in tenancy.company.events(invitation)]


@pytest.mark.parametrize(
    "how", [disable, lambda tenancy, invitation: tenancy.company.act(invitation, ending.cancel, BY)]
)
def test_a_device_that_comes_after_its_request_was_ended_is_let_go(tenancy, how):
    invitation = tenancy.invite()
    tenancy.handed_over(invitation)
    device = tenancy.tenant.enroll(ACCOUNT)
    how(tenancy, invitation)
    tenancy.worker.every_minute()
    tenancy.work(seconds=10)
    tenancy.work()
    assert [each["name"] for each in device.pending] == ["removeDevice"]
    tenancy.tenant.connect(device)
    tenancy.sweep()
    assert tenancy.company.device(invitation).ended_at is not None


# --- commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [{"errorCode": 77, "errorDesc": "UDID 00008110 of Erika's iPhone"},
                                    {"actionStatus": 1, "description": "serial C39SIMULATED"}])  # fmt: skip
def test_maas360s_words_are_kept_nowhere(tenancy, answer, caplog):
    caplog.set_level("DEBUG")
    invitation, _ = tenancy.enrolled()
    tenancy.tenant.mood["lockDevice"] = lambda: (200, {"actionResponse": answer})
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.work()
    with tenancy.portal.database.session() as session:
        command = session.scalar(select(Command))
    told = command.last_error + repr([each.detail for each in tenancy.company.all_events()]) + caplog.text
    assert not any(word in told for word in ("00008110", "Erika's", "C39"))
    assert command.last_error in ("maas360_77", "maas360_refused")


def test_work_data_can_be_removed_again_after_it_was_given_back(tenancy):
    invitation, device = tenancy.enrolled()
    for what in (management.remove_work_data, management.give_back, management.remove_work_data):
        act(tenancy, invitation, what, *(["iPhone 14"] if what is management.remove_work_data else []), BY)
        tenancy.work()
    assert [each["name"] for each in device.pending] == [
        "selectiveWipeDevice",
        "revokeSelectiveWipe",
        "selectiveWipeDevice",
    ]


def test_a_wipe_is_not_done_because_the_one_before_it_was(tenancy):
    invitation, device = tenancy.enrolled()
    device.row["selectiveWipeStatus"] = "Completed"
    act(tenancy, invitation, management.remove_work_data, "iPhone 14", BY)
    tenancy.sweep()
    assert states(tenancy) == [("SelectiveWipe", "sent")]
    assert [each["name"] for each in device.pending] == ["selectiveWipeDevice"]


def test_another_message_is_another_order(tenancy):
    invitation, _ = tenancy.enrolled()
    for text in ("first", "second"):
        act(tenancy, invitation, management.order, Order("SendMessage", {"Title": "x", "Text": text}), BY)
    tenancy.work()
    assert [text for _, _, text in tenancy.tenant.messages] == ["first", "second"]


def test_a_program_is_told_that_the_brake_holds(tenancy):
    enrolled = [tenancy.enrolled(tenancy.invite(f"person{number}"))[0] for number in range(6)]
    for each in enrolled[:5]:
        act(tenancy, each, management.order, Order("RemoveControl"), "token:program")
    with pytest.raises(RemovalsHeld):
        act(tenancy, enrolled[5], management.order, Order("RemoveControl"), "token:program")


def test_a_message_whose_answer_is_lost_is_not_sent_again(tenancy):
    invitation, _ = tenancy.enrolled()
    sent = []

    def lost(request):
        if "sendMessage" in request.url.path:
            sent.append(request)
            raise httpx.ReadTimeout("slow", request=request)
        return httpx.WSGITransport(app=tenancy.tenant).handle_request(request)

    tenancy.client._http = httpx.Client(base_url="https://maas360.example", transport=httpx.MockTransport(lost))
    act(tenancy, invitation, management.send_message, "Hello", "you", BY)
    for _ in range(10):
        tenancy.rested().work(seconds=600)
    assert len(sent) == 1
    assert states(tenancy) == [("SendMessage", "sent")]


def test_a_removal_that_is_refused_is_asked_for_again(tenancy):
    invitation, device = tenancy.enrolled()
    tenancy.tenant.mood["removeDevice"] = lambda: (400, b"")
    disable(tenancy, invitation)
    tenancy.worker.every_minute()
    tenancy.work()
    assert states(tenancy) == [("RemoveControl", "failed")]
    tenancy.tenant.mood.clear()
    tenancy.clock.forward(hours=7)
    tenancy.worker.every_minute()
    tenancy.work()
    assert [each["name"] for each in device.pending] == ["removeDevice"]


@pytest.mark.parametrize(("answer", "good"), [({"actionStatus": 0}, True), ({"actionStatus": "0"}, True), ({}, False),
                                              ({"status": "Success"}, True), ({"status": "Failure"}, False),
                                              ({"responseCode": 9}, False), ({"responseCode": 0}, True)])  # fmt: skip
def test_only_what_says_that_it_was_taken_was_taken(answer, good):
    assert actions.accepted(answer) is good


def test_that_a_call_worked_does_not_say_that_the_device_did_it(tenancy):
    invitation, _ = tenancy.enrolled()
    tenancy.tenant.mood["checkActionStatus"] = lambda: (
        200, {"actionResponse": {"status": "Success", "action": {"actionStatus": "Pending"}}})  # fmt: skip
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.work()
    tenancy.work(seconds=10)
    assert states(tenancy) == [("DeviceLock", "sent")]


# --- ending --------------------------------------------------------------------------------------------------------


def test_a_device_that_is_gone_there_can_be_given_up_on_its_page(tenancy):
    tenancy.company.person("ada", "admin")
    invitation, device = tenancy.enrolled()
    tenancy.tenant.devices.remove(device)
    tenancy.clock.forward(days=400)
    staff = Browser(tenancy.app).staff_sign_in("ada", tenancy.clock())
    staff.get(f"/helpdesk/devices/{tenancy.company.device(invitation).id}")
    path = staff.path
    staff.post(f"{path}/give-up", staff.hidden(f"{path}/give-up") | {"confirm": "iPhone 14"})
    assert tenancy.company.status(invitation) == "removed"


def test_many_who_left_at_once_are_not_believed_before_an_hour(tenancy):
    enrolled = [tenancy.enrolled(tenancy.invite(f"person{number}"))[0] for number in range(12)]
    for device in tenancy.tenant.devices:
        device.row["maas360ManagedStatus"] = "Control Removed"
    for number in range(20):  # however often staff looks meanwhile
        if number < 6:
            act(tenancy, enrolled[number], management.order, Order("Refresh"), BY)
        tenancy.sweep()
        assert {tenancy.company.status(each) for each in enrolled} == {"enrolled"}
    assert tenancy.worker.portal.backend.health().reason == "many_left"
    tenancy.clock.forward(hours=1)
    tenancy.sweep()
    assert {tenancy.company.status(each) for each in enrolled} == {"removed"}


def test_who_was_given_up_and_enrolled_again_is_not_let_go_with_the_old_enrollment(tenancy):
    tenancy.company.person("ada", "admin")
    first, device = tenancy.enrolled()
    tenancy.tenant.mood["removeDevice"] = lambda: (400, b"")
    tenancy.clock.forward(days=40)
    tenancy.company.act_on(tenancy.company.device(first).id, management.give_up, "iPhone 14", BY)
    tenancy.rested().work()
    second = tenancy.company.invite(first.request.person)
    tenancy.rested().handed_over(second)
    device.row["lastMdmRegisteredInEpochms"] = str(int(tenancy.clock().timestamp() * 1000) + 2000)  # the same row
    tenancy.rested().work(seconds=10)
    assert tenancy.company.status(second) == "enrolled"
    tenancy.tenant.mood.clear()
    tenancy.clock.forward(hours=7)
    tenancy.worker.every_minute()
    tenancy.rested().work()
    assert device.pending == []
    tenancy.company.act(second, ending.cancel, BY)
    tenancy.rested().work()
    assert [each["name"] for each in device.pending] == ["removeDevice"]


def test_what_comes_for_a_new_request_is_not_let_go_with_a_cancelled_one(tenancy):
    first = tenancy.invite()
    tenancy.handed_over(first)
    tenancy.work(seconds=2)
    tenancy.company.act(first, ending.cancel, BY)
    second = tenancy.company.invite(first.request.person)
    browser = Browser(tenancy.app).walk_to("profile", second)
    tenancy.work(seconds=10)  # the first is looked for: nobody there
    tenancy.clock.forward(seconds=3)
    tenancy.hand_over(browser)
    tenancy.worker.manage()  # the second is looked for: not there yet
    device = tenancy.tenant.enroll(first.request.managed_apple_account)
    tenancy.work(seconds=3)
    tenancy.work(seconds=10)
    assert (tenancy.company.status(second), device.pending) == ("enrolled", [])


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00+05:30", "9999-12-31T23:59:59-05:00", "1e400", {}, 10**400])
def test_an_odd_time_keeps_nobody_s_leaving_from_being_noticed(tenancy, value):
    _one, odd = tenancy.enrolled(tenancy.invite("anna"))
    two, other = tenancy.enrolled(tenancy.invite("berta"))
    for key in ("lastReported", "lastMdmRegistered", "installedDate"):
        odd.row.pop(f"{key}InEpochms", None)
        odd.row[key] = value
    tenancy.tenant.leave(other)
    tenancy.sweep()
    assert tenancy.company.status(two) == "removed"


# --- one bad thing stops nothing else ------------------------------------------------------------------------------


def test_an_address_that_is_a_colleague_s_account_leads_to_no_phone_of_hers(tenancy):
    """Who may choose their address at the source could otherwise have her phone, and it goes when they leave."""
    company = tenancy.company
    erika, mallory = company.person("erika"), company.person("mallory", email=ACCOUNT)
    tenancy.tenant.add_user(ACCOUNT)
    of_mallory, of_erika = company.invite(mallory), company.invite(erika)
    tenancy.handed_over(of_mallory)
    tenancy.handed_over(of_erika)
    device = tenancy.tenant.enroll(ACCOUNT)
    tenancy.work()
    disable(tenancy, of_mallory)
    tenancy.worker.every_minute()
    tenancy.work()
    assert (company.status(of_erika), company.device(of_mallory), device.pending) == ("enrolled", None, [])


def test_an_address_that_is_the_account_of_a_colleague_s_request_neither(tenancy):
    """Where accounts are made by a pattern, they stand on requests alone."""
    company = tenancy.company
    erika = company.person("erika")
    of_mallory, of_erika = company.invite(company.person("mallory", email=ACCOUNT.upper())), company.invite(erika)
    tenancy.tenant.add_user(ACCOUNT)
    tenancy.handed_over(of_mallory)
    tenancy.handed_over(of_erika)
    with tenancy.portal.database.transaction() as session:
        session.merge(erika).managed_apple_account = None
    tenancy.tenant.enroll(ACCOUNT)
    tenancy.work()
    assert (company.status(of_erika), company.device(of_mallory)) == ("enrolled", None)


def test_one_address_that_maas360_cannot_take_stops_nobody_else(tenancy):
    invitation, device = tenancy.enrolled()
    other = tenancy.invite("max")
    tenancy.handed_over(other)
    found = tenancy.tenant._found
    tenancy.tenant._found = lambda asked: (400, b"") if asked.get("email", "").startswith("max") else found(asked)
    tenancy.tenant.leave(device)
    tenancy.sweep()
    assert tenancy.company.status(invitation) == "removed"


def test_an_odd_value_stops_neither_the_sweep_nor_the_queue(tenancy):
    invitation, device = tenancy.enrolled()
    device.row["model"] = "iPhone \ud800"
    act(tenancy, invitation, management.lock_screen, BY)
    tenancy.sweep()
    assert [each["name"] for each in device.pending] == ["lockDevice"]


def test_health_comes_back_by_itself(tenancy):
    backend = tenancy.portal.backend
    tenancy.tenant.mood["search"] = lambda: (503, {})
    tenancy.handed_over(tenancy.invite())
    assert backend.health().reason == "status_503"
    tenancy.tenant.mood.clear()
    tenancy.rested()
    assert backend.health().ready


# --- another backend -----------------------------------------------------------------------------------------------


def test_who_was_handed_over_goes_on_when_the_backend_is_another(tenancy, make_app, monkeypatch):
    invitation = tenancy.invite()
    browser = tenancy.handed_over(invitation)
    from portal.backends.embedded import EmbeddedBackend

    portal = tenancy.portal
    portal.__dict__["backend"] = EmbeddedBackend(portal.settings, "com.apple.mgmt.x", portal.database, portal.vault)
    assert browser.get("/enroll/profile").status == 200
    assert browser.get("/enroll/finish").status == 200


def test_a_device_of_another_backend_is_not_promised_an_answer(tenancy):
    tenancy.company.person("ada", "admin")
    invitation, _ = tenancy.enrolled()
    with tenancy.portal.database.transaction() as session:
        session.scalar(select(Device)).server = "another"
    staff = Browser(tenancy.app).staff_sign_in("ada", tenancy.clock())
    staff.get(f"/helpdesk/devices/{tenancy.company.device(invitation).id}")
    assert "it can only be given up" in staff.text
