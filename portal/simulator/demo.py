"""``make run`` serves the demo; ``make demo`` walks one employee through it and enrolls the simulated iPhone."""

import json
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from portal.simulator.employee import Employee, Stuck
from portal.simulator.iphone import InstallationFailed, IPhone, Unenrolled
from portal.simulator.server import ROOT, NotStarted, Server, running

MAIL_SECONDS = 15.0


def walk() -> int:
    """The whole journey against a portal of its own; 0 only if the device is enrolled."""
    with tempfile.TemporaryDirectory(prefix="portal-demo-") as folder:
        data = Path(folder)
        with running(data) as server:
            print(f"portal: {server.url}")
            accounts = json.loads(server.flask("demo-accounts", "--json"))
            account = next(each for each in accounts if each["managed_apple_account"])
            invitation = json.loads(server.flask("invite", account["username"], "--json"))
            print(f"request: {invitation['id']} for {account['username']}")
            employee = Employee(server.url, print)
            profile = employee.walk(
                invitation["url"], account["username"], account["password"], lambda: _mailed_passcode(data)
            )
            for line in IPhone().install(profile):
                print(f"iPhone: {line}")
            employee.open("/enroll/finish")
            status = json.loads(server.flask("status", invitation["id"], "--json"))
            print(json.dumps(status["device"], indent=2))
            print(f"status: {status['status']}")
            server.flask("audit", "verify")
            return 0 if status["status"] == "enrolled" else 1


def serve(port: int) -> int:
    """Serve the demo in the foreground until stopped; prints how to begin."""
    data = Path(os.environ.get("PORTAL_DATA_DIR") or ROOT / "var")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Server(port, {"PORTAL_DATA_DIR": str(data)}, data / "server.log")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        server.prepare()
        server.start()
        _introduce(server, data)
        while server.web and server.worker and server.web.poll() is None and server.worker.poll() is None:
            time.sleep(0.5)
        print(f"Web or worker ended by itself; see {data / 'server.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave a process behind
            signal.signal(number, signal.SIG_IGN)
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


def _mailed_passcode(data: Path) -> str:
    deadline = time.monotonic() + MAIL_SECONDS
    while time.monotonic() < deadline:
        for path in sorted((data / "outbox").glob("*.eml"), reverse=True):
            found = re.search(r"^(\d{6})\r?$", path.read_text("utf-8", "replace"), re.MULTILINE)
            if found:
                return found[1]
        time.sleep(0.1)
    raise Stuck("the mail with the passcode did not arrive")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> int:
    """``walk``, or ``serve PORT``."""
    try:
        return serve(int(arguments[1])) if arguments[:1] == ["serve"] else walk()
    except (NotStarted, Stuck, InstallationFailed, Unenrolled) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
