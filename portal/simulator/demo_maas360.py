"""``make demo BACKEND=maas360``: a portal whose devices a fake MaaS360 manages; each line says who answered."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from portal.simulator import maas360
from portal.simulator.employee import Employee, Stuck
from portal.simulator.iphone import IPhone
from portal.simulator.maas360 import Device, FakeMaaS360
from portal.simulator.mail import demo_mail
from portal.simulator.model import MODELS
from portal.simulator.server import Server, running
from portal.simulator.settings_app import SettingsApp

IOS_14 = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 14_8 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/14.1 Mobile/15E148 Safari/604.1"
)
PATIENCE_SECONDS = 30.0


def walk() -> int:
    """Both ways, lock, selective wipe and its undoing, leaving by oneself; 0 only if all of it came out right."""
    with tempfile.TemporaryDirectory(prefix="portal-demo-") as folder, maas360.serving() as tenant:
        data = Path(folder)
        with running(data, _environment(tenant)) as server:
            print(f"portal: {server.url}")
            print(f"MaaS360: {tenant.url} (simulated: nobody tried this against a real one)")
            accounts = json.loads(server.flask("demo-accounts", "--json"))
            first, second = [each for each in accounts if each["managed_apple_account"]][:2]
            for each in (first, second):
                tenant.add_user(each["managed_apple_account"])
            from_settings = _from_settings(server, data, tenant, first)
            _what_it_can_do(server, tenant, from_settings)
            states = [_leaving(server, tenant, from_settings), _in_safari(server, data, tenant, second)]
            server.flask("audit", "verify")
            return 0 if states == ["removed", "enrolled"] else 1


def _environment(tenant: FakeMaaS360) -> dict[str, str]:
    chosen = {f"PORTAL_MAAS360_{key.upper()}": value for key, value in tenant.settings().items()}
    return {"PORTAL_MDM_BACKEND": "maas360", **chosen}


def _from_settings(server: Server, data: Path, tenant: FakeMaaS360, account: dict[str, str]) -> dict[str, str]:
    """iOS 18: the journey in Safari, then Settings, which service discovery leads to MaaS360. The request."""
    print("\n== iOS 18, from Settings")
    invitation = _invite(server, account)
    settings_app = SettingsApp(IPhone(model=MODELS[18]))
    account_name = account["managed_apple_account"]
    print(f"portal: before the journey, Settings is led to {settings_app.discover(account_name, server.url)}")
    safari = Employee(server.url, _told_by("portal"), settings_app.phone.model.user_agent())
    safari.walk_to_the_end(
        invitation["url"], account["username"], account["password"], lambda: _passcode(data, account)
    )
    safari.hand_over()
    owner = maas360.owner_at(lambda url, form: settings_app.phone.http.post(url, data=form))
    for line in settings_app.sign_in_elsewhere(account_name, owner, server.url):
        print(f"MaaS360: {line}")
    _until(lambda: server.status(invitation["id"])["status"] == "enrolled", "the device to be seen")
    safari.open("/enroll/finish")
    _report(server, invitation)
    return invitation


def _in_safari(server: Server, data: Path, tenant: FakeMaaS360, account: dict[str, str]) -> str:
    """iOS 14: the journey in Safari, then MaaS360's own page there. The status that helpdesk sees."""
    print("\n== iOS 14, in Safari")
    invitation = _invite(server, account)
    safari = Employee(server.url, _told_by("portal"), IOS_14)
    safari.walk_to_the_end(
        invitation["url"], account["username"], account["password"], lambda: _passcode(data, account)
    )
    safari.hand_over()
    address = tenant.settings()["enrollment_url"]
    if address not in safari.text:
        raise Stuck(f"the page does not lead to {address}")
    answer = safari.http.post(address, data={"account": account["managed_apple_account"], "password": ""})
    print(f"MaaS360: {address} answered {answer.status_code} with {answer.headers['content-type']}")
    _until(lambda: server.status(invitation["id"])["status"] == "enrolled", "the device to be seen")
    return _report(server, invitation)


def _what_it_can_do(server: Server, tenant: FakeMaaS360, invitation: dict[str, str]) -> None:
    print("\n== What IT can do")
    device, known = tenant.devices[0], server.status(invitation["id"])["device"]["id"]
    for command in ("DeviceLock", "SelectiveWipe", "RevokeSelectiveWipe"):
        server.flask("device", "command", known, command)
        print(f"portal: {command} is queued")
        done = _done_by(device, tenant)
        print(f"MaaS360: the device did {done}")
    try:
        server.flask("device", "command", known, "EraseDevice")
    except Exception as refusal:
        print(f"portal: EraseDevice is refused: {str(refusal).splitlines()[-1]}")


def _done_by(device: Device, tenant: FakeMaaS360) -> str:
    _until(lambda: bool(device.pending), "MaaS360 to be asked")
    return ", ".join(tenant.connect(device))


def _leaving(server: Server, tenant: FakeMaaS360, invitation: dict[str, str]) -> str:
    print("\n== The owner removes the work account")
    tenant.leave(tenant.devices[0])
    server.flask("device", "command", server.status(invitation["id"])["device"]["id"], "Refresh")
    _until(lambda: server.status(invitation["id"])["status"] == "removed", "the portal to notice")
    seen = server.status(invitation["id"])
    print(f"portal: status {seen['status']}, {seen['device']['end_reason']}")
    return str(seen["status"])


def _invite(server: Server, account: dict[str, str]) -> dict[str, str]:
    invitation: dict[str, str] = json.loads(server.flask("invite", account["username"], "--json"))
    print(f"portal: request {invitation['id']} for {account['username']}")
    return invitation


def _passcode(data: Path, account: dict[str, str]) -> str:
    return demo_mail(data)(f"{account['username']}@")


def _report(server: Server, invitation: dict[str, str]) -> str:
    seen = server.status(invitation["id"])
    print(json.dumps(seen["device"], indent=2))
    print(f"portal: status {seen['status']}")
    return str(seen["status"])


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise Stuck(f"waited in vain for {what}")
        time.sleep(0.3)


def _told_by(who: str) -> Callable[[str], None]:
    return lambda line: print(f"{who}: {line}")
