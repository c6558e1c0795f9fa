"""A small, correct Apple MDM server inside the portal: the default backend."""

import plistlib
import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from portal import audit
from portal.backends import allowed
from portal.backends.base import Health, Management, Order
from portal.backends.embedded.push import NoPush, Push
from portal.models import Command, Device
from portal.settings import Settings

CHECKIN_PATH = "/mdm/checkin"
CONNECT_PATH = "/mdm/connect"


class EmbeddedBackend:
    """The Backend whose devices talk to the portal itself."""

    name = "embedded"

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

    def enqueue(self, session: Session, device: Device, order: Order, now: datetime) -> Command:
        """See Backend."""
        allowed.check(order)
        command_uuid = str(uuid.uuid4()).upper()
        body = {"CommandUUID": command_uuid, "Command": {"RequestType": order.request_type, **order.keys}}
        command = Command(
            uuid=command_uuid,
            device_id=device.id,
            request_type=order.request_type,
            payload=plistlib.dumps(body),
            status="queued",
            created_at=now,
        )
        session.add(command)
        session.flush()
        chain = audit.request_chain(device.request_id)
        audit.record(session, chain, "command.queued", now, reason=order.request_type)
        return command

    def wake(self, device: Device) -> str | None:
        """See Backend."""
        return self._push.wake(device)
