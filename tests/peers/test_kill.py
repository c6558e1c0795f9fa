"""kill -9 at any moment: every request is at the last step that was answered, and goes on."""

import contextlib
import os
import random
import signal
import threading
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from portal.simulator.employee import Employee
from portal.simulator.iphone import IPhone
from portal.simulator.server import Server
from tests.pages import SAFARI
from tests.servers import Cast, portal_server


@pytest.fixture
def cast(tmp_path):
    with portal_server(tmp_path / "portal") as started:
        yield Cast(started)


def crash(server: Server) -> None:
    """kill -9, then start again."""
    server.kill_web()
    server.start_web()


def children(server: Server) -> list[int]:
    """The processes that answer."""
    return [int(each) for each in Path(f"/proc/{server.web.pid}/task/{server.web.pid}/children").read_text().split()]


def lose_workers(server: Server) -> None:
    """kill -9 for every process that answers; the one that they came from makes others."""
    before = children(server)
    for each in before:
        os.kill(each, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (len(now := children(server)) < len(before) or {*now} & {*before}):
        time.sleep(0.02)


def answers(cast: Cast, username: str, invitation: dict[str, str]) -> dict[str, dict[str, str]]:
    return {
        "sign-in": {"username": username, "password": cast.password(username)},
        "ownership": {"ownership": "employee"},
        "privacy": {"acknowledge": "yes"},
        "passcode": {"passcode": invitation["passcode"]},
        "overview": {"continue": "yes"},
        "terms": {"accept": "yes"},
    }


def test_killed_between_any_two_steps(cast):
    invitation = cast.invite("employee1")
    employee = Employee(cast.server.url)
    employee.open(invitation["url"])
    for step, fields in answers(cast, "employee1", invitation).items():
        crash(cast.server) if step == "passcode" else lose_workers(cast.server)
        employee.open("/enroll/continue" if step != "sign-in" else invitation["url"])
        assert employee.page == f"/enroll/{step}"
        employee.answer(**fields)
    crash(cast.server)
    profile = employee.download()
    phone = IPhone()
    payload = phone.open_profile(profile)
    for act in (lambda: phone.obtain_identity(payload), phone.authenticate, phone.token_update):
        lose_workers(cast.server)
        act()
    crash(cast.server)
    assert phone.connect() == ["DeviceInformation", "ProfileList", "DeclarativeManagement"]
    lose_workers(cast.server)
    employee.open("/enroll/finish")
    assert employee.heading == "You are ready for work"
    status = cast.status(invitation)
    assert status["status"] == "enrolled"
    kinds = [event["kind"] for event in status["events"]]
    assert len([kind for kind in kinds if kind == "device.enrolled"]) == 1
    cast.server.flask("audit", "verify")


@pytest.mark.each_database
def test_killed_in_the_middle_of_a_step(cast):
    """The answer may or may not have counted; never half, and the person goes on either way."""
    chance = random.Random(7)
    invitation = cast.invite("employee2")
    fields = answers(cast, "employee2", invitation)
    employee = Employee(cast.server.url)
    employee.open(invitation["url"])
    for step, values in fields.items():
        wholly = step in ("sign-in", "passcode")
        kill = cast.server.kill_web if wholly else partial(lose_workers, cast.server)
        killer = threading.Timer(chance.uniform(0, 0.05), kill)
        killer.start()
        with contextlib.suppress(httpx.TransportError):
            employee.answer(**values)
        killer.join()
        if wholly:
            cast.server.start_web()
        employee.open(invitation["url"])
        steps = list(fields)
        if employee.page == f"/enroll/{step}":
            employee.answer(**values)
        assert employee.page in ("/enroll/profile", *(f"/enroll/{each}" for each in steps[steps.index(step) + 1 :]))
    assert employee.page == "/enroll/profile"
    kinds = [event["kind"] for event in cast.status(invitation)["events"]]
    for once in ("ownership.chosen", "privacy.acknowledged", "passcode.verified", "overview.seen", "terms.accepted"):
        assert kinds.count(once) == 1
    cast.server.flask("audit", "verify")


@pytest.mark.each_database
def test_a_killed_worker_loses_no_mail(cast):
    cast.server.worker.kill()
    cast.server.worker.wait()
    invitations = [cast.invite(f"employee{number}") for number in (1, 2, 4)]
    assert not list((cast.data / "outbox").glob("*.eml"))
    cast.server.start_worker()
    deadline = time.monotonic() + 20
    while len(list((cast.data / "outbox").glob("*.eml"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    mails = "".join(path.read_text() for path in (cast.data / "outbox").glob("*.eml"))
    assert all(invitation["passcode"] in mails for invitation in invitations)
    assert len(list((cast.data / "outbox").glob("*.eml"))) == 3


def test_a_reload_under_load_drops_no_request(cast):
    """SIGHUP replaces the workers; pages keep answering."""
    failures, stop = [], threading.Event()

    def web_session():
        with httpx.Client(base_url=cast.server.url, timeout=30) as client:
            while not stop.is_set():
                try:
                    if client.get("/enroll/sign-in").status_code != 200:
                        failures.append("status")
                except httpx.TransportError as error:
                    # A kept-alive connection may be closed just before it is used again: browsers retry that GET.
                    if not isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                        failures.append(repr(error))

    threads = [threading.Thread(target=web_session) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.5)
        os.kill(cast.server.web.pid, signal.SIGHUP)
    time.sleep(2)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def sees(server: Server, words: str, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if words in httpx.get(f"{server.url}/enroll/sign-in", headers={"User-Agent": SAFARI}).text:
            return True
        time.sleep(0.1)
    return False


def test_a_reload_takes_up_what_was_changed_and_a_mistake_changes_nothing(cast):
    file, server = cast.data / "demo.toml", cast.server
    before = file.read_text()
    file.write_text(f'{before}[company]\nname = "Second Name Limited"\n')
    os.kill(server.web.pid, signal.SIGHUP)
    assert sees(server, "Second Name Limited")
    file.write_text("this is no TOML [")
    os.kill(server.web.pid, signal.SIGHUP)
    deadline = time.monotonic() + 20
    while "reload failed" not in server.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "reload failed" in server.log.read_text()
    assert sees(server, "Second Name Limited", 5)
