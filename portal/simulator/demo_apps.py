"""Work apps of the demo: a fake Apps and Books on this machine, two licensed apps, and phones that have its store."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from portal.simulator import apps_and_books
from portal.simulator.apps_and_books import FakeAppsAndBooks
from portal.simulator.iphone import IPhone
from portal.simulator.server import Server, free_port

FILE, PORT_FILE = "demo-apple.json", "demo-apple-port"
MAIL, TIME = "Example Mail", "Example Time Sheet"


@contextlib.contextmanager
def selling(data: Path) -> Iterator[FakeAppsAndBooks]:
    """The demo's Apple; it is the same one after a restart, at the same address."""
    kept = data / PORT_FILE
    port = int(kept.read_text()) if kept.exists() else free_port()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.write_text(str(port))
    with apps_and_books.serving(port) as location:
        location.keep(data / FILE)
        yield location


def environment(location: FakeAppsAndBooks) -> dict[str, str]:
    """The portal's ``[apps]`` for it, as variables."""
    return {f"PORTAL_APPS_{name.upper()}": value for name, value in location.settings().items()}


def give(server: Server, location: FakeAppsAndBooks, data: Path) -> None:
    """Its content token, an app for everybody and one to choose; once."""
    if location.assets:
        return
    everybody, offered = location.add(MAIL, 25), location.add(TIME)
    token = data / "demo.vpptoken"
    token.touch(0o600)
    token.write_bytes(location.token())
    server.flask("apps", "token", str(token))
    server.flask("apps", "add", "--store", everybody.adam_id, "--everybody")
    server.flask("apps", "add", "--store", offered.adam_id, "--offer")


def connected(location: FakeAppsAndBooks, phone: IPhone) -> IPhone:
    """A phone whose App Store is this one."""
    phone.apps.store = lambda adam_id: location.assets[adam_id].bundle_id
    phone.apps.licensed = lambda adam_id: phone.work_account in location.holders(location.assets[adam_id])
    return phone


def at_home(data: Path, phone: IPhone) -> IPhone:
    """The same for a phone that is a command in another shell."""
    if not (data / FILE).exists():
        return phone

    def now() -> FakeAppsAndBooks:
        location = FakeAppsAndBooks()
        location.keep(data / FILE)
        return location

    phone.apps.store = lambda adam_id: now().assets[adam_id].bundle_id
    phone.apps.licensed = lambda adam_id: phone.work_account in now().holders(now().assets[adam_id])
    return phone
