"""NanoMDM, and the portal before it, are cut off at each stage of each way and come back: nothing is lost."""

from collections.abc import Callable

import httpx
import pytest

from portal.enrollment import management
from portal.enrollment.commands import Order
from portal.simulator.iphone import Unenrolled
from portal.simulator.scep_client import InstallationFailed
from portal.simulator.settings_app import SettingsApp
from portal.storage.cases import Cases
from tests.account_driven.steps import walking
from tests.backends import fleets
from tests.factories import BASE, queue_command
from tests.tools import needs_nanomdm

pytestmark = needs_nanomdm
OUT_OF_REACH = (httpx.HTTPError, InstallationFailed)


@pytest.fixture
def fleet(make_app, tmp_path):
    with fleets.delegated(make_app, tmp_path) as made:
        yield made


class Life:
    """One phone from its certificate to its good-bye, a stage at a time."""

    def __init__(self, fleet, number: int, way: str) -> None:
        self.fleet, self.username = fleet, f"person{number}"
        self.invitation = fleet.invite(self.username)
        self.phone = fleet.prepared(self.invitation, number) if way == "profile" else self._from_settings(number)
        self.ordered: list[str] = []

    def _from_settings(self, number: int):
        settings_app, account = SettingsApp(self.fleet.phone(number, 18)), f"{self.username}@work.example.com"
        owner = walking(self.fleet.app, self.invitation, self.username)
        base_url = settings_app.discover(account, BASE)
        token = settings_app.ask_owner(settings_app.begin(base_url), account, owner)
        phone = settings_app.phone
        phone.account, phone.token = account, token
        phone.obtain_identity(phone.open_profile(settings_app.fetch_profile(base_url, token)))
        return phone

    def stages(self) -> list[Callable[[], object]]:
        return [self.authenticate, self.token_update, self.connect, self.lock, self.connect, self.wipe, self.connect]

    def authenticate(self) -> None:
        self.phone.authenticate()
        self.fleet.until(lambda: self.fleet.device(self.invitation) is not None)

    def token_update(self) -> None:
        self.phone.token_update()
        self.fleet.until(lambda: self.fleet.company.status(self.invitation) == "enrolled")

    def connect(self) -> None:
        self.fleet.until(lambda: self.fleet.company.status(self.invitation) == "enrolled")
        self.fleet.connect(self.phone)

    def lock(self) -> None:
        with self.fleet.portal.database.transaction() as session:
            queue_command(session, self.fleet.portal, self.device_id, Order("DeviceLock"))

    def wipe(self) -> None:
        staff = f"helpdesk:{self.username}"  # by hand, each by somebody else
        with self.fleet.portal.database.transaction() as session:
            management.remove_work_data(Cases(session, self.fleet.portal).of_device(self.device_id), "iPhone", staff)

    @property
    def device_id(self) -> str:
        return self.fleet.device(self.invitation).id


def live(life: Life, cut_at: int, cut: Callable[[], None], back: Callable[[], None]) -> None:
    """Every stage; before stage ``cut_at`` something goes down, the phone tries in vain, and it comes back."""
    for number, stage in enumerate(life.stages()):
        if number == cut_at:
            cut()
            try:
                if stage in (life.lock, life.wipe):
                    stage()
                    life.fleet.work()
                else:
                    with pytest.raises(OUT_OF_REACH):
                        life.phone.connect() if stage == life.connect else stage()
                    life.fleet.work()
            finally:
                back()
            if stage in (life.lock, life.wipe):
                continue
        stage()


@pytest.mark.parametrize("way", ["profile", "account"])
@pytest.mark.parametrize("what", ["nanomdm", "portal"])
def test_nothing_is_lost_wherever_it_is_cut_off(fleet, way, what):
    def portal_down() -> None:
        fleet.portal_is_down = True

    def portal_up() -> None:
        fleet.portal_is_down = False

    cut, back = (fleet.cut_off, fleet.bring_back) if what == "nanomdm" else (portal_down, portal_up)
    lives = []
    for number in range(len(Life.stages(Life.__new__(Life)))):
        life = Life(fleet, number, way)
        live(life, number, cut, back)
        lives.append(life)
    for life in lives:
        assert fleet.company.status(life.invitation) == "removed"
        kinds = [kind for kind, _ in fleet.company.events(life.invitation)]
        wanted = {"device.authenticated": 1, "device.enrolled": 1, "device.left": 1, "command.acknowledged": 5}
        assert {kind: kinds.count(kind) for kind in wanted} == wanted
    assert {each.status for each in fleet.commands()} == {"acknowledged"}
    assert len(fleet.commands()) == 5 * len(lives)
    assert fleet.pending() == 0


@pytest.mark.parametrize("lost", [{0}, {1}, {0, 1}, {2}, {3}, {4}, {2, 3, 4}, {5}, {6}])
def test_webhooks_that_never_arrive_are_made_up_for(fleet, lost):
    """NanoMDM sends each once: Authenticate, TokenUpdate, Idle, two answers, Idle, the answer to the removal."""
    fleet.lose = lost
    life = Life(fleet, 0, "profile")
    phone = life.phone
    phone.authenticate()
    fleet.until(lambda: fleet.webhooks == 1)
    phone.token_update()
    fleet.until(lambda: fleet.webhooks == 2)

    def enrolled() -> bool:
        fleet.heal()
        phone.connect()
        device = fleet.device(life.invitation)
        return device is not None and device.attributes != {} and device.profiles != []

    fleet.until(enrolled)
    life.wipe()

    def gone() -> bool:
        fleet.heal()
        try:
            phone.connect()
        except Unenrolled:
            return True
        return fleet.company.status(life.invitation) == "removed"

    fleet.until(gone)
    kinds = [kind for kind, _ in fleet.company.events(life.invitation)]
    wanted = {"device.authenticated": 1, "device.enrolled": 1, "device.left": 1}
    assert {kind: kinds.count(kind) for kind in wanted} == wanted
