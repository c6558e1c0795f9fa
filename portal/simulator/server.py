"""A portal of its own on loopback: web and worker as processes, for ``make run``, the demo, the tests and the bench."""

import contextlib
import json
import logging
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from werkzeug.utils import import_string

ROOT = Path(__file__).resolve().parent.parent.parent
APPLICATION = "portal:create_app"
"""By its name, as gunicorn knows it: a simulator has nothing of the portal's own code."""
START_SECONDS = 30.0
STOP_SECONDS = 10.0
FREE_PORTS = range(20_000, 30_000)
_held: deque[socket.socket] = deque(maxlen=100)
_one_command = threading.Lock()
"""Held while a command has the process's environment."""


class NotStarted(Exception):
    """The portal did not come up; the message says what it printed last."""


class Server:
    """One portal. ``environment`` are its PORTAL_* variables beyond the address."""

    def __init__(self, port: int, environment: Mapping[str, str], log: Path | None = None) -> None:
        self.port = port
        self.url = environment.get("PORTAL_PUBLIC_URL", f"http://127.0.0.1:{port}")
        self.environment = {
            **os.environ,
            "PORTAL_PUBLIC_URL": self.url,
            "PORTAL_DEMO": "true",
            "BIND": f"127.0.0.1:{port}",
            **environment,
        }
        self.log = log
        self.web: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    def flask(self, *arguments: str) -> str:
        """Run a command of the portal; returns what it printed. Raises NotStarted with its complaint.

        As in another shell, but in this process, which has the portal loaded: a command of its own takes a second.
        """
        with _one_command, _variables(self.environment), _nothing_logged():
            try:
                app = import_string(APPLICATION)()
            except SystemExit as refusal:  # its settings cannot be used
                raise NotStarted(str(refusal)) from None
            try:
                done = app.test_cli_runner().invoke(args=arguments)
            finally:
                app.extensions["portal"].database.engine.dispose()
        if done.exit_code:
            complaint = done.stderr.strip() or repr(done.exception)
            raise NotStarted(f"{' '.join(arguments)}: {complaint[-2000:]}")
        return str(done.stdout)

    def status(self, request_id: str) -> dict[str, Any]:
        """What helpdesk sees of a request."""
        seen: dict[str, Any] = json.loads(self.flask("status", request_id, "--json"))
        return seen

    def ca(self) -> bytes:
        """The certificate of the devices' CA (PEM), once it is prepared."""
        return self.flask("ca").encode()

    def prepare(self) -> None:
        """Keys, tables, CA and, in the demo, its settings and people.

        The settings file lets commands given in another shell find the same portal.
        """
        if self.environment["PORTAL_DEMO"] != "true":
            self.flask("setup")
            return
        data = Path(self.environment["PORTAL_DATA_DIR"])
        (data / "demo.toml").write_text(
            f'demo = true\npublic_url = "{self.url}"\n[policies]\nenabled = true\n[apps]\nenabled = true\n'
        )
        self.flask("setup")
        self.flask("demo-people")

    def _apps(self) -> dict[str, str]:
        """Where the demo's Apple is, if there is one."""
        names = {"service": "PORTAL_APPS_SERVICE", "store": "PORTAL_APPS_STORE"}
        return {name: self.environment[variable] for name, variable in names.items() if variable in self.environment}

    def start(self) -> None:
        """Start web and worker and wait until both answer for themselves."""
        self.start_web()
        self.start_worker()

    def start_web(self) -> None:
        """Start the web server and wait until it answers."""
        command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py"]
        self.web = self._spawn(command)
        deadline = time.monotonic() + START_SECONDS
        unverified = ssl._create_unverified_context()  # noqa: S323  (only asks loopback whether it is up)
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, urllib.error.URLError):
                if urllib.request.urlopen(self.url + "/readyz", timeout=2, context=unverified).status == 200:
                    return
            if self.web.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        said = self.log.read_text("utf-8", "replace")[-2000:] if self.log and self.log.exists() else ""
        raise NotStarted(f"no answer from {self.url}\n{said}")

    def start_worker(self) -> None:
        """Start the worker."""
        self.worker = self._spawn([sys.executable, "-m", "flask", "--app", "app", "worker"])

    def kill_web(self) -> None:
        """kill -9, the master and every worker process of the web server."""
        if self.web is not None:
            os.killpg(self.web.pid, signal.SIGKILL)
            self.web.wait()
            self.web = None

    def kill(self) -> None:
        """kill -9, everything."""
        self.kill_web()
        if self.worker is not None and self.worker.poll() is None:
            os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait()
        self.worker = None

    def stop(self) -> None:
        """Stop both, by their own process groups, within ``STOP_SECONDS``."""
        running = [each for each in (self.web, self.worker) if each is not None and each.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.web = self.worker = None

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        output = self.log.open("ab") if self.log else None
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=output, stderr=output, start_new_session=True
        )


@contextlib.contextmanager
def _nothing_logged() -> Iterator[None]:
    """What a command logs is not the output of whoever runs it, who may have said otherwise."""
    logger, silence = logging.getLogger("portal"), logging.NullHandler()
    if not logger.handlers:
        logger.addHandler(silence)
    try:
        yield
    finally:
        logger.removeHandler(silence)


@contextlib.contextmanager
def _variables(chosen: Mapping[str, str]) -> Iterator[None]:
    """The environment with what is chosen, for as long as it lasts."""
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def listens(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int, seconds: float) -> bool:
    """Whether ``process`` came to listen on ``port`` in time; False as soon as it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if listens(port):
            return True
        time.sleep(0.02)
    return False


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody else is given before a server takes it.

    It lies below the ports that systems give to connections and to servers that ask for any (from 32768 on Linux, 49152
    elsewhere). The same number as a UDP port, held open, keeps it from other processes that ask here.
    """
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        with socket.socket() as probe, contextlib.ExitStack() as unless_free:
            held = unless_free.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                held.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
                unless_free.pop_all()
                _held.append(held)
                return port
    raise NotStarted("no port of 127.0.0.1 is free")


@contextlib.contextmanager
def running(
    data: Path,
    environment: Mapping[str, str] | None = None,
    port: int = 0,
    before_start: Callable[[Server], None] = lambda server: None,
) -> Iterator[Server]:
    """A prepared, started portal with its data in ``data``; stopped at the end.

    ``before_start`` gets the prepared server and may start what it needs.
    """
    data.mkdir(parents=True, exist_ok=True)
    variables = {"PORTAL_DATA_DIR": str(data), **(environment or {})}
    server = Server(port or free_port(), variables, data / "server.log")
    try:
        server.prepare()
        before_start(server)
        server.start()
        yield server
    finally:
        server.stop()
