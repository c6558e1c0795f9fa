"""Devices managed by IBM MaaS360: it signs its own profiles and talks to the devices by itself.

The portal keeps the person's side. When the journey is done it makes sure that MaaS360 knows the person and hands over;
what becomes of the device it learns by asking. Neither IBM's reference guide nor a tenant was at hand: ``names`` says
what of this is unverified.
"""

import contextlib
import logging
import plistlib
from collections.abc import Collection
from datetime import datetime

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.backends.base import (
    BackendDown,
    CommandRefused,
    Duties,
    Health,
    ManagedElsewhere,
    Newcomer,
    OutgoingCommand,
)
from portal.backends.maas360 import actions, arrivals, following
from portal.backends.maas360.client import Client, Refused
from portal.backends.maas360.following import Follower
from portal.backends.maas360.records import UserRecord
from portal.database import Database
from portal.enrollment import commands
from portal.enrollment.errors import HandoverRefused
from portal.enrollment.journey import Way
from portal.enrollment.profile import Management
from portal.kept import Kept
from portal.models import Command, Device
from portal.settings import Settings
from portal.storage.cases import Cases
from portal.vault import Vault

HEALTH_SECONDS = 30.0
"""How old the answer to "does it let us in" may be."""

log = logging.getLogger("portal.maas360")


class MaaS360Backend:
    """The Backend that hands people over to MaaS360; its own ``elsewhere``."""

    name = "maas360"
    title = "MaaS360"
    topic = ""
    does = Duties(policies=True, apps=True)
    keeps_queue = True
    wakes_devices = True

    def __init__(
        self, settings: Settings, database: Database, vault: Vault, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._chosen = settings.maas360
        self._database, self._vault = database, vault
        self.client = Client(settings.maas360, transport)
        self._follower = Follower(self.client)
        self._health = Kept(HEALTH_SECONDS, first=Health(ready=True))

    @property
    def elsewhere(self) -> "MaaS360Backend":
        """See Backend."""
        return self

    # --- handing people over -------------------------------------------------------------------------------------

    def discovery_url(self) -> str:
        """See Elsewhere."""
        return self._chosen.discovery_url

    def enrollment_url(self) -> str:
        """See Elsewhere."""
        return self._chosen.enrollment_url

    def console_url(self) -> str:
        """See Elsewhere."""
        return self._chosen.console_url

    @property
    def minutes(self) -> int:
        """See Elsewhere."""
        return self._chosen.handover_minutes

    def ways(self) -> Collection[Way]:
        """See Elsewhere."""
        offered = {Way.ACCOUNT: self._chosen.discovery_url, Way.PROFILE: self._chosen.enrollment_url}
        return [way for way, address in offered.items() if address]

    def prepare(self, person: Newcomer) -> list[str]:
        """See Elsewhere. Users are found by their Managed Apple Account, else by their e-mail address."""
        addresses = list(dict.fromkeys(each for each in (person.account, person.email) if each))
        try:
            found = [user for address in addresses for user in self.client.users(address)]
            if not found:
                found = self._added(person)
            if not any(user.active for user in found):
                raise HandoverRefused("inactive_there")
            self._join_group(person)
            return arrivals.managed_names(self.client, addresses)
        except Refused as refusal:
            raise BackendDown(f"refused_{refusal.code}") from None

    def _added(self, person: Newcomer) -> list[UserRecord]:
        if not self._chosen.add_users:
            raise HandoverRefused("unknown_there")
        names = self.client.names
        values = {
            names.field("add_user.username"): person.username,
            names.field("add_user.domain"): self._chosen.user_domain,
            names.field("add_user.email"): person.account,
            names.field("add_user.full_name"): person.name,
            names.field("add_user.managed_apple_account"): person.account,
        }
        with contextlib.suppress(Refused):  # perhaps a second tap was faster: only who is there counts
            self.client.call("add_user", {field: value for field, value in values.items() if field and value})
        found = self.client.users(person.account)
        if not found:
            raise HandoverRefused("not_added_there")
        return found

    def _join_group(self, person: Newcomer) -> None:
        """Asked each time, since it may have failed the time before; a refusal stops nobody."""
        if not self._chosen.user_group:
            return
        names = self.client.names
        values = {
            names.field("add_user_to_group.username"): person.username,
            names.field("add_user_to_group.domain"): self._chosen.user_domain,
            names.field("add_user_to_group.group"): self._chosen.user_group,
        }
        try:
            self.client.call("add_user_to_group", {field: value for field, value in values.items() if value})
        except Refused as refusal:
            log.warning("maas360.group_refused code=%d", refusal.code)

    # --- its devices ---------------------------------------------------------------------------------------------

    def allowed(self, server_id_sealed: bytes) -> frozenset[str]:
        """See Elsewhere; MaaS360 is asked each time."""
        return actions.allowed(self.client, self._vault.open(server_id_sealed).decode())

    def hand_over(self, outgoing: OutgoingCommand) -> str | None:
        """See Backend. What MaaS360 calls the action is kept at once: it knows no CommandUUID that it could compare.

        What must not be done twice is noted as given before it is: if its answer is lost, so is what became of it.
        """
        with self._database.session() as session:
            query = (
                select(Device.server_id_sealed, Command.receipt)
                .join(Command, Command.device_id == Device.id)
                .where(Command.uuid == outgoing.command_uuid)
            )
            row = session.execute(query).one_or_none()
        if row is None or row.receipt is not None:
            return None
        if row.server_id_sealed is None:
            raise CommandRefused("maas360_forgotten")
        server_id = self._vault.open(row.server_id_sealed).decode()
        command = plistlib.loads(outgoing.payload)["Command"]
        once = command["RequestType"] in commands.ONCE
        if once:
            self._note(outgoing.command_uuid, "")
        try:
            receipt = actions.give(self.client, server_id, self._chosen.billing_id, command)
        except CommandRefused:
            self._follower.sweep_soon()  # perhaps the device has left
            raise
        except BackendDown as down:
            if once and down.reason == "timeout":
                return None
            self._note(outgoing.command_uuid, None)
            raise
        self._note(outgoing.command_uuid, receipt)
        if command["RequestType"] == "Refresh":
            self._follower.sweep_soon()
        return None

    def _note(self, command_uuid: str, receipt: str | None) -> None:
        with self._database.transaction() as session:
            kept = session.scalar(select(Command).where(Command.uuid == command_uuid))
            if kept is not None:
                kept.receipt = receipt

    def take_up(self, database: Database, vault: Vault, settings: Settings) -> int:
        """See Backend; what MaaS360 says of the devices that are awaited, asked to do something, or managed."""
        return self._follower.take_up(database, vault, settings)

    def next_due(self, session: Session) -> datetime | None:
        """See Backend."""
        return self._follower.next_due(session)

    def look_after(self, cases: Cases) -> int:
        """See Backend; a device that was to be let go, and was refused, is asked about again."""
        return following.let_go_again(cases)

    def health(self) -> Health:
        """See Backend: whether it lets the portal in. Asked now and then."""
        health = self._health.get(self._probe)
        trouble = self._follower.trouble or self.client.trouble
        return Health(ready=False, reason=trouble) if health.ready and trouble else health

    def _probe(self) -> Health:
        if not self.ways():
            return Health(ready=False, reason="no_address")
        try:
            if self.client.trouble:
                self.client.trial()  # a token that is at hand says nothing of today
            else:
                self.client.sign_in()
        except BackendDown as down:
            return Health(ready=False, reason=self.client.trouble or down.reason)
        except Refused as refusal:
            return Health(ready=False, reason=f"refused_{refusal.code}")
        return Health(ready=True)

    # --- what no device of MaaS360 does ----------------------------------------------------------------------------

    def management(self, profile_id: str) -> Management:
        """See Backend. Raises ManagedElsewhere."""
        raise ManagedElsewhere

    def pass_on(self, message: bytes, signature: str, profile_id: str, kind: str) -> bytes:
        """See Backend; its devices do not come this way."""
        raise BackendDown("own_devices")

    def take_push_certificate(self, identity: str) -> None:
        """See Backend; MaaS360 has its own."""
