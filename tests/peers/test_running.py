"""A portal as ``make run`` starts it: commands from another shell, a Redis queue, and the whole demo."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portal.settings import ROOT
from portal.simulator import demo
from portal.simulator.server import free_port, wait_until_it_listens
from tests.servers import Cast, portal_server
from tests.tools import needs_nanomdm

REDIS = shutil.which("redis-server")


def mails(cast: Cast, count: int, seconds: float = 20) -> int:
    """How many mails there are, once there are ``count`` or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = len(list((cast.data / "outbox").glob("*.eml")))
        if found >= count:
            break
        time.sleep(0.1)
    return found


def test_commands_in_another_shell_find_the_running_demo(tmp_path):
    with portal_server(tmp_path / "portal") as server:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("PORTAL_")}
        own = {key: server.environment[key] for key in ("PORTAL_DATA_DIR", "PORTAL_DATABASE_URL")
               if key in server.environment}  # fmt: skip

        def flask(*arguments):
            command = [sys.executable, "-m", "flask", "--app", "app", *arguments]
            return subprocess.run(
                command, cwd=ROOT, env={**plain, **own}, capture_output=True, text=True, check=True
            ).stdout

        accounts = json.loads(flask("demo-accounts", "--json"))
        invitation = json.loads(flask("invite", accounts[0]["username"], "--json"))
        assert invitation["url"].startswith(server.url + "/e/")
        assert json.loads(flask("status", invitation["id"], "--json"))["status"] == "invited"
        assert mails(Cast(server), 1) == 1


@pytest.mark.skipif(REDIS is None, reason="Debian's package redis-server is not installed")
def test_the_queue_works_on_redis_and_survives_its_restart(tmp_path):
    port = free_port()
    command = [str(REDIS), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with portal_server(tmp_path / "portal", {"PORTAL_QUEUE_REDIS_URL": f"redis://127.0.0.1:{port}/0"}) as server:
            cast = Cast(server)
            cast.invite("employee1")
            assert mails(cast, 1) == 1
            redis.kill()
            redis.wait()
            cast.invite("employee2")  # the nudge is lost, the mail is not
            redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            assert wait_until_it_listens(redis, port, 10)
            cast.invite("employee4")
            assert mails(cast, 3, seconds=90) == 3
            assert not (cast.data / "queue.sqlite3").exists()
    finally:
        redis.kill()
        redis.wait()


@needs_nanomdm
def test_the_demo_walks_to_an_enrolled_device(capsys, monkeypatch):
    """The others are walked by ``.ci/run``, as ``make demo``."""
    monkeypatch.delenv("PORTAL_DATABASE_URL", raising=False)
    assert demo.main(["walk", "nanomdm"]) == 0
    printed = capsys.readouterr().out
    assert "status: enrolled" in printed
    assert "/enroll/terms" in printed


def start_of_make_run(tmp_path):
    """``make run`` as a process, and what it started, once it serves."""
    environment = {**os.environ, "PORTAL_DATA_DIR": str(tmp_path)}
    environment.pop("PORTAL_DATABASE_URL", None)
    command = [sys.executable, "-m", "portal.simulator.demo", "serve", str(free_port())]
    run = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    printed = ""
    while "Mail " not in printed:
        line = run.stdout.readline()
        assert line, printed
        printed += line
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert len(children) == 2
    return run, children


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM,),
        (signal.SIGHUP,),
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        (signal.SIGHUP, signal.SIGHUP, signal.SIGINT),
    ],
    ids=["Ctrl-C twice", "terminated", "terminal closed", "everything", "terminal closed twice"],
)
def test_however_make_run_ends_it_leaves_no_process_behind(tmp_path, signals):
    """The signal reaches the whole group, at once or again while it stops."""
    run, children = start_of_make_run(tmp_path)
    for number in signals:
        os.killpg(run.pid, number)
        time.sleep(0.05)
    assert run.wait(20) == 0
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
