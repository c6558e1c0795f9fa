"""``make run`` serves the demo; ``make demo`` walks one employee through it and enrolls the simulated iPhone."""

import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from portal.simulator import demo_apps, demo_maas360, nanomdm
from portal.simulator.apps_and_books import FakeAppsAndBooks
from portal.simulator.employee import Employee, Stuck
from portal.simulator.iphone import IPhone, SignInAgain, Unenrolled
from portal.simulator.mail import NoMail, demo_mail
from portal.simulator.model import MODELS
from portal.simulator.scep_client import InstallationFailed
from portal.simulator.server import ROOT, NotStarted, Server, running
from portal.simulator.settings_app import SettingsApp

PATIENCE_SECONDS = 180.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager, a terminal that is closed."""


FINISHED = ("enrolled", "applied", "Managed")
"""What helpdesk sees in the end: the request's status, that of the demo's policy on the device, and of its app."""
BACKENDS = ("embedded", "nanomdm", "maas360")


@dataclass(frozen=True)
class Walked:
    """One employee who came to the end: the request, the phone, and Safari, where the last page is still to be seen."""

    invitation: dict[str, str]
    phone: IPhone
    safari: Employee


def walk(backend: str = "embedded") -> int:
    """Both ways against a portal of their own, its devices managed by ``backend``; 0 only if both are enrolled."""
    if backend not in BACKENDS:
        print(f"failed: BACKEND has to be one of {', '.join(BACKENDS)}, not {backend!r}", file=sys.stderr)
        return 2
    if backend == "maas360":
        return demo_maas360.walk()
    with tempfile.TemporaryDirectory(prefix="portal-demo-") as folder:
        data = Path(folder)
        with demo_apps.selling(data) as location, _portal(data, backend, demo_apps.environment(location)) as server:
            print(f"portal: {server.url}")
            if backend == "nanomdm":
                print("NanoMDM manages the devices; they are not woken, so they look for commands by themselves")
            _give_policies(server, data)
            demo_apps.give(server, location, data)
            accounts = json.loads(server.flask("demo-accounts", "--json"))
            first, second = [each for each in accounts if each["managed_apple_account"]][:2]
            phones = [IPhone(), IPhone(model=MODELS[18])]
            for phone in phones:
                demo_apps.connected(location, phone)
            both = [
                _with_a_profile(server, data, first, phones[0]),
                _from_settings(server, data, second, SettingsApp(phones[1])),
            ]
            print("\n== What IT gives them: policies and work apps")
            _settle(server, both)
            states = [_report(server, each) for each in both]
            server.flask("audit", "verify")
            return 0 if states == [FINISHED, FINISHED] else 1


@contextlib.contextmanager
def _portal(data: Path, backend: str, environment: dict[str, str]) -> Iterator[Server]:
    if backend != "nanomdm":
        with running(data, environment) as server:
            yield server
        return
    with nanomdm.managing(data, environment) as (server, _):
        yield server


def _with_a_profile(server: Server, data: Path, account: dict[str, str], iphone: IPhone) -> Walked:
    """iOS 17: everything in Safari, a profile, its installation."""
    print("\n== iOS 17, with a profile from Safari")
    invitation = _invite(server, account)
    employee = Employee(server.url, print)
    credentials = (account["username"], account["password"], lambda: _passcode(data, account))
    profile = employee.walk(invitation["url"], *credentials)
    for line in iphone.install(profile):
        print(f"iPhone: {line}")
    return Walked(invitation, iphone, employee)


def _from_settings(server: Server, data: Path, account: dict[str, str], settings_app: SettingsApp) -> Walked:
    """iOS 18: the questions in Safari, then Settings, where only the sign-in is asked again."""
    print("\n== iOS 18, from Settings")
    invitation = _invite(server, account)
    user_agent = settings_app.phone.model.user_agent()
    credentials = (account["username"], account["password"], lambda: _passcode(data, account))
    safari, web_view = Employee(server.url, print, user_agent), Employee(server.url, print, user_agent)
    safari.walk_to_the_end(invitation["url"], *credentials)
    owner = lambda url: web_view.walk_web_view(url, *credentials)  # noqa: E731
    for line in settings_app.sign_in(account["managed_apple_account"], owner, server.url):
        print(f"iPhone: {line}")
    return Walked(invitation, settings_app.phone, safari)


def _give_policies(server: Server, data: Path) -> None:
    """What the demo company gives to people's iPhones, published once; the password of its Wi-Fi is made here."""
    kept = data / "demo-wifi-password"
    if not kept.exists():
        kept.touch(0o600)
        kept.write_text(secrets.token_urlsafe(12))
        server.environment["DEMO_WIFI_PASSWORD"] = kept.read_text()
        server.flask("config", "import", str(ROOT / "config" / "demo-policies.toml"))


def _settle(server: Server, walked: Sequence[Walked]) -> None:
    """What IT gives, licenses for it and what a backend tells of it take a moment, and phones that look for it."""
    deadline, waiting = time.monotonic() + PATIENCE_SECONDS, list(walked)
    while waiting and time.monotonic() < deadline:
        time.sleep(1)
        for each in waiting:
            answered = each.phone.connect()
            if answered:
                print(f"{each.phone.model.marketing_name}: commands answered: {', '.join(answered)}")
        waiting = [each for each in waiting if not _settled(server.status(each.invitation["id"])["device"])]


def _settled(device: dict[str, Any] | None) -> bool:
    """Whether helpdesk knows all about it, and it has everything that IT gives."""
    if not device or not device["attributes"] or not device["profiles"]:
        return False
    return {*device["policies"].values()} == {"applied"} and {*device["work_apps"].values()} == {"Managed"}


def _invite(server: Server, account: dict[str, str]) -> dict[str, str]:
    invitation: dict[str, str] = json.loads(server.flask("invite", account["username"], "--json"))
    print(f"request: {invitation['id']} for {account['username']}")
    return invitation


def _passcode(data: Path, account: dict[str, str]) -> str:
    return demo_mail(data)(f"{account['username']}@")


def _report(server: Server, walked: Walked) -> tuple[str, ...]:
    """What helpdesk sees: the status of the request, and what became of each policy and work app."""
    walked.safari.open("/enroll/finish")
    seen = server.status(walked.invitation["id"])
    print(json.dumps(seen["device"], indent=2))
    policies = (seen["device"] or {}).get("policies", {})
    for name, state in policies.items():
        print(f"policy: {name} {state}")
    apps = (seen["device"] or {}).get("work_apps", {})
    for name, state in apps.items():
        print(f"work app: {name} {state}")
    print(f"status: {seen['status']}")
    return str(seen["status"]), *policies.values(), *apps.values()


def serve(port: int) -> int:
    """Serve the demo in the foreground until stopped; prints how to begin."""
    data = Path(os.environ.get("PORTAL_DATA_DIR") or ROOT / "var")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with demo_apps.selling(data) as location:
        return _serve(port, data, location)


def _serve(port: int, data: Path, location: FakeAppsAndBooks) -> int:
    variables = {"PORTAL_DATA_DIR": str(data), **demo_apps.environment(location)}
    server = Server(port, variables, data / "server.log")
    for number in STOPPING:  # a shell may start what runs in its background with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        server.prepare()
        _give_policies(server, data)
        demo_apps.give(server, location, data)
        server.start()
        _introduce(server, data)
        while server.web and server.worker and server.web.poll() is None and server.worker.poll() is None:
            time.sleep(0.5)
        print(f"Web or worker ended by itself; see {data / 'server.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _ignore_more()
        server.stop()


def _introduce(server: Server, data: Path) -> None:
    accounts = json.loads(server.flask("demo-accounts", "--json"))
    invitation = json.loads(server.flask("invite", accounts[0]["username"], "--json"))
    print(f"\nThe demo runs at {server.url} (log: {data / 'server.log'}). Ctrl-C stops it.\n")
    print(f"Enrollment link  {invitation['url']}")
    print(f"  sign in as     {accounts[0]['username']}  {accounts[0]['password']}")
    print(f"  passcode       {invitation['passcode']}\n")
    print(f"Staff            {server.url}/staff/sign-in")
    for account in accounts:
        if account["totp_secret"]:
            print(
                f"  {account['role']:<13}  {account['username']}  {account['password']}  TOTP {account['totp_secret']}"
            )
    print(f"Mail             {server.url}/staff/outbox\n", flush=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    _ignore_more()
    raise KeyboardInterrupt


def _ignore_more() -> None:
    """Stopping takes a moment: a second signal meanwhile must not leave a process behind."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def main(arguments: list[str]) -> int:
    """``walk [BACKEND]``, or ``serve PORT``."""
    try:
        return serve(int(arguments[1])) if arguments[:1] == ["serve"] else walk(*arguments[1:2])
    except (NotStarted, Stuck, NoMail, InstallationFailed, Unenrolled, SignInAgain) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
