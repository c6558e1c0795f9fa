"""A small, correct Apple MDM server inside the portal: the default backend."""

from portal.backends.base import Health, Management, Parcel
from portal.backends.embedded.push import NoPush, Push
from portal.database import Database
from portal.settings import Settings
from portal.vault import Vault

CHECKIN_PATH = "/mdm/checkin"
CONNECT_PATH = "/mdm/connect"


class EmbeddedBackend:
    """The Backend whose devices talk to the portal itself and fetch commands from its own queue."""

    name = "embedded"
    keeps_queue = False

    def __init__(self, settings: Settings, topic: str, push: Push | None = None) -> None:
        self._settings = settings
        self._topic = topic
        self._push = push or NoPush()

    def management(self, profile_id: str) -> Management:
        """See Backend."""
        return Management(self._settings.url(CONNECT_PATH), self._settings.url(CHECKIN_PATH), self._topic)

    def health(self) -> Health:
        """It lives in this process: ready whenever the portal is."""
        return Health(ready=True)

    def hand_over(self, parcel: Parcel) -> str | None:
        """See Backend; the command stays in the portal's queue, the device is woken."""
        return self._push.wake(parcel.enrollment_id)

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """See Backend; its devices' messages are applied as they come."""
        return 0

    def take_push_certificate(self, identity: str) -> None:
        """See Backend; it does not push yet, so there is nothing to do with it."""
