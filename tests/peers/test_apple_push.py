"""Waking devices: against a real HTTP/2 server that asks for the push certificate and answers as Apple documents."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from portal import clock as portal_clock
from portal import jobs
from portal.backends import reconciling
from portal.backends.base import BackendDown, CommandRefused
from portal.backends.embedded import push
from portal.backends.embedded.push import ApplePush, PushToken
from portal.enrollment.commands import Order
from portal.models import Command, Device, PortalState
from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone
from portal.simulator.server import free_port
from tests.factories import phone, phone_key, push_identity, queue_command
from tests.pages import Browser
from tests.peers.apple_push import ApplePushService, needs_node
from tests.servers import Cast, portal_server

pytestmark = needs_node

TOPIC = "com.apple.mgmt.External.one"
FOREVER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)
DEVICE = PushToken("ab" * 32, "MAGIC")


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """(certificate and key in PEM, its file)."""
    made = push_identity(*FOREVER)
    file = tmp_path_factory.mktemp("identity") / "push.pem"
    file.write_text(made)
    return made, file


@pytest.fixture
def apple(tmp_path, identity, monkeypatch):
    service = ApplePushService(tmp_path, [identity[1]])
    monkeypatch.setenv("SSL_CERT_FILE", str(service.certificate))
    yield service
    service.stop()


@pytest.fixture
def doorbell(apple, identity, tmp_path):
    return ApplePush(identity[0], TOPIC, apple.url, tmp_path)


# --- one push ---------------------------------------------------------------------------------------------------------


def test_a_push_says_what_apple_documents_and_nothing_else(apple, doorbell):
    assert doorbell.wake(DEVICE) is None
    (pushed,) = apple.pushes()
    headers = pushed["headers"]
    assert (headers[":method"], headers[":path"]) == ("POST", "/3/device/" + "ab" * 32)
    assert (headers["apns-topic"], headers["apns-push-type"], pushed["uid"]) == (TOPIC, "mdm", TOPIC)
    assert int(headers["apns-expiration"]) > portal_clock.now().timestamp() + 24 * 3600
    assert json.loads(pushed["body"]) == {"mdm": "MAGIC"}


def test_many_pushes_from_many_threads_take_one_connection(apple, doorbell):
    tokens = [PushToken(f"{number:064x}", "M") for number in range(40)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(doorbell.wake, tokens)) == [None] * 40
    assert {each["headers"][":path"] for each in apple.pushes()} == {f"/3/device/{each.token}" for each in tokens}
    assert apple.connections == 1


@pytest.mark.parametrize(
    ("status", "reason", "means"),
    [
        (410, "Unregistered", "push_token_gone"),
        (410, "ExpiredToken", "push_token_gone"),
        (400, "BadDeviceToken", "push_token_gone"),
        (400, "DeviceTokenNotForTopic", "push_token_gone"),
        (400, "BadTopic", "push_failed"),
        (413, None, "push_failed"),
    ],
)
def test_why_this_device_cannot_be_woken(apple, doorbell, status, reason, means):
    apple.answer(status=status, reason=reason)
    assert doorbell.wake(DEVICE) == means


@pytest.mark.parametrize(
    ("status", "reason", "means"),
    [
        (403, "BadCertificate", "push_certificate_refused"),
        (429, "TooManyRequests", "push_429"),
        (500, "InternalServerError", "push_500"),
        (503, "Shutdown", "push_503"),
        (503, None, "push_503"),
    ],
)
def test_why_nobody_can_be_woken_now(apple, doorbell, status, reason, means):
    apple.answer(status=status, reason=reason)
    with pytest.raises(BackendDown, match=means):
        doorbell.wake(DEVICE)


def test_a_connection_that_apple_closed_is_opened_anew(apple, doorbell):
    doorbell.wake(DEVICE)
    apple.answer(hang_up=True)
    assert doorbell.wake(DEVICE) is None
    assert len(apple.pushes()) == 3
    assert apple.connections == 2


def test_apple_out_of_reach(apple, doorbell, identity, tmp_path, monkeypatch):
    doorbell.wake(DEVICE)
    apple.stop()
    with pytest.raises(BackendDown, match="push_unreachable"):
        doorbell.wake(DEVICE)
    monkeypatch.setattr(push, "TIMEOUT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", free_port()))
        silent.listen()
        never = ApplePush(identity[0], TOPIC, f"https://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        with pytest.raises(BackendDown, match="push_timeout"):
            never.wake(DEVICE)


def test_a_certificate_that_apple_does_not_know(apple, tmp_path):
    stranger = ApplePush(push_identity(*FOREVER, key=1), TOPIC, apple.url, tmp_path)
    with pytest.raises(BackendDown, match="push_unreachable"):
        stranger.wake(DEVICE)
    assert apple.pushes() == []


def test_who_cannot_prove_to_be_apple_gets_no_push(apple, identity, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(BackendDown, match="push_unreachable"):
        ApplePush(identity[0], TOPIC, apple.url, tmp_path).wake(DEVICE)
    assert apple.pushes() == []


def test_the_key_stays_in_no_file(doorbell, tmp_path):
    doorbell.wake(DEVICE)
    assert not list(tmp_path.glob("push-*"))


# --- the certificate --------------------------------------------------------------------------------------------------


def test_an_expired_certificate_asks_nobody(apple, tmp_path):
    old = ApplePush(push_identity(FOREVER[0], datetime(2021, 1, 1, tzinfo=UTC)), TOPIC, apple.url, tmp_path)
    assert old.wake(DEVICE) == "push_certificate_expired"
    with pytest.raises(CommandRefused, match="expired"):
        old.check()
    assert apple.pushes() == []


def test_apple_is_asked_whether_the_certificate_is_good(apple, doorbell):
    apple.answer(status=400, reason="BadDeviceToken")
    doorbell.check()
    apple.answer(status=403, reason="BadCertificateEnvironment")
    with pytest.raises(CommandRefused, match="BadCertificateEnvironment"):
        doorbell.check()
    apple.answer(status=400, reason="TopicDisallowed")
    with pytest.raises(CommandRefused, match="TopicDisallowed"):
        doorbell.check()
    apple.answer(status=503)
    with pytest.raises(BackendDown):
        doorbell.check()
    assert {each["headers"][":path"] for each in apple.pushes()} == {"/3/device/" + "00" * 32}


# --- the portal and its devices ---------------------------------------------------------------------------------------


@pytest.fixture
def app(make_app, apple, identity):
    mdm = {"backend": "embedded", "topic": "", "push_identity": identity[0], "push_server": apple.url,
           "refresh_hours": 720}  # fmt: skip
    return make_app(mdm=mdm)


@pytest.fixture
def worker(app):
    made = jobs.Worker(app.extensions["portal"].live.base)
    yield made
    made.database.engine.dispose()


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def enrolled(app, company, invitation):
    """A phone that was not woken yet."""
    made = phone(app)
    made.obtain_identity(made.open_profile(company.profile(invitation)))
    made.authenticate()
    made.token_update()
    return made


def order(company, invitation, wanted):
    portal = company.portal
    with portal.database.transaction() as session:
        device = session.get_one(Device, company.device(invitation).id)
        queue_command(session, portal, device.id, wanted)


def test_one_push_for_everything_that_waits(apple, company, invitation, enrolled, worker):
    worker.manage()
    (pushed,) = apple.pushes()
    assert pushed["headers"][":path"] == f"/3/device/{enrolled.push_token.hex()}"
    assert json.loads(pushed["body"]) == {"mdm": enrolled.push_magic}
    assert enrolled.connect() == ["DeviceInformation", "ProfileList", "DeclarativeManagement"]
    worker.manage()
    assert apple.pushes() == []
    order(company, invitation, Order("DeviceLock"))
    worker.manage()
    assert len(apple.pushes()) == 1
    assert enrolled.connect() == ["DeviceLock"]
    assert not [event for event in company.events(invitation) if event[0] == "device.waits"]


def test_while_apple_is_away_commands_wait_and_devices_that_come_get_them(
    apple, company, invitation, enrolled, worker, clock, session
):
    apple.answer(status=503)
    worker.manage()
    waiting = session.query(Command).order_by(Command.id).first()
    assert (waiting.status, waiting.handed_at, waiting.last_error) == ("queued", None, "push_503")
    assert enrolled.connect() == ["DeviceInformation", "ProfileList", "DeclarativeManagement"]
    order(company, invitation, Order("DeviceLock"))
    apple.answer(status=200)
    apple.pushes()
    clock.forward(minutes=1)
    worker.manage()
    assert len(apple.pushes()) == 1


def test_a_device_that_apple_does_not_know_any_more_is_told_of_and_served_when_it_comes(
    apple, company, invitation, enrolled, worker
):
    apple.answer(status=410, reason="Unregistered")
    for _ in range(2):
        worker.manage()
    assert [event for event in company.events(invitation) if event[0] == "device.waits"] == [
        ("device.waits", "push_token_gone")
    ]
    assert enrolled.connect() == ["DeviceInformation", "ProfileList", "DeclarativeManagement"]
    enrolled.token_update()  # it has a new one
    apple.answer(status=200)
    apple.pushes()
    order(company, invitation, Order("DeviceLock"))
    worker.manage()
    (pushed,) = apple.pushes()
    assert pushed["headers"][":path"] == f"/3/device/{enrolled.push_token.hex()}"
    assert company.device(invitation).wake_problem is None


def test_who_put_a_command_off_is_woken_again_an_hour_later(apple, company, invitation, enrolled, worker, clock):
    worker.manage()
    enrolled.mood = {"ProfileList": "NotNow"}
    enrolled.connect()
    apple.pushes()
    clock.forward(minutes=59)
    worker.every_minute()
    assert [each for each in apple.pushes() if json.loads(each["body"])["mdm"] == enrolled.push_magic] == []
    clock.forward(minutes=2)
    worker.every_minute()
    assert len(apple.pushes()) == 1
    enrolled.mood = {}
    assert enrolled.connect() == ["ProfileList"]
    clock.forward(minutes=61)
    worker.every_minute()
    assert apple.pushes() == []


@pytest.mark.each_database
def test_who_does_not_come_is_woken_again_when_apple_keeps_the_push_no_more(apple, enrolled, worker, clock):
    worker.every_minute()
    mine = lambda: [p for p in apple.pushes() if json.loads(p["body"])["mdm"] == enrolled.push_magic]  # noqa: E731
    assert len(mine()) == 1
    for days, count in ((6, 0), (2, 1), (1, 0)):
        clock.forward(days=days)
        worker.every_minute()
        assert len(mine()) == count


def test_a_certificate_that_comes_later_wakes_who_waits(make_app, apple, identity, company, clock):
    without = make_app()
    worker = jobs.Worker(without.extensions["portal"].live.base)
    try:
        company.portal = without.extensions["portal"]
        invitation = company.invite(company.person())
        made = phone(without, 1)
        made.obtain_identity(made.open_profile(Browser(without).walk_to("profile", invitation).download()))
        made.authenticate()
        made.token_update()
        worker.every_minute()
        assert company.device(invitation).wake_problem == "no_push_certificate"
        settings = worker.live.base
        mdm = settings.mdm.model_copy(update={"push_identity": identity[0], "push_server": apple.url,
                                              "topic": made.mdm["Topic"]})  # fmt: skip
        worker.live.base = worker.live.current = settings.model_copy(update={"mdm": mdm})
        worker.every_minute()
        assert f"/3/device/{made.push_token.hex()}" in [each["headers"][":path"] for each in apple.pushes()]
        assert company.device(invitation).wake_problem is None
    finally:
        worker.database.engine.dispose()


def test_what_apple_says_of_the_certificate_is_kept_for_the_admin(apple, worker, clock):
    give = lambda: reconciling.give_push_certificate(  # noqa: E731
        worker.database, worker.backend, worker.live.current, clock()
    )
    apple.answer(status=400, reason="BadDeviceToken")
    assert [give(), give()] == [True, False]
    apple.answer(status=403, reason="BadCertificate")
    clock.forward(hours=13)
    assert give() is False
    with worker.database.session() as session:
        assert (
            json.loads(session.get_one(PortalState, reconciling.CERTIFICATE_STATE).value)["problem"] == "BadCertificate"
        )


def test_a_running_portal_wakes_a_phone_as_soon_as_it_is_enrolled(apple, identity, tmp_path):
    environment = {"PORTAL_MDM_PUSH_IDENTITY": identity[0], "PORTAL_MDM_PUSH_SERVER": apple.url}
    with portal_server(tmp_path / "portal", environment) as server:
        cast = Cast(server)
        invitation = cast.invite("employee1")
        employee = Employee(server.url)
        profile = employee.walk(
            invitation["url"], "employee1", cast.password("employee1"), lambda: invitation["passcode"]
        )
        made = IPhone(http=httpx.Client(timeout=20), key=phone_key(0))
        made.obtain_identity(made.open_profile(profile))
        made.authenticate()
        made.token_update()
        wanted = f"/3/device/{made.push_token.hex()}"
        while apple.next_push()["headers"][":path"] != wanted:  # gives up by itself
            pass
        assert made.connect() == ["DeviceInformation", "ProfileList", "DeclarativeManagement"]
