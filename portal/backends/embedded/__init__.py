"""A small, correct Apple MDM server inside the portal: the default backend."""

import json
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.backends import reconciling
from portal.backends.base import BackendDown, Duties, Health, OutgoingCommand
from portal.backends.embedded.push import ApplePush, PushToken
from portal.database import Database
from portal.enrollment.profile import Management
from portal.models import Device
from portal.settings import Settings
from portal.storage.cases import Cases
from portal.vault import Vault

CHECKIN_PATH = "/mdm/checkin"
CONNECT_PATH = "/mdm/connect"


class EmbeddedBackend:
    """The Backend whose devices talk to the portal itself and fetch commands from its own queue."""

    name = "embedded"
    does = Duties()
    elsewhere = None
    keeps_queue = False

    def __init__(self, settings: Settings, topic: str, database: Database, vault: Vault) -> None:
        self._settings = settings
        self.topic = topic
        self._database = database
        self._vault = vault
        mdm = settings.mdm
        self._push = ApplePush(mdm.push_identity, topic, mdm.push_server, settings.data) if mdm.push_identity else None

    @property
    def wakes_devices(self) -> bool:
        """See Backend."""
        return self._push is not None and not self._push.expired

    def management(self, profile_id: str) -> Management:
        """See Backend."""
        return Management(self._settings.url(CONNECT_PATH), self._settings.url(CHECKIN_PATH), self.topic)

    def health(self) -> Health:
        """It lives in this process: ready whenever the portal is."""
        return Health(ready=True)

    def hand_over(self, outgoing: OutgoingCommand) -> str | None:
        """See Backend; the command stays in the portal's queue, the device is woken."""
        if self._push is None:
            return "no_push_certificate"
        with self._database.session() as session:
            sealed = session.scalar(select(Device.push_sealed).where(Device.enrollment_id == outgoing.enrollment_id))
        if sealed is None:
            return "push_data_missing"
        told = json.loads(self._vault.open(sealed))
        return self._push.wake(PushToken(told["token"], told["magic"]))

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """See Backend; its devices' messages are applied as they come."""
        return 0

    def next_due(self, session: Session) -> datetime | None:
        """See Backend."""
        return None

    def look_after(self, cases: Cases) -> int:
        """See Backend; who did not come for a command is woken again."""
        return reconciling.wake_again(cases.session, cases.now) if self.wakes_devices else 0

    def pass_on(self, message: bytes, signature: str, profile_id: str, kind: str) -> bytes:
        """See Backend; its devices' messages go no further."""
        raise BackendDown("own_devices")

    def take_push_certificate(self, identity: str) -> None:
        """See Backend; it has the certificate already and asks Apple whether it is good."""
        if self._push is not None:
            self._push.check()
