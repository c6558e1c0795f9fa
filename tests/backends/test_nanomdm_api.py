"""What the portal makes of NanoMDM's answers, and how it behaves while there are none."""

import json
import threading
import time

import httpx
import pytest

from portal.backends import dispatch, messages, reconciling
from portal.backends.base import BackendDown, CommandRefused, OutgoingCommand
from portal.backends.nanomdm import FAILURES_TO_PAUSE, NanoMdmBackend
from portal.enrollment.commands import Order
from portal.models import Command, Device, PortalState
from portal.storage.cases import Cases
from tests.backends.delegated import SETTINGS, TOPIC, Delegated, authenticate, check_out, connect, token_update
from tests.factories import queue_command

OUTGOING = OutgoingCommand("E-1", "COMMAND-1", b"<plist/>")


@pytest.fixture
def delegated(make_app, clock):
    made = Delegated(make_app, clock)
    yield made
    made.worker.database.engine.dispose()


@pytest.fixture
def backend(make_app):
    """A backend that gets ``answer(...)``s."""
    settings = make_app(**SETTINGS).extensions["portal"].settings

    def make(answer):
        return NanoMdmBackend(settings, TOPIC, httpx.MockTransport(answer))

    return make


def always(code, **body):
    return lambda _request: httpx.Response(code, json=body)


def one(**told):
    return {"status": {"E-1": told}}


# --- taking commands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (always(200, **one(push_result="1")), None),
        (always(200), None),
        (always(500, **one(push_error="push data missing for id")), "push_data_missing"),
        (always(500, push_error="no push certificate"), "push_failed"),
        (always(207, **one(push_error="BadDeviceToken")), "push_failed"),
    ],
)
def test_a_command_that_was_queued_is_taken_even_if_the_push_failed(backend, answer, problem):
    assert backend(answer).hand_over(OUTGOING) == problem


@pytest.mark.parametrize(
    "complaint",
    [
        "command already exists: COMMAND-1",
        'pq: duplicate key value violates unique constraint "commands_pkey"',
        "Error 1062 (23000): Duplicate entry 'COMMAND-1' for key 'PRIMARY'",
    ],
)
def test_a_command_that_is_there_already_was_taken_and_the_device_is_woken(backend, complaint):
    asked = []

    def answer(request):
        asked.append(request.url.path)
        return (
            httpx.Response(500, json={"command_error": complaint})
            if request.method == "PUT"
            else httpx.Response(200, json={})
        )

    assert backend(answer).hand_over(OUTGOING) is None
    assert asked == ["/v1/enqueue/E-1", "/v1/push/E-1"]


@pytest.mark.parametrize(
    "answer",
    [
        always(500, command_error='insert violates foreign key constraint "enrollment_queue_id_fkey"'),
        always(500, command_error="decoding command: parse error: plist: ..."),
    ],
)
def test_what_nanomdm_will_never_take_is_refused(backend, answer):
    with pytest.raises(CommandRefused):
        backend(answer).hand_over(OUTGOING)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (always(500, command_error="dial tcp: connection refused"), "storage"),
        (always(401), "api_key"),
        (always(403), "api_key"),
        (always(404), "status_404"),
        (always(502), "status_502"),
        (lambda _request: httpx.Response(200, text="<html>a proxy's page</html>"), "status_200"),
        (lambda _request: httpx.Response(500, text="no JSON"), "status_500"),
        (lambda _request: httpx.Response(200, json=["list"]), "status_200"),
    ],
)
def test_everything_else_is_an_outage_and_tried_again(backend, answer, reason):
    with pytest.raises(BackendDown) as down:
        backend(answer).hand_over(OUTGOING)
    assert down.value.reason == reason


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (httpx.ConnectError("x"), "unreachable"),
        (httpx.ReadTimeout("x"), "timeout"),
        (httpx.ReadError("x"), "unreachable"),
    ],
)
def test_no_answer_is_an_outage(backend, problem, reason):
    def answer(_request):
        raise problem

    with pytest.raises(BackendDown) as down:
        backend(answer).hand_over(OUTGOING)
    assert down.value.reason == reason


@pytest.mark.parametrize(
    "enrollment_id", ["E-1,E-2", "E-1%2CE-2", "../pushcert", "E 1", "", "ü", "E-1?nopush=1", "x" * 129]
)
def test_an_enrollment_id_never_becomes_two_or_another_address(backend, enrollment_id):
    def answer(_request):
        raise AssertionError("asked")

    with pytest.raises(CommandRefused):
        backend(answer).hand_over(OutgoingCommand(enrollment_id, "C", b""))


def test_after_some_failures_it_is_left_alone_for_a_while(backend, monkeypatch):
    asked = []

    def answer(request):
        asked.append(request.url.path)
        raise httpx.ConnectError("x")

    made = backend(answer)
    reasons = []
    for _ in range(FAILURES_TO_PAUSE + 3):
        with pytest.raises(BackendDown) as down:
            made.hand_over(OUTGOING)
        reasons.append(down.value.reason)
    assert reasons == ["unreachable"] * FAILURES_TO_PAUSE + ["paused"] * 3
    assert len(asked) == FAILURES_TO_PAUSE
    monkeypatch.setattr(made._breaker, "_opened", made._breaker._opened - 60)
    with pytest.raises(BackendDown, match="unreachable"):  # one try shows that it is still down
        made.hand_over(OUTGOING)
    with pytest.raises(BackendDown, match="paused"):
        made.hand_over(OUTGOING)


@pytest.mark.parametrize(
    ("answer", "ready", "reason"),
    [
        (always(400, error="no PEM"), True, ""),
        (always(200, topic="x"), True, ""),
        (always(401), False, "api_key"),
        (always(503), False, "status_503"),
    ],
)
def test_health_tells_a_wrong_key_from_an_outage(backend, answer, ready, reason):
    health = backend(answer).health()
    assert (health.ready, health.reason) == (ready, reason)


def test_health_is_asked_once_in_a_while_whoever_wants_to_know(backend):
    asked = []

    def answer(_request):
        asked.append(1)
        raise httpx.ConnectTimeout("x")

    made = backend(answer)
    assert {made.health().reason for _ in range(20)} == {"timeout"}
    assert len(asked) == 1


# --- the queue -------------------------------------------------------------------------------------------------------


def order(delegated, *kinds):
    with delegated.portal.database.transaction() as session:
        device = session.get_one(Device, delegated.company.device(delegated.invitation).id)
        return [queue_command(session, delegated.portal, device.id, Order(kind)).uuid for kind in kinds]


def states(delegated, uuids):
    with delegated.portal.database.session() as session:
        found = session.query(Command).filter(Command.uuid.in_(uuids)).order_by(Command.id)
        return [each.status for each in found]


def test_commands_wait_through_an_outage_in_their_order(delegated, clock):
    delegated.enroll()

    def down(_request):
        raise httpx.ConnectError("x")

    delegated.api.answer = down
    ordered = order(delegated, "DeviceLock", "SecurityInfo", "ProfileList")
    asked = len(delegated.api.asked)
    delegated.work()
    assert len(delegated.api.asked) == asked + 1  # one of them asks, the others wait behind it
    for _ in range(40):
        clock.forward(minutes=5)
        delegated.worker.manage()
    assert states(delegated, ordered) == ["queued"] * 3
    delegated.api.answer = None
    delegated.use(delegated.api)  # its pause is over
    delegated.work(300)
    assert states(delegated, ordered) == ["sent"] * 3
    assert list(delegated.api.queued)[-3:] == ordered


def test_an_answer_that_was_lost_on_the_way_back_queues_nothing_twice(delegated, clock):
    delegated.enroll()
    api = delegated.api

    def lost(request):
        api.answer = None
        api(request)
        raise httpx.ReadTimeout("x")

    api.answer = lost
    ordered = order(delegated, "DeviceLock")
    delegated.work()
    assert states(delegated, ordered) == ["queued"]
    delegated.work(5)
    assert states(delegated, ordered) == ["sent"]
    assert list(api.queued).count(ordered[0]) == 1


def test_a_command_that_nanomdm_never_takes_does_not_stop_the_next(delegated):
    delegated.enroll()
    first = order(delegated, "SecurityInfo")
    api = delegated.api

    def refuse(request):
        api.answer = None
        return httpx.Response(500, json={"command_error": "violates foreign key constraint"})

    api.answer = refuse
    then = order(delegated, "DeviceLock")
    delegated.work()
    assert states(delegated, first + then) == ["failed", "sent"]
    assert ("command.failed", "SecurityInfo") in delegated.company.events(delegated.invitation)


def test_a_worker_that_died_while_handing_over_hands_over_again(delegated, clock):
    delegated.enroll()
    ordered = order(delegated, "DeviceLock")
    assert dispatch._claim(delegated.portal.database, delegated.portal.backend) is not None  # and dies
    delegated.work()
    assert states(delegated, ordered) == ["queued"]
    delegated.work(dispatch.LEASE.total_seconds())
    assert states(delegated, ordered) == ["sent"]


def test_nobody_is_asked_about_a_device_that_left(delegated):
    reference = delegated.enroll()
    delegated.company.device(delegated.invitation)
    ordered = order(delegated, "DeviceLock")
    delegated.tell(check_out("E-1", reference)).work()
    assert states(delegated, ordered) == ["dropped"]


# --- what got lost ---------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_found_by_a_later_one_and_asked_again(delegated, clock):
    reference = delegated.enroll()
    question, listing = delegated.api.queued
    delegated.tell(connect("E-1", reference, "Acknowledged", listing, ProfileList=[])).work()
    clock.forward(minutes=11)
    delegated.worker.every_minute()
    assert states(delegated, [question]) == ["answer_lost"]
    newest = list(delegated.api.queued)[-1]
    delegated.tell(connect("E-1", reference, "Acknowledged", newest, QueryResponses={"OSVersion": "17.7"})).work()
    assert delegated.company.device(delegated.invitation).attributes == {"OSVersion": "17.7"}
    assert ("command.answer_lost", "DeviceInformation") in delegated.company.events(delegated.invitation)


@pytest.mark.parametrize("put_off", [True, False])
def test_a_look_at_what_is_declared_that_got_lost_is_asked_for_again(delegated, clock, put_off):
    """It is no command that anybody may order, so what asks anew may not either."""
    reference = delegated.enroll()
    question, listing = delegated.api.queued
    delegated.tell(connect("E-1", reference, "Acknowledged", question, QueryResponses={"OSVersion": "17.6.1"})).work()
    (look,) = (each.uuid for each in delegated.commands("sent") if each.request_type == "DeclarativeManagement")
    if put_off:
        delegated.tell(connect("E-1", reference, "NotNow", look)).work()
    clock.forward(minutes=30)
    delegated.tell(connect("E-1", reference)).work()
    clock.forward(minutes=30)
    delegated.worker.every_minute()
    assert states(delegated, [listing, look]) == ["answer_lost", "answer_lost"]
    clock.forward(hours=2)
    delegated.worker.declare()
    delegated.work()
    assert [each.request_type for each in delegated.commands("sent")].count("DeclarativeManagement") == 1


def test_a_lost_answer_that_comes_after_all_counts(delegated, clock):
    reference = delegated.enroll()
    question, listing = delegated.api.queued
    delegated.tell(connect("E-1", reference, "Acknowledged", listing, ProfileList=[])).work()
    clock.forward(minutes=11)
    delegated.worker.every_minute()
    delegated.tell(connect("E-1", reference, "Acknowledged", question, QueryResponses={})).work()
    assert states(delegated, [question]) == ["acknowledged"]


def test_a_queue_that_nanomdm_lost_is_filled_again(delegated, clock):
    reference = delegated.enroll()
    delegated.api.queued.clear()
    clock.forward(minutes=5)
    delegated.tell(connect("E-1", reference)).work()  # it came, and got nothing
    clock.forward(minutes=11)
    delegated.worker.every_minute()
    assert len(delegated.api.queued) == 2
    assert {each.request_type for each in delegated.commands("sent")} == {"DeviceInformation", "ProfileList"}


def test_a_device_whose_token_update_got_lost_is_asked_until_it_answers(delegated, clock):
    delegated.prepared()
    reference = delegated.reference()
    delegated.tell(authenticate("E-1", reference)).work()
    clock.forward(minutes=6)
    delegated.worker.every_minute()
    (question,) = delegated.api.queued
    clock.forward(minutes=1)
    delegated.worker.every_minute()
    assert len(delegated.api.queued) == 1
    delegated.tell(connect("E-1", reference, "Acknowledged", question, QueryResponses={"OSVersion": "17.7"})).work(21)
    assert delegated.company.status(delegated.invitation) == "enrolled"


def test_a_quiet_device_is_asked_how_it_is_once_a_day(delegated, clock):
    reference = delegated.enroll()
    for question in list(delegated.api.queued):
        answer = {"QueryResponses": {}, "ProfileList": []}
        delegated.tell(connect("E-1", reference, "Acknowledged", question, **answer)).work()
    count = len(delegated.api.queued)
    clock.forward(hours=25)
    for _ in range(3):
        delegated.worker.every_minute()
    assert len(delegated.api.queued) == count + 4


# --- the push certificate --------------------------------------------------------------------------------------------


def test_the_push_certificate_is_given_once_and_again_now_and_then(delegated, clock):
    settings = delegated.portal.settings.model_copy(
        update={"mdm": delegated.portal.settings.mdm.model_copy(update={"push_identity": "PEM"})}
    )
    give = lambda: reconciling.give_push_certificate(  # noqa: E731
        delegated.portal.database, delegated.portal.backend, settings, clock()
    )
    assert [give(), give()] == [True, False]
    clock.forward(hours=12)
    assert give() is True
    delegated.api.answer = lambda _request: httpx.Response(400, json={"error": "topic from cert"})
    clock.forward(hours=12)
    assert give() is False
    with delegated.portal.database.session() as session:
        state = json.loads(session.get_one(PortalState, reconciling.CERTIFICATE_STATE).value)
    assert state["problem"] == "topic from cert"


def test_token_update_alone_is_enough_to_go_on(delegated):
    delegated.prepared()
    delegated.tell(token_update("E-1", delegated.reference())).work(21)
    assert delegated.company.status(delegated.invitation) == "enrolled"
    assert len(delegated.api.queued) == 2


def test_an_answer_that_is_faster_than_the_note_that_it_was_handed_over_counts(delegated, monkeypatch):
    delegated.enroll()
    [wanted] = order(delegated, "ProfileList")
    portal, backend = delegated.worker.portal, delegated.worker.portal.backend
    answering = threading.Event()

    def answer():
        device = delegated.company.device(delegated.invitation)
        with portal.database.transaction() as session:
            case = Cases(session, portal).of_device(device.id)
            messages.report(case, {"Status": "Acknowledged", "CommandUUID": wanted, "ProfileList": []})
            session.flush()
            answering.set()
            time.sleep(0.3)  # so long it is not committed; the worker goes on meanwhile

    def hand_over(outgoing):
        if outgoing.command_uuid == wanted:
            thread.start()
            answering.wait(5)

    thread = threading.Thread(target=answer)
    monkeypatch.setattr(backend, "hand_over", hand_over)
    delegated.work()
    thread.join()
    assert answering.is_set()
    assert states(delegated, [wanted]) == ["acknowledged"]
